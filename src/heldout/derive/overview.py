"""A run in one line of a table: what a fold keeps of it is small however long the run is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from heldout.derive.columns import by_name
from heldout.derive.history import History
from heldout.derive.interruption import standing
from heldout.records import (
    AnyRecord,
    EvalResult,
    Item,
    Layers,
    Metric,
    Run,
    Sample,
    Samples,
    Verdict,
)

STREAMING = "loss/streaming"
LOSS = "loss/step"
SPEED = "throughput/tokens_per_second"
ACTIVE = ("open", "escalated")
MOST_POINTS = 120
"""Points a trace may hold; it is thinned to half of them when it is full."""
GROUP = 4
"""Points that become two when a trace is thinned: the lowest and the highest."""


class Trace:
    """A series thinned while it grows, in bounded memory: extremes and what is not finite stay."""

    def __init__(self) -> None:
        self.points: list[tuple[int, float]] = []

    def add(self, step: int, value: float) -> None:
        """Add the value at `step`, which lies after every step present."""
        self.points.append((step, value))
        if len(self.points) > MOST_POINTS:
            self.points = _thinned(self.points)

    def cut(self, step: int) -> None:
        """Forget everything at or after `step`."""
        self.points = [point for point in self.points if point[0] < step]


class Overview:
    """The fold of a journal that a list of runs shows; it holds no example and no whole series."""

    def __init__(self) -> None:
        self.history = History()
        self.trace = Trace()
        self.attempts = 0
        """How many processes wrote the journal: more than one is a resumed run."""
        self.started = 0.0

    def add(self, record: AnyRecord | Samples) -> None:
        """Fold in one record, or many samples at once; they come in journal order."""
        history = self.history
        match record:
            case Item() | Layers() | Metric():
                return
            case Run():
                self.attempts = self.attempts + 1 if record.step else 1
                self.started = self.started if record.step and self.started else record.time
                self.trace.cut(record.step + 1 if record.step else 0)
            case Sample():
                self._sample(record)
                return
            case Samples():
                self._samples(record)
                return
            case EvalResult():
                history.evals = [kept for kept in history.evals if kept.step < record.step]
            case _:
                pass
        history.add(record)

    def summary(self) -> dict[str, Any]:
        """Return the line: `em` and its interval are None before the first evaluation."""
        history = self.history
        run, decision = history.run, standing(history)
        last = history.evals[-1] if history.evals else None
        best = decision.checkpoint if decision else None
        return {
            "model": run.model if run else "",
            "source": run.source if run else "",
            "state": history.state,
            "step": history.step,
            "total_steps": run.total_steps if run else 0,
            "attempts": self.attempts,
            "started": self.started,
            "time": history.time,
            "em": last.em if last else None,
            "em_low": last.em_low if last else None,
            "em_high": last.em_high if last else None,
            "n": last.n if last else None,
            "em_step": last.step if last else None,
            "has_set": bool(run and run.eval_set),
            "best_checkpoint": best,
            "best_em": self._em_of(best),
            "action": decision.action if decision else None,
            "alerts": _levels(history.alerts.values()),
            "tokens_per_second": history.latest.get(SPEED),
            "streaming_ce": self._streaming(),
            "spark": self._spark(),
        }

    def _sample(self, record: Sample) -> None:
        if record.step < self.history.step:
            self.trace.cut(record.step)
        value = record.values.get(STREAMING)
        if value is not None and not math.isfinite(record.values.get(LOSS, 0.0)):
            value = math.nan  # the mean leaves such a step out
        if value is not None:
            self.trace.cut(record.step) if record.step == self.history.step else None
            self.trace.add(record.step, value)
        known = self.history.latest if record.step == self.history.step else {}
        self.history.add(msgspec.structs.replace(record, values={}))
        self.history.latest = {**known, **record.values}

    def _samples(self, record: Samples) -> None:
        first, last = record.steps[0], record.steps[-1]
        if first < self.history.step:
            self.trace.cut(first)
        known = self.history.latest if first == last == self.history.step else {}
        columns = by_name(record.tables)
        if STREAMING in columns:
            steps, values = columns[STREAMING]
            self.trace.cut(steps[0])
            lost = _not_finite(*columns.get(LOSS, ((), ())))
            for step, value in zip(steps, values, strict=True):
                self.trace.add(step, math.nan if step in lost else value)
        latest = {
            name: values[-1] for name, (steps, values) in columns.items() if steps[-1] == last
        }
        self.history.add(replace(record, tables=()))
        self.history.latest = {**known, **latest}

    def _streaming(self) -> float | None:
        """The smoothed loss; NaN while the loss itself is not finite, which the mean leaves out."""
        latest = self.history.latest
        return latest.get(STREAMING) if math.isfinite(latest.get(LOSS, 0.0)) else math.nan

    def _em_of(self, checkpoint: str | None) -> float | None:
        """The score of a checkpoint, where it was saved at the step of an evaluation."""
        at = next((c.step for c in self.history.checkpoints if c.path == checkpoint), None)
        return next((result.em for result in self.history.evals if result.step == at), None)

    def _spark(self) -> dict[str, Any]:
        """Streaming cross-entropy, or exact match where there is none."""
        points, what = self.trace.points, "streaming CE"
        if not points:
            points, what = [(result.step, result.em) for result in self.history.evals], "EM"
        values = [float(f"{value:.4g}") for _, value in points]
        return {"what": what, "steps": [step for step, _ in points], "values": values}


def _not_finite(steps: Sequence[int], values: Sequence[float]) -> set[int]:
    """The steps whose value is NaN or infinite."""
    return {step for step, x in zip(steps, values, strict=True) if not math.isfinite(x)}


def _levels(alerts: Any) -> dict[str, int]:
    """Open alerts by level."""
    found: list[Verdict] = [verdict for verdict in alerts if verdict.state in ACTIVE]
    return dict(Counter(verdict.level for verdict in found))


def _thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    kept: list[tuple[int, float]] = []
    for start in range(0, len(points) - 1, GROUP):
        group = points[start : min(start + GROUP, len(points) - 1)]
        strange = [point for point in group if not abs(point[1]) < float("inf")]
        known = [point for point in group if point not in strange]
        chosen = {min(known, key=_value), max(known, key=_value)} if known else set()
        kept += sorted(chosen | set(strange[:1]), key=lambda point: point[0])
    return [*kept, points[-1]]


def _value(point: tuple[int, float]) -> float:
    return point[1]
