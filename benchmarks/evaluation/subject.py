"""What is measured, and what a way to measure it answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from heldout.evals.fixed_set import Example


class Missing(Exception):
    """A way that cannot run here; the text says what would make it run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one way finds: which examples match, token by token or as text, and the mean CE."""

    hits: tuple[bool, ...] | None = None
    ce: float | None = None
    entropy: float | None = None
    ece: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One model and the examples all ways score with it."""

    model: PreTrainedModel
    tokenizer: Any
    examples: tuple[Example, ...]
    eos_ids: tuple[int, ...]
    batch_size: int
    max_new_tokens: int | None
    """Where made answers are cut; None where they end by themselves."""
    scratch: Path
    """An empty folder for what trainers write."""

    @property
    def num_response_tokens(self) -> int:
        return sum(len(example.response_ids) for example in self.examples)
