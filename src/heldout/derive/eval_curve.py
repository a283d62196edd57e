"""The Trainer's own held-out numbers, for runs that have no fixed set.

A task's own metric decides where one is logged: a model may go on to get better at its task while
the held-out loss rises (docs/alerts.md has such a log).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from heldout.derive.history import History
from heldout.stats.curve import Curve, judge_curve

NAME = "loss/trainer_eval"
TASK = (
    "exact_match",
    "em",
    "accuracy",
    "f1",
    "mcc",
    "matthews_correlation",
    "bleu",
    "rougeL",
    "rouge1",
)
"""Metrics of a task, higher is better; the first that a run has decides."""
DECIDING = frozenset([NAME, *(f"eval/{metric}" for metric in TASK)])
"""The series that can decide."""
LEAST = 3
"""Values from which on a task's metric decides."""


@dataclass(frozen=True, slots=True)
class EvalCurve:
    """The finite values of one held-out number and what they say."""

    name: str
    steps: list[int]
    losses: list[float]
    """Lower is better: a task's metric has its sign turned."""
    found: Curve

    @property
    def title(self) -> str:
        """What to call it in a sentence."""
        return "eval loss" if self.name == NAME else self.name.replace("/", " ")

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
        return 1 if self.name == NAME else -1


def eval_curve(history: History, name: str = NAME) -> EvalCurve | None:
    """Judge the held-out losses that the Trainer logged; None before the first finite one."""
    series = history.columns.get(name)
    if not len(series):
        return None
    seen = (len(series), repr(series.last))  # asked at every step, and rarely another
    return history.remember(f"curve of {name}", lambda: _judged(history, name), seen)


def deciding_curve(history: History) -> EvalCurve | None:
    """The task's metric where the Trainer logs one, else its held-out loss; None without either."""
    if history.columns.series.keys().isdisjoint(DECIDING):
        return None
    for metric in TASK:
        if len(history.columns.get(f"eval/{metric}")) >= LEAST:
            return eval_curve(history, f"eval/{metric}")
    return eval_curve(history)


def _judged(history: History, name: str) -> EvalCurve | None:
    series = history.columns.get(name)
    known = [
        (int(s), v) for s, v in zip(series.steps, series.values, strict=True) if math.isfinite(v)
    ]
    if not known:
        return None
    sign = 1 if name == NAME else -1
    steps, losses = [step for step, _ in known], [sign * float(loss) for _, loss in known]
    total = history.run.total_steps if history.run else 0
    found = judge_curve(
        np.array(steps, dtype=np.float64),
        np.array(losses),
        max(total, history.step),
        falling_rate=not constant_rate(history),
    )
    return EvalCurve(name, steps, losses, found) if found else None


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
