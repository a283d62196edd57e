"""Tokens that the model has no embedding for end the training at the first batch that holds one.

Checks: the token ids of the training rows, before the first step, against the rows of the model's embedding.

Why: a tokenizer with added tokens has more ids than a model that was not resized. On a CPU the lookup
raises an error that names no row; on a GPU an assertion in a kernel kills the process, and the message
names neither the token nor the row.

What to do: call `model.resize_token_embeddings(len(tokenizer))` before training (with LoRA train the
embedding too), or use the tokenizer the model came with.

When it is wrong: a model that maps ids itself before it looks them up.

Source: torch's `embedding` takes ids below its number of rows only.
"""

from __future__ import annotations

from dataclasses import dataclass

from heldout.derive.history import History
from heldout.records import Data
from heldout.verdicts.data_rows import counted, looked_for, of
from heldout.verdicts.rule import Finding, NotChecked, Rule


@dataclass(frozen=True, slots=True)
class Limits:
    """This rule has no thresholds: one such token is enough."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find training rows with a token that the model has no embedding for."""
    data = looked_for(history, "no_embedding")
    if isinstance(data, NotChecked):
        return data
    rows = of(data, "no_embedding")
    if not rows.n:
        return []
    said, _, remedy = data.beyond.partition(". ")
    return [
        Finding(
            level="error",
            message=f"No embedding for a token in {counted(data, rows, data.looked_at)}: {said}",
            action=f"Before training: {remedy}.",
            evidence={"rows": rows.n, "looked_at": data.looked_at, "ids": rows.rows},
        )
    ]


RULE = Rule(name="data-no-embedding", check=check, limits=Limits(), on=(Data,))
