"""From settings to the arguments of TRL and PEFT."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from trl import SFTConfig

from heldout.config import nearest
from heldout.derive.patterns import get_default_patterns
from heldout.errors import ConfigError


def complete(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with what follows from others: the default patterns, when to save."""
    return {
        **settings,
        "eval.patterns": settings["eval.patterns"] or get_default_patterns(),
        "train.save_every": settings["train.save_every"] or settings["eval.every"],
    }


def lora_config(settings: Mapping[str, Any]) -> LoraConfig | None:
    """The adapters the settings ask for; None to train every weight."""
    if not settings["lora.enabled"]:
        return None
    return LoraConfig(
        r=settings["lora.r"],
        lora_alpha=settings["lora.alpha"],
        lora_dropout=settings["lora.dropout"],
        target_modules=settings["lora.target_modules"],
        task_type="CAUSAL_LM",
    )


def training_arguments(settings: Mapping[str, Any], output: Path) -> SFTConfig:
    """TRL's arguments; raises `ConfigError` for a field in `train.extra` that TRL does not have."""
    known = {field.name for field in dataclasses.fields(SFTConfig)}
    for key in settings["train.extra"]:
        if key not in known:
            raise ConfigError(
                f"train.extra.{key}: TRL's SFTConfig has no such field.{nearest(key, sorted(known))}"
            )
    fields: dict[str, Any] = {
        "output_dir": str(output),
        "max_steps": settings["train.steps"],
        "per_device_train_batch_size": settings["train.batch_size"],
        "gradient_accumulation_steps": settings["train.accumulation"],
        "learning_rate": settings["train.learning_rate"],
        "lr_scheduler_type": settings["train.schedule"],
        "warmup_steps": settings["train.warmup_steps"],
        "weight_decay": settings["train.weight_decay"],
        "max_length": settings["train.max_length"],
        "bf16": settings["train.bf16"],
        "seed": settings["train.seed"],
        "save_steps": settings["train.save_every"],
        "save_total_limit": settings["train.keep"],
        "completion_only_loss": True,
        _recomputing(known): False,
        "logging_steps": 1,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "use_cpu": not (torch.cuda.is_available() or torch.backends.mps.is_available()),
    }
    try:
        return SFTConfig(**{**fields, **settings["train.extra"]})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the training settings do not fit together: {error}") from error


def _recomputing(known: set[str]) -> str:
    """The field that recomputes activations; transformers 5.20 gave it a new name."""
    new = "activation_checkpointing"
    return new if new in known else "gradient_checkpointing"
