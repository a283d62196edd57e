"""After a tenth of its budget the run has learned nothing that shows.

Checks: past warm-up and `share` of the budget the losses of evaluations (four or more, the first of them
early) stay within `still` of each other; or, in runs without such, the training loss of the later half is
surely less than `fall` below that of the first tenth (mean log loss, three standard errors). It resolves when
either falls. Training on pairs (DPO, KTO, reward models) is learning as well where the margins of the rewards
have surely risen, or the accuracies are surely above a half. Of a policy (GRPO, RLOO) the reward is looked
at, and not the loss: its later half is surely less than `gain` of the spread within a group above its first
tenth.

Why: a rate far too low, frozen adapters or masked labels look like a calm run. Nothing will come of
the rest of the budget either.

What to do: check that adapters are trained, that labels are not masked, and raise the learning rate.

When it is wrong: a model that already knows the data, or has the full reward, has nothing to learn. A noisy
training loss or reward hides slow learning and slow failure alike: then this rule waits, and a fixed held-out
set sees it.

Source: SageMaker Debugger's LossNotDecreasing asks the same question of a fixed number of steps; the
noise and the budget are what this one asks besides. Counts from public logs are in docs/alerts.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from heldout.derive.held_out import HeldOut, held_out
from heldout.derive.history import History
from heldout.derive.rewards import SPREAD, SURE, policy_reward, prefers
from heldout.derive.schedule import budget, rate_name, warmup_end
from heldout.records import EvalResult, Sample
from heldout.stats.rates import RateTrail
from heldout.stats.rise import Rise
from heldout.stats.robust import LossTrail
from heldout.verdicts.rule import Finding, NotChecked, Rule, Stage

HEAD = 10
"""One row in so many is the beginning."""
LOOSER = 2.0
"""Times the fall that is none: beyond it the alert resolves."""
CLEAR = 0.1
"""A fall of the training loss by this share is learning, whatever the evaluations say."""
EARLY = 0.2
"""Share of the budget by which the first evaluation must have been made."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    share: float = 0.1
    """Share of the budget after warm-up before which nothing is expected."""
    still: float = 0.002
    """Evaluations of a fixed set within this share of each other show no learning: they are paired, and
    healthy or flat public logs moved by 4.5 % and more over their first four (docs/alerts.md)."""
    evals: int = 4
    """Evaluations needed."""
    fall: float = 0.03
    """A fall of the training loss by less than this share is none; no healthy or flat public log is warned
    with it (docs/alerts.md)."""
    rows: int = 60
    """Training losses or rewards needed: fewer cannot show so small a fall to be absent."""
    gain: float = 0.1
    """A rise of a policy's reward by less than this share of the spread within a group is none."""
    signs: int = 10
    """Margins or accuracies needed to say that pairs are told apart."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find a loss that has not fallen."""
    trail = history.fold(history.loss, LossTrail)
    if trail.n >= limits.rows and _fall(trail) > CLEAR:
        return []
    reward = policy_reward(history)
    if trail.near_zero and not reward:
        return NotChecked("a loss next to zero does not show learning")
    planned = budget(history)
    total = planned or history.step  # evaluations that never moved need no plan
    curve = held_out(history)
    by_evaluations = len(curve) >= limits.evals and curve.steps[0] <= EARLY * total and not reward
    if not planned and not by_evaluations:
        return NotChecked("the number of steps planned is not known")
    known = history.fold(reward, Rise).n if reward else trail.n
    if not by_evaluations and known < limits.rows:
        what = f"{limits.rows} rewards" if reward else f"{limits.rows} training losses"
        return NotChecked(f"needs {limits.evals} evaluations or {what}")
    if history.step < warmup_end(history) + limits.share * total:
        return []
    rates = history.fold(rate_name(history), RateTrail)
    if rates.zeros and not rates.peak > 0:
        return []  # it never was above 0, which lr-schedule tells
    if reward:
        return _unrewarded(history, reward, limits)
    if prefers(history, limits.signs):
        return []
    return _still(curve, limits) if by_evaluations else _flat(trail, limits)


def _fall(trail: LossTrail) -> float:
    """How far the mean log loss of the later half lies below that of the beginning."""
    n = trail.n
    return trail.mean(0, _head(n)) - trail.mean(n // 2, n)


def _head(rows: int) -> int:
    return max(5, rows // HEAD)


def _still(curve: HeldOut, limits: Limits) -> list[Finding]:
    steps, losses = curve.steps, curve.losses
    moved = (max(losses) - min(losses)) / abs(losses[0]) if losses[0] else math.nan
    if moved > limits.still:
        return []
    text = (
        f"Nothing is learned: the held-out loss is {losses[-1]:.4g} and moved by {moved:.2%} over "
        f"{len(losses)} evaluations (steps {steps[0]} to {steps[-1]})"
    )
    evidence = {"first": losses[0], "last": losses[-1], "moved": moved, "evaluations": len(losses)}
    return [_finding(text, evidence)]


def _flat(trail: LossTrail, limits: Limits) -> list[Finding]:
    fall = _fall(trail)
    error = trail.noise * math.sqrt(1 / _head(trail.n) + 2 / trail.n)
    if fall > LOOSER * limits.fall:
        return []
    text = (
        f"Nothing is learned: the training loss has fallen by {fall:.1%} +- {error:.1%} since the "
        f"beginning, over {trail.n} rows"
    )
    evidence = {"fall": fall, "error": error, "rows": trail.n, "level": trail.level}
    return [_finding(text, evidence, "open" if fall + 3 * error <= limits.fall else "holding")]


def _unrewarded(history: History, name: str, limits: Limits) -> list[Finding] | NotChecked:
    """A policy's reward that surely does not rise, told by the spread of rewards within a group."""
    reward, spread = history.fold(name, Rise), history.fold(SPREAD, Rise)
    scale = spread.mean(0, spread.n)
    if not scale > 0:
        return NotChecked("the rewards have no spread that a rise could be told by")
    if not reward.rise <= LOOSER * limits.gain * scale:
        return []
    text = (
        f"Nothing is learned: the reward has changed by {reward.rise:+.3g} +- {reward.error:.2g} since the "
        f"beginning, over {reward.n} rows, with a spread of {scale:.3g} within a group"
    )
    evidence = {"rise": reward.rise, "error": reward.error, "rows": reward.n, "spread": scale}
    sure = reward.rise + SURE * reward.error <= limits.gain * scale
    return [_finding(text, evidence, "open" if sure else "holding")]


def _finding(text: str, evidence: dict[str, float], stage: Stage = "open") -> Finding:
    action = (
        "Check that adapters are trained and labels not masked; else raise the learning rate 10x."
    )
    return Finding(level="warning", message=text, action=action, evidence=evidence, stage=stage)


RULE = Rule(
    name="not-learning",
    check=check,
    limits=Limits(),
    on=(Sample, EvalResult),
    silenced_by=("loss-not-finite", "divergence"),
)
