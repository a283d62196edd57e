"""When training will be done."""

from __future__ import annotations

from collections.abc import Sequence

from heldout.records import Metric
from heldout.signals.moment import Moment, Signal, Start, Values


class Progress(Signal):
    """Seconds left, if the rest of the run goes as this attempt has gone so far.

    The mean is over whole steps with the evaluations, checkpoints and monitoring between them. The
    first step warms up and compiles: it is all there is to go by until there is a second, and then
    counts no more.
    """

    metrics = (
        Metric(
            name="time/remaining",
            title="Time remaining",
            unit="s",
            direction="lower",
            help="Steps left times the mean seconds a step so far, evaluation and saving included.",
            source="the stopwatch and the number of steps planned; the first step left out",
            cost="one division",
        ),
    )

    def __init__(self) -> None:
        self._total = 0
        self._first: int | None = None
        self._seconds = 0.0

    def begin(self, start: Start) -> None:
        """Learn how many steps there will be."""
        self._total, self._first, self._seconds = start.total_steps, None, 0.0

    def step(self, moment: Moment, numbers: Sequence[float]) -> Values:
        """Record the seconds left; nothing where the number of steps is not known."""
        if self._total <= 0:
            return {}
        if self._first is None:
            self._first, a_step = moment.step, moment.seconds
        else:
            self._seconds += sum(moment.laps.values()) or moment.seconds
            a_step = self._seconds / (moment.step - self._first)
        return {"time/remaining": max(self._total - moment.step, 0) * a_step}

    def missing(self) -> str:
        """Some loops train until they are stopped."""
        return "" if self._total > 0 else "no time remaining: the number of steps is not known"


SIGNAL = Progress
