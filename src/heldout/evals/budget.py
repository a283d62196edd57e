"""How many tokens go through the model at once, and what happens when memory runs out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from heldout.errors import ModelError

TOKENS = {"cpu": 4096, "cuda": 2**15}
"""Padded tokens in one forward pass, by device, to begin with."""
MEMORY_WORDS = ("out of memory", "not enough memory", "can't allocate memory")


@dataclass(slots=True)
class Budget:
    """Padded tokens of a batch; less after memory ran out. `remarks` says so, once each time."""

    tokens: int = 0
    """0 until the device is known."""
    remarks: list[str] = field(default_factory=list)

    def begin(self, device: torch.device) -> None:
        """Start with the device's default, unless it is known already what fits."""
        self.tokens = self.tokens or TOKENS.get(device.type, TOKENS["cpu"])

    def shrink(self, lengths: Sequence[int], error: Exception) -> None:
        """After `error` in a batch of sequences of these lengths, allow half of what it took.

        Raises `error` if it is not about memory, and `ModelError` if one sequence alone does not fit.
        """
        if not _is_memory(error):
            raise error
        if len(lengths) == 1:
            raise ModelError(
                f"one example of {lengths[0]} tokens does not fit into memory. "
                "Leave out long ones (eval.max_tokens)."
            ) from error
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        before = self.tokens
        self.tokens = max(1, min(before, max(lengths) * len(lengths)) // 2)
        self.remarks.append(f"memory ran out: batches of {self.tokens} tokens instead of {before}")


def _is_memory(error: Exception) -> bool:
    words = str(error).lower()
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or (
        isinstance(error, RuntimeError) and any(each in words for each in MEMORY_WORDS)
    )
