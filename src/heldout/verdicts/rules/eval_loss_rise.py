"""The held-out loss rises while training goes on.

Checks: the last `evals` held-out losses lie above the lowest by `rise` of it and by `noise` times the noise
of one evaluation (1.4826 median second difference over root 6, which a straight trend leaves at zero; from
the eighth on). Read from the fixed set or, in runs without one, from the Trainer's own evaluations, each
set by itself. It needs no number of steps planned. It resolves when the loss is within half of that again.

Why: from here on the model grows surer of what it memorised, and its probabilities mean less.

What to do: keep the recommended checkpoint: the one that answers best where answers or a task's metric are
scored, else the one with the lowest held-out loss. These are often not the same.

When it is wrong: a rising loss alone is not a worse model. In the public log at hand that has both,
the loss rose by 57 % while the accuracy went from 79 to 82 %.

Source: that log and the limits' counts are in docs/alerts.md; the noise is the difference-based one
of Gasser, Sroka and Jennen-Steinmetz 1986.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heldout.derive.deciding import says_the_loss
from heldout.derive.eval_curve import deciding_curve
from heldout.derive.held_out import HeldOut, held_out_by_set
from heldout.derive.history import History
from heldout.derive.recommended import RECOMMENDED, has_recommended
from heldout.derive.schedule import checkpoint_before
from heldout.records import EvalResult, Sample
from heldout.stats.curve import noise
from heldout.verdicts.rule import Finding, NotChecked, Rule

KNOWN = 8
"""Evaluations from which their noise is known: of fewer, most second differences are the curve's own bend."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    evals: int = 2
    """Evaluations in a row that must lie above the lowest."""
    rise: float = 0.05
    """Share of the lowest loss; healthy or flat public logs end at most 2.8 % above it (docs/alerts.md)."""
    noise: float = 3.0
    """Standard deviations of one evaluation."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find held-out losses above the lowest; one finding for each evaluation set, named in its scope."""
    known = held_out_by_set(history)
    long_enough = {scope: curve for scope, curve in known.items() if len(curve) > limits.evals}
    if not long_enough:
        return NotChecked(f"needs {limits.evals + 1} held-out losses")
    found = []
    for scope, curve in long_enough.items():
        found += _rise(history, limits, scope, curve)
    return found


def _rise(history: History, limits: Limits, scope: str, curve: HeldOut) -> list[Finding]:
    losses, best, best_step = curve.losses, curve.losses[curve.best], curve.steps[curve.best]
    above = [loss - best for loss in losses[-limits.evals :]]
    if above[-1] <= limits.rise * abs(best) / 2:
        return []
    sigma = noise(np.array(losses)) if len(losses) >= KNOWN else 0.0
    bar = max(limits.rise * abs(best), limits.noise * sigma)
    if above[-1] <= bar / 2:
        return []
    text = (
        f"Held-out loss{f' on {scope}' if scope else ''} rises: {losses[-1]:.4g}, "
        f"was {best:.4g} at step {best_step} ({len(losses)} evaluations)"
    )
    evidence = {
        "loss": losses[-1],
        "best": best,
        "best_step": best_step,
        "noise": sigma,
        "evaluations": len(losses),
    }
    return [
        Finding(
            level="warning",
            message=text,
            action=_keep(history, best_step),
            evidence=evidence,
            scope=scope,
            stage="open" if not min(above) <= bar else "holding",
        )
    ]


def _keep(history: History, best_step: int) -> str:
    """Which checkpoint to keep: the decision's own; `best_step` is that of the lowest loss."""
    lowest = checkpoint_before(history, best_step) or f"that of step {best_step}"
    curve = None if history.evals else deciding_curve(history)
    other = curve is not None and not says_the_loss(curve.name)
    if curve and other:
        lowest = f"that of step {curve.best_step:,}"
    said = f"Keep {RECOMMENDED if has_recommended(history) else lowest}."
    if curve and other:
        said += f" {curve.title.capitalize()} decides, not the loss."
    if history.evals:
        said += f" Where probabilities matter more than answers, {lowest} has the lowest loss."
    return said


RULE = Rule(
    name="eval-loss-rise",
    check=check,
    limits=Limits(),
    on=(Sample, EvalResult),
    silenced_by=("loss-not-finite", "divergence", "lora-exploding"),
)
