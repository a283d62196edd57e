"""The model is never taught to stop.

Checks: whether each row trains a token that ends an answer (the tokenizer's, the model's own, or the one
its chat template puts behind an answer) as its last token, but for up to three that a template puts
behind it. Rows that are cut end without one rightly and are not counted; nor are rows without a label.

Why: a model that has not seen the end token as a label goes on after its answer until the length limit.
The loss does not show it.

What to do: append the end token to the text, or unmask its label. A common cause is a padding token that
is the end token: the collator then masks every end.

When it is wrong: plain text that is meant to have no end, as in continued pretraining on pieces.

Source: the Trainer's own collator for language modelling masks every label that is the padding token.
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

    part: float = 0.5
    """Share of the rows that could end, from which those without an end are the rule."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find rows whose answer has no end token among its labels."""
    data = looked_for(history, "no_end")
    if isinstance(data, NotChecked):
        return data
    rows = of(data, "no_end")
    could = data.looked_at - of(data, "empty", "masked", "cut", "cut_away").n
    part = share(rows.n, could)
    if not part > limits.part:
        return []
    never = rows.n == could
    text = "No row trains an end token: " if never else "Most rows train no end token: "
    return [
        Finding(
            level="error" if never else "warning",
            message=text + counted(data, rows, could),
            action="Append the end token, or unmask it; is the padding token the end token?",
            evidence={"rows": rows.n, "could_end": could, "share": part, "ids": rows.rows},
        )
    ]


RULE = Rule(name="data-no-end", check=check, limits=Limits(), on=(Data,))
