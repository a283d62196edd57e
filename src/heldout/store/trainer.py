"""What Hugging Face's Trainer tells of itself, wherever it logs: its arguments and its last words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from heldout.names import SUMMARY, is_summary
from heldout.store.numbers import step_of

SETTINGS = {
    "learning_rate": "learning_rate",
    "warmup_steps": "warmup_steps",
    "gradient_accumulation_steps": "gradient_accumulation_steps",
    "logging_steps": "logging_steps",
    "eval_steps": "eval_steps",
    "save_steps": "save_steps",
    "train_batch_size": "train_batch_size",
    "per_device_train_batch_size": "train_batch_size",
    "num_train_epochs": "num_train_epochs",
}
"""Its names for the settings that rules ask for, and those of `Run.training`."""
SWITCHES = ("fp16", "greater_is_better")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What a dictionary of arguments says of a run; what it does not say is empty."""

    training: dict[str, Any] = field(default_factory=dict)
    schedule: str = ""
    model: str = ""
    total_steps: int = 0


def arguments(config: Mapping[str, Any]) -> Arguments:
    """Read the Trainer's arguments, with or without the model's config among them, by their names."""
    training: dict[str, Any] = {}
    for theirs, ours in SETTINGS.items():
        if _is_number(config.get(theirs)):
            training.setdefault(ours, config[theirs])
    for name in SWITCHES:
        if isinstance(config.get(name), bool):
            training[name] = config[name]
    if isinstance(config.get("metric_for_best_model"), str):
        training["metric_for_best_model"] = config["metric_for_best_model"]
    if isinstance(config.get("peft_config"), Mapping):
        training["adapters"] = True
    classes = _classes(config)
    if classes:
        training["vocabulary"] = classes
    total = config.get("max_steps")
    return Arguments(
        training=training,
        schedule=_text(config, "lr_scheduler_type"),
        model=_text(config, "_name_or_path") or _text(config, "model_name_or_path"),
        total_steps=total if isinstance(total, int) and total > 0 else 0,
    )


def best_so_far(state: Mapping[str, Any]) -> dict[str, Any]:
    """What a state says of the best checkpoint so far: its `best_metric`, folder and step.

    Which metric it is the Trainer does not write. Before transformers 4.48 it wrote no step either; the
    folder's name has it.
    """
    value, folder = state.get("best_metric"), state.get("best_model_checkpoint")
    found: dict[str, Any] = {}
    if _is_number(value):
        found["best_metric"] = value
    if isinstance(folder, str) and folder:
        found["best_model_checkpoint"] = re.split(r"[/\\]", folder.rstrip("/\\"))[-1]
        saved = re.search(r"checkpoint-(\d{1,15})$", found["best_model_checkpoint"])
        if saved:
            found["best_global_step"] = int(saved[1])
    step = step_of(state.get("best_global_step"))
    return {**found, "best_global_step": step} if step else found


def summary(values: Mapping[str, Any]) -> dict[str, str]:
    """The last words among `values`, `train/` prefixed or not; {} where there are none."""
    plain = {name.removeprefix("train/"): value for name, value in values.items()}
    if not is_summary(plain):
        return {}
    return {name: str(plain[name]) for name in (*SUMMARY, "train_loss") if name in plain}


def _classes(config: Mapping[str, Any]) -> int | None:
    """How many classes the loss chooses among: tokens, or labels of a classifier."""
    kinds = config.get("architectures")
    kind = str(kinds[0]) if isinstance(kinds, list) and kinds else ""
    labels, tokens = config.get("id2label"), config.get("vocab_size")
    if kind.endswith("Classification") and isinstance(labels, Mapping):
        return len(labels)
    if kind.endswith(("CausalLM", "LMHeadModel", "ConditionalGeneration")):
        return tokens if isinstance(tokens, int) else None
    return None


def _text(config: Mapping[str, Any], key: str) -> str:
    value = config.get(key)
    return value if isinstance(value, str) else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
