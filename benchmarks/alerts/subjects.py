"""What is trained: a tiny model on the letters task, or SmolLM2-135M-Instruct on the demo's data."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import letters
import rows as row_files
from rows import Row
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from heldout import config
from heldout.train.model import load_model

EXAMPLES = Path(__file__).parents[2] / "examples"
CACHE = Path(tempfile.gettempdir()) / "heldout-benchmarks"
"""Where the tiny model's warm start is kept between calls."""
HELD_OUT_SEED = 999_999
EVERY = {"tiny": 20, "smollm2": 14}
"""Steps between evaluations, by subject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A training that works when nothing is broken: it learns, and exact match rises."""

    name: str
    tokenizer: Any
    fresh: Callable[[], Any]
    """The base model, with the weights it starts from."""
    train: Callable[[int], list[Row]]
    """The training rows of a seed."""
    eval: list[Row]
    patterns: tuple[str, ...]
    dropped: str
    """The pattern that the forgetting fault takes out of the data."""
    lora: dict[str, Any]
    every: int
    margin: float
    arguments: dict[str, Any]
    """The Trainer's arguments."""


def subject(name: str) -> Subject:
    """The subject called `name`: tiny or smollm2."""
    transformers_logging.disable_progress_bar()
    return {"tiny": _tiny, "smollm2": _smollm2}[name]()


def _arguments(**changes: Any) -> dict[str, Any]:
    return {
        "use_cpu": True,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "steps",
        "eval_strategy": "steps",
        "per_device_eval_batch_size": 64,
        "lr_scheduler_type": "linear",
        "dataloader_pin_memory": False,
        "remove_unused_columns": False,
        "disable_tqdm": True,
        **changes,
    }


@cache
def _tiny() -> Subject:
    base = letters.warm_start(CACHE)
    held_out = letters.rows(250, HELD_OUT_SEED)
    prompts = {row["messages"][0]["content"] for row in held_out}

    def train(seed: int) -> list[Row]:
        found = letters.rows(3200, seed, wrong=letters.WRONG)
        return [row for row in found if row["messages"][0]["content"] not in prompts]

    return Subject(
        name="tiny",
        tokenizer=letters.tokenizer(),
        fresh=lambda: AutoModelForCausalLM.from_pretrained(base),
        train=train,
        eval=held_out,
        patterns=tuple(letters.WAYS),
        dropped=letters.KEPT,
        lora={"r": 8, "lora_alpha": 16, "target_modules": "all-linear", "task_type": "CAUSAL_LM"},
        every=EVERY["tiny"],
        margin=0.02,
        arguments=_arguments(
            max_steps=200,
            per_device_train_batch_size=16,
            learning_rate=6e-4,
            warmup_steps=20,
            save_steps=EVERY["tiny"],
            eval_steps=EVERY["tiny"],
        ),
    )


@cache
def _smollm2() -> Subject:
    settings = config.load(EXAMPLES / "demo.yaml")
    model, tokenizer = load_model(settings)
    weights = {key: value.clone() for key, value in model.state_dict().items()}

    def fresh() -> Any:
        made = type(model)(model.config)
        made.load_state_dict(weights)
        return made

    found = row_files.read(EXAMPLES / "train.jsonl")
    return Subject(
        name="smollm2",
        tokenizer=tokenizer,
        fresh=fresh,
        train=lambda seed: list(found),
        eval=row_files.read(EXAMPLES / "fixed_eval.jsonl"),
        patterns=tuple(sorted({row["pattern"] for row in found})),
        dropped="factual",
        lora={"r": 16, "lora_alpha": 32, "target_modules": "all-linear", "task_type": "CAUSAL_LM"},
        every=EVERY["smollm2"],
        margin=0.05,
        arguments=_arguments(
            max_steps=112,
            per_device_train_batch_size=8,
            learning_rate=1e-3,
            lr_scheduler_type="cosine",
            warmup_steps=7,
            save_steps=EVERY["smollm2"],
            eval_steps=EVERY["smollm2"],
            per_device_eval_batch_size=16,
        ),
    )
