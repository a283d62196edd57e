"""Fine-tune as a config says, with the monitor attached."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from transformers import PrinterCallback
from trl import SFTConfig, SFTTrainer

from heldout.adapters.huggingface import Monitor
from heldout.config import nearest, recorded
from heldout.derive.patterns import get_default_patterns
from heldout.errors import ConfigError
from heldout.evals.options import EvalOptions
from heldout.evals.rows import Keys
from heldout.signals.moment import SignalOptions
from heldout.store.runs import new_run
from heldout.train.checkpoints import CHECKPOINTS
from heldout.train.data import as_dataset, count_patterns, load_rows, renderable
from heldout.train.model import load_model
from heldout.watch import Listener


def complete(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with what follows from others: the default patterns, when to save."""
    return {
        **settings,
        "eval.patterns": settings["eval.patterns"] or get_default_patterns(),
        "train.save_every": settings["train.save_every"] or settings["eval.every"],
    }


def train(settings: Mapping[str, Any], listeners: Sequence[Listener] = ()) -> Path:
    """Fine-tune as `settings` say and return the run's folder.

    Reads all data and builds everything before the first step, so bad input ends the call at once
    with a `HeldoutError`. Checkpoints go to `<run>/checkpoints`; a checkpoint there is resumed
    from, so the same command continues an interrupted run.
    """
    settings = complete(settings)
    keys = Keys(
        prompt=settings["data.prompt_key"], response=settings["data.response_key"], section="data"
    )
    rows, skipped = load_rows(settings["data.train"], keys)
    training_arguments(settings, Path(settings["output.runs"]))
    if settings["train.threads"]:
        torch.set_num_threads(settings["train.threads"])
    model, tokenizer = load_model(settings)
    options = EvalOptions.of(settings)
    options.load(settings["eval.data"], tokenizer, model.config, settings["eval.max_samples"])
    rows, unfit = renderable(rows, tokenizer)
    runs = Path(settings["output.runs"])
    name = settings["output.run"] or new_run(runs)
    folder = runs / name
    patterns = settings["eval.patterns"]
    monitor = Monitor(
        settings["eval.data"],
        every=settings["eval.every"],
        at_start=settings["eval.at_start"],
        max_samples=settings["eval.max_samples"],
        margin=settings["eval.margin"],
        reference=settings["eval.reference"],
        options=options,
        signals=SignalOptions.of(settings),
        may_stop=settings["decision.may_stop"],
        load_best=settings["decision.load_best"],
        keep=settings["decision.keep"],
        patterns=patterns,
        runs=settings["output.runs"],
        run=name,
        config=recorded(settings) | {"skipped_training_lines": skipped + unfit},
        train_patterns=count_patterns(rows, patterns),
        train_rows=rows,
        model=settings["model.name"],
        listeners=listeners,
    )
    trainer = SFTTrainer(
        model=model,
        args=training_arguments(settings, folder / CHECKPOINTS),
        train_dataset=as_dataset(rows, tokenizer),
        processing_class=tokenizer,
        peft_config=lora_config(settings),
        callbacks=[monitor],
    )
    trainer.remove_callback(PrinterCallback)
    resume = any((folder / CHECKPOINTS).glob("checkpoint-*"))
    try:
        trainer.train(resume_from_checkpoint=resume)
    except BaseException as error:
        monitor.close(trainer.state.global_step, failure=f"{type(error).__name__}: {error}")
        raise
    return folder


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
