"""Rows without a single label train nothing.

Checks: the labels of the training rows as the model gets them, before the first step: rows whose labels
are all masked (-100), rows without a token, and rows whose answer lies wholly behind the cut.

Why: a run whose labels are all masked "succeeds" with loss 0.0, and every masked row is compute spent
on nothing. The loss hides it: it is a mean over the labels that are left.

What to do: look at the rows named. A response template or mask that is not found in the text masks the
whole row; an answer behind the cut needs a larger max_length or a shorter prompt.

When it is wrong: rows masked on purpose, for instance to keep an order or a batch full.

Source: TRL drops such rows where it prepares the data itself; a plain Trainer and prepared data keep them.
"""

from __future__ import annotations

from dataclasses import dataclass

from heldout.derive.history import History
from heldout.records import Data
from heldout.verdicts.data_rows import counted, looked_for, of, share
from heldout.verdicts.rule import Ends, Finding, NotChecked, Rule


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    some: float = 0.01
    """Share of rows without a label from which they are no accident of single rows."""
    most: float = 0.5
    """Share from which the set itself is broken, and training on it a waste."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find rows that have no label."""
    data = looked_for(history, "masked")
    if isinstance(data, NotChecked):
        return data
    rows, behind = of(data, "masked", "empty", "cut_away"), of(data, "cut_away")
    part = share(rows.n, data.looked_at)
    nothing = data.looked_at > 0 and not data.label_tokens > 0
    if not (part > limits.some or nothing):
        return []
    text = f"no label in {counted(data, rows, data.looked_at)}"
    if behind.n:
        text += f"; {behind.n:,} of them lose their answer to the cut at {data.max_length:,} tokens"
    raise_it = "Raise max_length or shorten the prompts."
    remedy = "Look at these rows: their mask covers the answer." if rows.n > behind.n else raise_it
    worst = nothing or part > limits.most
    return [
        Finding(
            level="critical" if worst else "warning",
            message=f"Nothing would be trained: {text}" if nothing else f"There is {text}",
            action=f"Stop. {remedy}" if worst else remedy,
            evidence={
                "rows": rows.n,
                "looked_at": data.looked_at,
                "share": part,
                "ids": rows.rows,
            },
        )
    ]


RULE = Rule(
    name="data-masked", check=check, limits=Limits(), on=(Data,), ends=Ends("stop", "critical")
)
