"""The Trainer's own held-out numbers, judged, for runs that have no fixed set."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from heldout.derive.deciding import NAME, Deciding, deciding, deciding_each, sets
from heldout.derive.history import History
from heldout.stats.curve import Curve, judge_curve

LOSS = Deciding(NAME, lower=True)


@dataclass(frozen=True, slots=True)
class EvalCurve:
    """The finite values of one held-out number and what they say."""

    name: str
    steps: list[int]
    losses: list[float]
    """Lower is better: the sign of a number that is better higher is turned."""
    found: Curve
    chosen: Deciding

    @property
    def title(self) -> str:
        """What to call it in a sentence."""
        if self.name == NAME:
            return "eval loss"
        scope, metric = self.chosen.scope, self.name.removeprefix("eval/")
        if scope:
            return f"eval {metric.removeprefix(f'{scope}_')} on {scope}".replace("/", " ")
        return self.name.replace("/", " ")

    @property
    def best_step(self) -> int:
        """The step of the lowest loss."""
        return self.steps[self.found.best]

    @property
    def best(self) -> float:
        """The best value, in its own unit and direction."""
        return self._sign * self.losses[self.found.best]

    @property
    def last(self) -> float:
        """The latest value, in its own unit and direction."""
        return self._sign * self.losses[-1]

    @property
    def _sign(self) -> int:
        return 1 if self.chosen.lower else -1


def eval_curve(history: History, chosen: Deciding = LOSS) -> EvalCurve | None:
    """Judge one held-out number that the Trainer logged; None before the first finite one."""
    series = history.columns.get(chosen.name)
    if not len(series):
        return None
    seen = (len(series), repr(series.last))  # asked at every step, and rarely another
    key = f"curve of {chosen.name} {chosen.scope} {chosen.why}"
    return history.remember(key, lambda: _judged(history, chosen), seen)


def deciding_curve(history: History) -> EvalCurve | None:
    """The number that decides, as `heldout.derive.deciding` says; None without any."""
    chosen = deciding(history)
    return eval_curve(history, chosen) if chosen else None


def curves(history: History) -> list[EvalCurve]:
    """The curve that decides for each evaluation set, that of the whole run first."""
    found = (eval_curve(history, chosen) for chosen in deciding_each(history))
    return [curve for curve in found if curve]


def loss_curves(history: History) -> list[EvalCurve]:
    """The held-out loss on each evaluation set; `chosen.scope` is the set's name where there are several."""
    losses = (Deciding(name, True, scope) for scope, name in sets(history).items())
    found = (eval_curve(history, chosen) for chosen in losses)
    return [curve for curve in found if curve]


def _judged(history: History, chosen: Deciding) -> EvalCurve | None:
    series = history.columns.get(chosen.name)
    known = [
        (int(s), v) for s, v in zip(series.steps, series.values, strict=True) if math.isfinite(v)
    ]
    if not known:
        return None
    sign = 1 if chosen.lower else -1
    steps, losses = [step for step, _ in known], [sign * float(loss) for _, loss in known]
    total = history.run.total_steps if history.run else 0
    found = judge_curve(
        np.array(steps, dtype=np.float64),
        np.array(losses),
        max(total, history.step) if total else 0.0,
        falling_rate=not constant_rate(history),
    )
    return EvalCurve(chosen.name, steps, losses, found, chosen) if found else None


def tied_steps(history: History, curve: EvalCurve) -> list[str]:
    """The saved checkpoint that was scored best, then those tied with it, by folder name.

    The best comes first, and not the earliest: one number an evaluation cannot show that an earlier one
    is as good.
    """
    names = {saved.step: saved.path for saved in history.checkpoints}
    pairs = zip(curve.losses, curve.steps, strict=True)
    scored = sorted((loss, step) for loss, step in pairs if step in names)
    kept = [step for _, step in scored[:1]]
    tied = [curve.steps[i] for i in curve.found.tied if curve.steps[i] in names]
    if kept and kept[0] in tied:
        kept += [step for step in tied if step != kept[0]]
    return [names[step] for step in kept]


def constant_rate(history: History) -> bool:
    """Whether the learning rate stays as it is after warm-up, by its schedule's name."""
    return history.run is not None and history.run.learning_rate.startswith("constant")
