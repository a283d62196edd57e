"""The held-out loss rises while training goes on.

Checks: the last `evals` held-out losses lie above the lowest by `rise` of it and by `noise` times the noise
of one evaluation (1.4826 median second difference over root 6, which a straight trend leaves at zero; from
the eighth on). Read from the fixed set or, in runs without one, from the Trainer's own evaluations. It
resolves when the loss is within half of that again.

Why: from here on the model grows surer of what it memorised, and its probabilities mean less.

What to do: keep the checkpoint with the lowest held-out loss, or, where answers are scored, the one that
answers best: these are often not the same.

When it is wrong: a rising loss alone is not a worse model. In the public log at hand that has both,
the loss rose by 57 % while the accuracy went from 79 to 82 %.

Source: that log and the limits' counts are in docs/alerts.md; the noise is the difference-based one
of Gasser, Sroka and Jennen-Steinmetz 1986.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heldout.derive.held_out import held_out
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
    """Find held-out losses above the lowest."""
    curve = held_out(history)
    if len(curve) <= limits.evals:
        return NotChecked(f"needs {limits.evals + 1} held-out losses")
    losses, best, best_step = curve.losses, curve.losses[curve.best], curve.steps[curve.best]
    above = [loss - best for loss in losses[-limits.evals :]]
    if above[-1] <= limits.rise * abs(best) / 2:
        return []
    sigma = noise(np.array(losses)) if len(losses) >= KNOWN else 0.0
    bar = max(limits.rise * abs(best), limits.noise * sigma)
    if above[-1] <= bar / 2:
        return []
    text = (
        f"Held-out loss rises: {losses[-1]:.4g}, was {best:.4g} at step {best_step} "
        f"({len(losses)} evaluations)"
    )
    lowest = checkpoint_before(history, best_step) or f"that of step {best_step}"
    action = f"Keep {RECOMMENDED if has_recommended(history) else lowest}."
    if history.evals:
        action += f" Where probabilities matter more than answers, {lowest} has the lowest loss."
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
            action=action,
            evidence=evidence,
            stage="open" if not min(above) <= bar else "holding",
        )
    ]


RULE = Rule(
    name="eval-loss-rise",
    check=check,
    limits=Limits(),
    on=(Sample, EvalResult),
    silenced_by=("loss-not-finite", "divergence", "lora-exploding"),
)
