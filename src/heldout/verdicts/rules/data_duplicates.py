"""The training set repeats itself.

Checks: rows that say the same as an earlier one; in a file but for letter case and whitespace, in a Trainer's
prepared data token by token.

Why: repeated rows are learned by heart, weigh more than the others, and make an epoch longer than it is.

What to do: remove the rows named, or weigh them on purpose.

When it is wrong: oversampling a rare pattern is a choice; so are many short answers to one short prompt.

Source: Lee et al. 2022, "Deduplicating Training Data Makes Language Models Better".
"""

from __future__ import annotations

from dataclasses import dataclass

from heldout.derive.history import History
from heldout.records import Data
from heldout.verdicts.data_rows import compared, counted, looked_for, of, share
from heldout.verdicts.rule import Finding, NotChecked, Rule


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    some: float = 0.05
    """Share of rows that repeat another, from which the set is other than its size says."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find rows that repeat earlier ones."""
    data = looked_for(history, "duplicate")
    if isinstance(data, NotChecked):
        return data
    rows, among = of(data, "duplicate"), compared(data)
    part = share(rows.n, among)
    if not part > limits.some:
        return []
    return [
        Finding(
            level="warning",
            message=f"The same as an earlier row: {counted(data, rows, among)}",
            action="Remove the rows named, unless they are repeated on purpose.",
            evidence={
                "rows": rows.n,
                "share": part,
                "ids": rows.rows,
                "same_as": data.found["duplicate"].partners,
            },
        )
    ]


RULE = Rule(name="data-duplicates", check=check, limits=Limits(), on=(Data,))
