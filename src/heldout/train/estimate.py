"""What a run will take before it is started: evaluations and disk space."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from heldout.derive.preflight import Estimate
from heldout.evals.evaluate import Evaluator
from heldout.evals.fixed_set import Example, FixedSet
from heldout.evals.options import EvalOptions
from heldout.evals.training_rows import evenly_spaced
from heldout.train.checkpoints import CHECKPOINTS

TIMED = 16
"""Examples that are scored to time an evaluation."""
FLOAT32 = 4
"""Bytes; adapters are kept in this precision whatever the model's."""
MOMENTS = 2
"""What AdamW keeps of each trained number, in its precision."""


def evaluation_steps(settings: Mapping[str, Any]) -> list[int]:
    """The steps at which the set is scored."""
    every, steps = settings["eval.every"], settings["train.steps"]
    first = {0} if settings["eval.at_start"] else set()
    return sorted(first | {steps} | set(range(every, steps + 1, every)))


def most_checkpoints(settings: Mapping[str, Any]) -> int:
    """Checkpoints on disk at one time: a new one is written before an old one is removed."""
    every, steps = settings["train.save_every"] or settings["eval.every"], settings["train.steps"]
    saved = len({steps} | set(range(every, steps + 1, every)))
    return min(saved, settings["train.keep"] + 1) if settings["train.keep"] else saved


def checkpoint_bytes(
    settings: Mapping[str, Any], config: Any, lora: LoraConfig | None, tokenizer: Any
) -> int | None:
    """Bytes of a checkpoint: weights, AdamW's moments, tokenizer; None where it cannot be known.

    The model is built without its weights. Other optimizers keep less.
    """
    try:
        with torch.device("meta"):
            auto: Any = AutoModelForCausalLM
            model: Any = auto.from_config(config)
            model = get_peft_model(model, lora) if lora else model
    except Exception:  # a model or adapter that cannot be built without its weights
        return None
    trained: int = sum(p.numel() for p in model.parameters() if p.requires_grad)
    size = FLOAT32 if lora or settings["model.dtype"] in ("float32", "auto") else FLOAT32 // 2
    moments = 0 if settings["train.extra"].get("save_only_model") else MOMENTS
    backend = getattr(tokenizer, "backend_tokenizer", None)
    files: int = len(backend.to_str(pretty=True)) if backend else 0
    return trained * size * (1 + moments) + files


def free_bytes(settings: Mapping[str, Any]) -> int:
    """Free bytes where the run is or will be, and those that its checkpoints take already."""
    there = runs = Path(settings["output.runs"]).absolute()
    while not there.exists():
        there = there.parent
    kept = runs / (settings["output.run"] or "") / CHECKPOINTS
    taken = sum(file.stat().st_size for file in kept.rglob("*") if file.is_file())
    return shutil.disk_usage(there).free + taken


def timed(
    estimate: Estimate, model: Any, tokenizer: Any, fixed: FixedSet, options: EvalOptions
) -> Estimate:
    """Add how long an evaluation takes, from scoring a few examples spread over the set.

    They are scored twice, since the first pass of a model is slower, and counted by their tokens. A
    model that is trained decodes fewer wrong answers than at its start, so later ones are faster.
    """
    examples = [fixed.examples[i] for i in evenly_spaced(len(fixed.examples), TIMED)]
    few = FixedSet(examples=tuple(examples), about=fixed.about)
    evaluator = Evaluator(few, tokenizer, options=options)
    evaluator.evaluate(model, 0)
    began = time.perf_counter()
    evaluator.evaluate(model, 0)
    seconds = time.perf_counter() - began
    share = tokens_in(few.examples) / tokens_in(fixed.examples)
    return replace(estimate, eval_seconds=seconds / share, timed=len(examples))


def tokens_in(examples: tuple[Example, ...]) -> int:
    """Tokens of prompts and answers together."""
    return sum(example.length for example in examples)
