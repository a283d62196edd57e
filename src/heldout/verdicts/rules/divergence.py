"""The training loss has left its best level for good: training diverges.

Checks: the level (the median of the last nine losses) has been, for six rows, above `ratio` times the
lowest level so far and `rise` above it, or above `far` times it (levels below `least` count as that); and
by more than pure noise strays. Also a loss above `guess`, and one that has risen to the logarithm of the
vocabulary's size, within `uniform`: the model then guesses. Held-out losses have the last word: where one
made since is not worse than the best, nothing is said, and one that is due within `wait` steps is waited for.
It resolves below `quiet` times the lowest.

Why: past a certain point the weights do not come back, and every further step is lost. One bad batch
cannot move a median of nine.

What to do: stop, go back to the last checkpoint before the rise, and continue with a third of the
learning rate.

When it is wrong: data in an order (easy first, one task after another) raises the loss without harm, and
so does a change of the training set at a resume. With batches of one example the noise is wide and a
moderate rise needs long to be told from it.

Source: thresholds chosen on public Trainer logs (docs/alerts.md); the stray of noise from simulations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from heldout.derive.held_out import held_out
from heldout.derive.history import History
from heldout.derive.schedule import checkpoint_before, training
from heldout.records import EvalResult, Sample
from heldout.stats.robust import IN_A_ROW, LossTrail
from heldout.verdicts.rule import Finding, NotChecked, Rule


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    ratio: float = 1.5
    """The level over the lowest; healthy public logs stay below 1.25, but for one of batches of one row whose
    noise and loss near zero the other limits see (docs/alerts.md)."""
    rise: float = 0.25
    """Nats above the lowest level that must come with `ratio`."""
    far: float = 3.0
    """The level over the lowest one, where that is too small for `rise` to be reached."""
    least: float = 0.02
    """Levels below this count as this: policy-gradient losses hover around zero."""
    noise: float = 1.4
    """Times noise * sqrt(2 log rows): levels of pure noise stray up to 1.14 of these from the lowest in
    3,000 rows, at any width of the noise (simulated)."""
    quiet: float = 1.25
    """The alert resolves below this times the lowest level."""
    worse: float = 1.05
    """The held-out loss over its best that agrees with a divergence."""
    wait: int = 50
    """Steps that a held-out loss is waited for: no more than a divergence costs anyway."""
    guess: float = 12.5
    """Nats of a uniform guess among 262,144 tokens, the largest vocabulary in use: six losses above
    it in a row are a divergence, however noisy."""
    uniform: float = 0.03
    """Distance in nats to log(vocabulary) at which the model is as good as guessing."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find a level that is far above the lowest."""
    trail = history.fold(history.loss, LossTrail)
    if len(trail.levels) < IN_A_ROW:
        return NotChecked(f"needs {IN_A_ROW + 2} losses")
    best = trail.best if trail.best > limits.least else limits.least
    high = not trail.level <= limits.quiet * best
    if not high and trail.level - best <= limits.rise:
        return []
    guessing = _guesses(history, trail, limits)
    if not high and not guessing:
        return []
    heard = _held_out_says(history, trail.left_step, limits)
    if heard == "well":
        return []
    opens = guessing or _left(trail, best, limits)
    text = (
        f"Training diverges: the loss rose from {trail.best:.3g} (step {trail.best_step}) "
        f"to {trail.level:.3g}"
    )
    if guessing:
        text += ", which is guessing among the whole vocabulary"
    back = checkpoint_before(history, trail.best_step)
    resume = f"Resume from {back}" if back else "Start again"
    evidence = {
        "level": trail.level,
        "best_level": trail.best,
        "best_step": trail.best_step,
        "noise": trail.noise,
    }
    return [
        Finding(
            level="error",
            message=text,
            action=f"Stop. {resume} with the learning rate divided by 3.",
            evidence=evidence,
            stage="holding" if not opens else "pending" if heard == "soon" else "open",
        )
    ]


def _left(trail: LossTrail, best: float, limits: Limits) -> bool:
    """Whether the last levels are all further above the best than noise and the limits allow.

    Or the last losses themselves are beyond any guess, where no noise needs to be known.
    """
    if min(trail.values) > max(limits.guess, limits.far * best):
        return True
    low = min(trail.levels)
    if low <= best or math.log(low / best) <= limits.noise * trail.stray:
        return False
    return low > limits.far * best or (low > limits.ratio * best and low - best > limits.rise)


def _held_out_says(history: History, since: int, limits: Limits) -> Literal["well", "soon", ""]:
    """Whether the held-out loss is well after step `since`, or will be known soon."""
    curve = held_out(history)
    if len(curve) < 2:
        return ""
    last, before = curve.steps[-1], curve.steps[-2]
    if last > since:
        return "well" if curve.losses[-1] <= limits.worse * min(curve.losses) else ""
    due = 2 * last - before
    return "soon" if history.step <= due <= since + limits.wait else ""


def _guesses(history: History, trail: LossTrail, limits: Limits) -> bool:
    """Whether the loss has come up to that of a uniform distribution and stays there."""
    vocabulary = training(history, "vocabulary")
    if vocabulary is None or vocabulary < 2:
        return False
    uniform = math.log(vocabulary)
    there = all(abs(level - uniform) < limits.uniform for level in trail.levels)
    return there and trail.best < uniform - limits.rise


RULE = Rule(
    name="divergence",
    check=check,
    limits=Limits(),
    on=(Sample, EvalResult),
    silenced_by=("loss-not-finite",),
)
