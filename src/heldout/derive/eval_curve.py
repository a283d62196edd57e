"""The Trainer's own held-out loss, for runs that have no fixed set."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from heldout.derive.history import History
from heldout.stats.curve import Curve, judge_curve

NAME = "loss/trainer_eval"


@dataclass(frozen=True, slots=True)
class EvalCurve:
    """The finite held-out losses of a run and what they say."""

    steps: list[int]
    losses: list[float]
    found: Curve

    @property
    def best_step(self) -> int:
        """The step of the lowest loss."""
        return self.steps[self.found.best]

    @property
    def best(self) -> float:
        """The lowest loss, nats."""
        return self.losses[self.found.best]

    @property
    def last(self) -> float:
        """The latest loss, nats."""
        return self.losses[-1]


def eval_curve(history: History) -> EvalCurve | None:
    """Judge the held-out losses that the Trainer logged; None before the first finite one."""
    series = history.columns.get(NAME)
    key = f"{NAME} {len(series)} {series.last}"  # asked at every step, and rarely another
    return history.remember(key, lambda: _judged(history)) if len(series) else None


def _judged(history: History) -> EvalCurve | None:
    series = history.columns.get(NAME)
    known = [
        (int(s), v) for s, v in zip(series.steps, series.values, strict=True) if math.isfinite(v)
    ]
    if not known:
        return None
    steps, losses = [step for step, _ in known], [float(loss) for _, loss in known]
    total = history.run.total_steps if history.run else 0
    found = judge_curve(
        np.array(steps, dtype=np.float64),
        np.array(losses),
        max(total, history.step),
        falling_rate=not constant_rate(history),
    )
    return EvalCurve(steps, losses, found) if found else None


def tied_steps(history: History, curve: EvalCurve) -> list[str]:
    """The saved checkpoints among the tied best evaluations, earliest first, by folder name.

    Without a saved one among them: the saved one that was scored best.
    """
    names = {saved.step: saved.path for saved in history.checkpoints}
    tied = [curve.steps[i] for i in curve.found.tied if curve.steps[i] in names]
    pairs = zip(curve.losses, curve.steps, strict=True)
    scored = [(loss, step) for loss, step in pairs if step in names]
    return [names[step] for step in tied] or [names[step] for _, step in sorted(scored)[:1]]


def constant_rate(history: History) -> bool:
    """Whether the learning rate stays as it is after warm-up, by its schedule's name."""
    return history.run is not None and history.run.learning_rate.startswith("constant")
