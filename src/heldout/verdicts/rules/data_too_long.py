"""Rows are longer than they may be.

Checks: rows that are cut at max_length (their answers lose their end, those cut away altogether are counted
by data-masked as well), and rows that are longer than the positions the model was made for.

Why: an answer without its end teaches to stop nowhere, and what lies behind the cut is not trained at all.
Positions beyond the model's are at best unknown to it, and at worst an error in the middle of training.

What to do: raise max_length where memory allows, split long rows, or drop them.

When it is wrong: plain text that may be cut anywhere.

Source: the limit is a convention.
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

    some: float = 0.05
    """Share of rows cut from which it changes what is learned."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find rows that are cut, or longer than the model takes."""
    data = looked_for(history, "masked")
    if isinstance(data, NotChecked):
        return data
    return [*_cut(data, limits), *_beyond(data)]


def _cut(data: Data, limits: Limits) -> list[Finding]:
    rows = of(data, "cut", "cut_away")
    part = share(rows.n, data.looked_at)
    if not part > limits.some:
        return []
    text = (
        f"Cut at {data.max_length or data.longest:,} tokens: {counted(data, rows, data.looked_at)}"
    )
    return [
        Finding(
            level="warning",
            message=f"{text}; the longest has {data.longest:,}",
            action="Raise max_length (train.max_length), split these rows or drop them.",
            evidence={
                "rows": rows.n,
                "share": part,
                "max_length": data.max_length,
                "longest": data.longest,
                "ids": rows.rows,
            },
            scope="cut",
        )
    ]


def _beyond(data: Data) -> list[Finding]:
    longest = min(data.longest, data.max_length or data.longest)
    if data.context is None or longest <= data.context:
        return []
    return [
        Finding(
            level="warning",
            message=f"A row has {longest:,} tokens and the model was made for {data.context:,}",
            action=f"Set max_length (train.max_length) to {data.context} at most.",
            evidence={"longest": longest, "context": data.context},
            scope="context",
        )
    ]


RULE = Rule(name="data-too-long", check=check, limits=Limits(), on=(Data,))
