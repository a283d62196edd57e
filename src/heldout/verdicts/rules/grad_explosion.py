"""The gradient norm jumped by an order of magnitude, and the loss felt it.

Checks: the gradient norm is above `ratio` times the median of the eight before it, by more than `noise`
times the noise of its logarithm. That alone is noted as pending. It opens when the loss moves too (by more
than `loss_noise` times its own noise within the last eight rows) and the jump of the logarithm is more than
`tail` times the second largest lately, or when `times` of the last 50 norms are
so large; gradients within 50 steps after a loss spike that was told are part of it. It resolves when eight
rows have passed without one.

Why: a large gradient that clipping does not tame moves the weights far in one step.

What to do: clip gradients at a lower norm, lower the learning rate, and look at the batches.

When it is wrong: 3 of 24 healthy or flat public logs hold a tenfold norm that nothing came of, which is why
one alone never alerts. After clipping, or where only a mean over steps is logged, a jump looks smaller.

Source: Pascanu, Mikolov and Bengio 2013, On the difficulty of training recurrent neural networks, for
exploding gradients and clipping; counts from public Trainer logs (docs/alerts.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from heldout.derive.history import History
from heldout.records import Sample
from heldout.stats.robust import GradientTrail, LossTrail
from heldout.verdicts.rule import Finding, NotChecked, Rule
from heldout.verdicts.told import told_lately

NEAR, LATELY = 8, 50
"""Rows within which loss and gradient belong together, and over which explosions are counted."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    ratio: float = 10.0
    """The norm over its baseline; 21 of 24 healthy or flat public logs never reach it (docs/alerts.md)."""
    noise: float = 8.0
    """The jump of the norm's logarithm in units of its noise: as for a loss spike."""
    loss_noise: float = 5.0
    """How far the loss must have moved, in units of its noise: pure noise stays below 6 in 3,000 steps."""
    tail: float = 1.25
    """Norms of this size are usual where the loss is made by a few examples, as late in the training of
    reward models and classifiers (docs/alerts.md)."""
    times: int = 3
    """Explosions among the last 50 norms that alert without a moving loss."""
    rows: int = 16
    """Norms needed before any is judged."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find gradient norms that exploded lately."""
    trail = history.fold("grad/norm", GradientTrail)
    if trail.n < limits.rows:
        return NotChecked(f"needs {limits.rows} gradient norms")
    near = trail.residuals(NEAR)
    if max(near) <= math.log(limits.ratio):
        return []
    bar = max(math.log(limits.ratio), limits.noise * trail.noise)
    lately = [residual > bar for residual in trail.residuals(LATELY)]
    if not any(lately[-NEAR:]):
        return []
    if told_lately(history, "loss-spike", LATELY):
        return []
    loss = history.fold(history.loss, LossTrail)
    moved = 0.0 if loss.near_zero else max(loss.residuals(NEAR), default=0.0) / loss.noise
    unusual = not max(near) <= limits.tail * trail.tail()
    opens = (unusual and not moved <= limits.loss_noise) or sum(lately) >= limits.times
    norms = history.columns.get("grad/norm").tail(NEAR)
    text = (
        f"The gradient norm exploded: {max(norms):.3g}, {math.exp(max(near)):.0f} times its "
        f"median ({sum(lately)} in the last {len(lately)} rows)"
    )
    evidence = {"norms": norms, "explosions": sum(lately), "loss_moved_in_noise": moved}
    return [
        Finding(
            level="warning",
            message=text,
            action="Clip gradients at a lower norm or lower the learning rate; look at the batches.",
            evidence=evidence,
            stage="open" if opens else "pending",
        )
    ]


RULE = Rule(
    name="grad-explosion",
    check=check,
    limits=Limits(),
    on=(Sample,),
    silenced_by=("loss-not-finite", "divergence", "loss-spike"),
)
