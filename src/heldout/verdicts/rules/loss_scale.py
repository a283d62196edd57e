"""The logged training loss is multiplied with the number of micro-batches.

Checks: with gradient accumulation, the loss that the Trainer logs is `gradient_accumulation_steps` times
what it should be, within `near` of it: against the loss of the same steps as the model computed it, or,
where that is not seen, against the held-out loss, for `rows` in a row.

Why: such a loss is no cross-entropy, does not compare between runs, and with some versions the gradients
are scaled with it, which multiplies the learning rate.

What to do: update transformers and trl, or let the model take `num_items_in_batch`; divide the logged loss
until then.

When it is wrong: a model far better on the held-out set than on its training set can show such a
ratio by chance.

Source: huggingface/transformers#34191, "Fix Gradient Accumulation issue"; #35438, where the loss with two
micro-batches is doubled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from heldout.derive.columns import Series
from heldout.derive.deciding import NAME
from heldout.derive.history import History
from heldout.derive.schedule import training
from heldout.records import Sample
from heldout.stats.robust import LossTrail, median
from heldout.verdicts.rule import Finding, NotChecked, Rule

LEAST = 0.7
"""Of the full ratio, to the latest losses: below it there is no need to take exact means."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    near: float = 0.1
    """Share of the ratio that it may be off."""
    rows: int = 3
    """Logged losses in a row, or evaluations in a row."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find a loss that is a multiple of what it should be."""
    micro = training(history, "gradient_accumulation_steps")
    if micro is None or not micro >= 2:
        return NotChecked("gradients are not accumulated, as far as is known")
    logged = history.columns.get("loss/logged")
    if len(logged) < limits.rows:
        return NotChecked(f"needs {limits.rows} logged losses")
    own = history.columns.get("loss/step")
    if len(own):
        level, true = history.fold("loss/step", LossTrail).level, own
    else:
        true = history.columns.get(NAME)
        level = true.last
    if not len(true) or logged.last < LEAST * micro * level:
        return []
    ratios = _to_own(logged, own, limits.rows) if len(own) else _to_held_out(logged, true)
    ratios = ratios[-limits.rows :]
    if len(ratios) < limits.rows or not all(abs(r / micro - 1) <= limits.near for r in ratios):
        return []
    what = "the steps' own loss" if len(own) else "the held-out loss"
    text = (
        f"The logged loss {logged.last:.3g} is {median(ratios):.3g} times {what}, with "
        f"{micro:g} micro-batches a step: it was summed where it should be averaged"
    )
    evidence = {"ratios": ratios, "gradient_accumulation_steps": micro}
    action = f"Update transformers and trl; divide the logged loss by {micro:g} to compare it."
    return [Finding(level="warning", message=text, action=action, evidence=evidence)]


def _to_own(logged: Series, own: Series, rows: int) -> list[float]:
    """Each of the last logged losses over the mean of the steps it covers."""
    edges = np.append(0, logged.steps)[-rows - 1 :]
    places = np.searchsorted(own.steps, edges, side="right")
    means = [own.values[a:b].mean() for a, b in pairwise(places) if b > a]
    return _ratios(logged.tail(len(means)), means)


def _to_held_out(logged: Series, held_out: Series) -> list[float]:
    """The logged loss before each evaluation over the evaluated one."""
    places = np.searchsorted(logged.steps, held_out.steps, side="right")
    known = [
        (logged.values[i - 1], loss) for i, loss in zip(places, held_out.values, strict=True) if i
    ]
    return _ratios([x for x, _ in known], [loss for _, loss in known])


def _ratios(of: Sequence[float], to: Sequence[float]) -> list[float]:
    """NaN or infinite where a loss of 0 is divided by, which is no ratio to warn of."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios: list[float] = np.divide(of, to).tolist()
    return ratios


RULE = Rule(
    name="loss-scale",
    check=check,
    limits=Limits(),
    on=(Sample,),
    silenced_by=("loss-not-finite", "divergence"),
)
