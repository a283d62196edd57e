"""The learning rate each step was made with."""

from __future__ import annotations

from collections.abc import Sequence

from heldout.records import Metric
from heldout.signals.moment import Moment, Signal, Values


class LearningRate(Signal):
    """Read from the optimizer at every step, since the Trainer may log as rarely as every 500."""

    metrics = (
        Metric(
            name="learning_rate",
            title="Learning rate",
            unit="",
            direction="none",
            help="The learning rate this step was made with, of the first parameter group.",
            source="the optimizer, just before its step",
            cost="none: a number that the optimizer has",
        ),
    )

    def step(self, moment: Moment, numbers: Sequence[float]) -> Values:
        """Record it where it is known."""
        return {} if moment.learning_rate is None else {"learning_rate": moment.learning_rate}


SIGNAL = LearningRate
