"""Where the time goes: what a step waits for, what it computes, and what comes between steps."""

from __future__ import annotations

from collections.abc import Sequence

from heldout.records import Metric
from heldout.signals.moment import Moment, Signal, Values

BETWEEN_STEPS = ("evaluation", "saving")
"""Phases recorded only where they happened."""


def _metric(phase: str, title: str, text: str) -> Metric:
    return Metric(
        name=f"time/{phase}",
        title=title,
        unit="s",
        direction="lower",
        help=text,
        source="a stopwatch on the host",
        cost="a reading of the clock at each change of phase",
    )


class TimeSplit(Signal):
    """Seconds by phase since the last step's end.

    Data, forward and backward, optimizer and the rest add up to `time/step`. What came after the
    last step's end, an evaluation say, stands with the step that follows.
    """

    metrics = (
        _metric("data", "Waiting for data", "Seconds this step waited for its batches."),
        _metric(
            "forward_backward",
            "Forward and backward",
            "Seconds of this step's forward and backward passes.",
        ),
        _metric("optimizer", "Optimizer", "Seconds of clipping and of the optimizer's own step."),
        _metric("other", "Rest of the step", "Seconds of this step in none of the other phases."),
        _metric(
            "evaluation",
            "Evaluation",
            "Seconds of evaluation since the last step's end; absent where there was none.",
        ),
        _metric(
            "saving",
            "Saving",
            "Seconds of saving checkpoints since the last step's end; absent where none was.",
        ),
        _metric("monitor", "heldout itself", "Seconds of heldout's own work, evaluation aside."),
    )

    def __init__(self) -> None:
        self._names = {metric.name.removeprefix("time/"): metric.name for metric in self.metrics}

    def step(self, moment: Moment, numbers: Sequence[float]) -> Values:
        """Record the phases that the stopwatch saw."""
        laps, names = moment.laps, self._names
        return {
            names[phase]: seconds
            for phase, seconds in laps.items()
            if phase in names and (seconds > 0 or phase not in BETWEEN_STEPS)
        }


SIGNAL = TimeSplit
