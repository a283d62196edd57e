"""The training loss jumped far out of its own noise.

Checks: the loss of a step is above `ratio` times its baseline (the median of the last eight) and `rise`
above it, and the jump of its logarithm is more than `noise` times the noise of a row (1.4826 median change
over root 2, of the last 64) and more than `tail` times the second largest jump lately. It resolves once
the loss is within `quiet` of its baseline again. A jump at the start of an epoch is told as info.

Why: a bad batch, a learning rate at the edge of stability, or a broken file shows here first; several in
a row end in divergence.

What to do: look at the batches of these steps. If spikes come again, lower the learning rate or clip
gradients harder; a single one that recovers needs nothing.

When it is wrong: data ordered by difficulty or length jumps where a new kind begins. A loss near zero, as
in reinforcement learning, is not judged: ratios of next to nothing say nothing.

Source: PaLM (Chowdhery et al. 2022, section 5.1) on spikes and skipping their batches; the thresholds were
chosen on public Trainer logs (docs/alerts.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from heldout.derive.history import History
from heldout.records import Level, Sample
from heldout.stats.robust import LossTrail
from heldout.verdicts.rule import Finding, NotChecked, Rule


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    ratio: float = 1.5
    """The loss over its baseline: 32 of 37 healthy or flat public logs never jump so far (docs/alerts.md)."""
    rise: float = 0.1
    """Nats above the baseline, so that a memorised run's thousandths do not count."""
    noise: float = 8.0
    """Jumps of pure noise stay below 6.6 in 3,000 steps, at any width of the noise (simulated)."""
    tail: float = 2.5
    """Jumps of this size are usual where batches are small and examples differ (docs/alerts.md)."""
    quiet: float = 1.25
    """The alert resolves below this times the baseline: looser than `ratio`, so that it does not flap."""
    rows: int = 16
    """Losses needed before any is judged: fewer show no noise."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find a jump at the last step, or one that has not come down."""
    name = history.loss
    trail = history.fold(name, LossTrail)
    if trail.n < limits.rows:
        return NotChecked(f"needs {limits.rows} losses")
    jump = trail.residual
    if jump <= math.log(limits.quiet) or trail.near_zero:
        return []
    base, step = math.exp(trail.base), trail.step
    high = not trail.last <= limits.ratio * base and not trail.last - base <= limits.rise
    opens = high and not jump <= max(limits.noise * trail.noise, limits.tail * trail.tail())
    text = f"Loss spike at step {step}: {trail.last:.3g} after {base:.3g}"
    evidence = {
        "loss": trail.last,
        "baseline": base,
        "jump_in_noise": jump / trail.noise,
        "step": step,
    }
    return [
        Finding(
            level=_level(history),
            message=text,
            action=f"Look at the batches of step {step}; lower the learning rate if it comes again.",
            evidence=evidence,
            stage="open" if opens else "holding",
        )
    ]


def _level(history: History) -> Level:
    """Info where an epoch has just begun: its first batches may differ."""
    epochs = history.columns.get("epoch").tail(2)
    if len(epochs) == 2 and epochs[1] - epochs[0] < 0.5 and int(epochs[0]) < int(epochs[1]):
        return "info"
    return "warning"


RULE = Rule(
    name="loss-spike",
    check=check,
    limits=Limits(),
    on=(Sample,),
    silenced_by=("loss-not-finite", "divergence"),
)
