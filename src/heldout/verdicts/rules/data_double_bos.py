"""Rows begin with two begin tokens.

Checks: whether a row's first two tokens are both the tokenizer's begin token.

Why: the chat template writes the begin token and the tokenizer adds its own. The model has never seen that,
and what is asked of it later has one, so training and use differ at the very first position.

What to do: tokenise templated text with add_special_tokens=False, or take the begin token out of the text.

When it is wrong: hardly ever.

Source: the documentation of chat templates in transformers warns of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from heldout.derive.history import History
from heldout.records import Data
from heldout.verdicts.data_rows import counted, looked_for, of, share
from heldout.verdicts.rule import Finding, NotChecked, Rule


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    some: float = 0.01
    """Share of rows from which it is more than a stray text."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find rows with a doubled begin token."""
    data = looked_for(history, "double_bos")
    if isinstance(data, NotChecked):
        return data
    rows = of(data, "double_bos")
    part = share(rows.n, data.looked_at)
    if not part > limits.some:
        return []
    return [
        Finding(
            level="warning",
            message=f"Two begin tokens open {counted(data, rows, data.looked_at)}",
            action="Tokenise with add_special_tokens=False: the chat template has written one already.",
            evidence={"rows": rows.n, "share": part, "ids": rows.rows},
        )
    ]


RULE = Rule(name="data-double-bos", check=check, limits=Limits(), on=(Data,))
