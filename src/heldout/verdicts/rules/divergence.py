"""The training loss has left its best level for good: training diverges.

Checks: the level (the median of the last nine losses) has been, for six rows, above `ratio` times the
lowest level so far and `rise` above it, or above `far` times it (levels below `least` count as that); and
by more than pure noise strays. Also a loss above `guess`, and one that has risen to the logarithm of the
vocabulary's size, within `uniform`: the model then guesses. Held-out losses have the last word: where one
made since is not worse than the best, the level at it is compared with in place of the lowest, and one that
is due within `wait` steps is waited for. It resolves below `quiet` times what it is compared with.

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

from heldout.derive.held_out import held_out
from heldout.derive.history import History
from heldout.derive.recommended import resume_from
from heldout.derive.schedule import checkpoint_before, training
from heldout.records import EvalResult, Sample
from heldout.stats.robust import IN_A_ROW, LEVEL, LossTrail, median
from heldout.verdicts.rule import Ends, Finding, NotChecked, Rule


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    ratio: float = 1.5
    """The level over the lowest; 36 of 37 healthy or flat public logs stay below 1.3; the noise of the other
    (batches of one row, a loss near zero) the other limits see (docs/alerts.md)."""
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
    """The alert resolves below this times the level compared with."""
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
    if not _away(history, trail, best, limits):
        return []
    start, step, left = trail.best, trail.best_step, trail.left_step
    well = _well_at(history, left, limits)
    if well:  # the level that it had then does no harm
        start, step, left = _level_at(history, well), well, well
        best = max(best, start)
        if not _away(history, trail, best, limits):
            return []
    guessing = _guesses(history, trail, limits)
    soon = _evaluated_soon(history, left, limits)
    opens = guessing or _left(trail, best, limits)
    text = f"Training diverges: the loss rose from {start:.3g} (step {step}) to {trail.level:.3g}"
    if guessing:
        text += ", which is guessing among the whole vocabulary"
    resume = resume_from(history, checkpoint_before(history, step))
    evidence = {
        "level": trail.level,
        "best_level": trail.best,
        "best_step": trail.best_step,
        "from_level": start,
        "from_step": step,
        "noise": trail.noise,
    }
    return [
        Finding(
            level="error",
            message=text,
            action=f"Stop. {resume} with the learning rate divided by 3.",
            evidence=evidence,
            stage="holding" if not opens else "pending" if soon else "open",
        )
    ]


def _away(history: History, trail: LossTrail, best: float, limits: Limits) -> bool:
    """Whether the level is far above `best`, or has risen from it to guessing."""
    if not trail.level <= limits.quiet * best:
        return True
    return not trail.level - best <= limits.rise and _guesses(history, trail, limits)


def _left(trail: LossTrail, best: float, limits: Limits) -> bool:
    """Whether the last levels are all further above `best` than noise and the limits allow.

    Or the last losses themselves are beyond any guess, where no noise needs to be known.
    """
    if min(trail.values) > max(limits.guess, limits.far * best):
        return True
    low = min(trail.levels)
    if low <= best or math.log(low / best) <= limits.noise * trail.stray:
        return False
    return low > limits.far * best or (low > limits.ratio * best and low - best > limits.rise)


def _well_at(history: History, since: int, limits: Limits) -> int:
    """The step of the last held-out loss if it was made after `since` and is well; else 0."""
    curve = held_out(history)
    if len(curve) < 2 or curve.steps[-1] <= since:
        return 0
    return curve.steps[-1] if curve.losses[-1] <= limits.worse * min(curve.losses) else 0


def _level_at(history: History, step: int) -> float:
    """The level of the loss at `step`: the median of the last finite values up to it; 0.0 without any."""

    def found() -> float:
        series = history.columns.get(history.loss)
        late = len(series.since(step + 1))
        values = series.tail(late + LEVEL)[: -late or None]
        level = median(filter(math.isfinite, values))
        return level if math.isfinite(level) else 0.0

    return history.remember("level of the loss at the last held-out one", found, step)


def _evaluated_soon(history: History, since: int, limits: Limits) -> bool:
    """Whether a held-out loss is due within `wait` steps after `since`, and none has come in."""
    curve = held_out(history)
    if len(curve) < 2 or curve.steps[-1] > since:
        return False
    due = 2 * curve.steps[-1] - curve.steps[-2]
    return history.step <= due <= since + limits.wait


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
    ends=Ends("roll-back"),
)
