"""Real tokens per second: counted, never estimated from a batch size."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor

from heldout.records import Direction, Metric
from heldout.signals.moment import Batch, Moment, Number, Signal, Sums, Values

WINDOW = 20
NO_TOKENS = "no tokens counted: the model got neither ids nor a two-dimensional mask"
COUNT = "one count of each micro-batch: 0.03 ms a step of a tiny model on one core"


def _metric(name: str, title: str, unit: str, text: str) -> Metric:
    direction: Direction = "higher" if name.endswith("per_second") else "none"
    return Metric(
        name=name,
        title=title,
        unit=unit,
        direction=direction,
        help=text,
        source="attention mask and labels of each micro-batch, summed over all processes",
        cost=COUNT,
    )


class Throughput(Signal):
    """Tokens that are no padding, and the time of the steps that processed them.

    Time runs from the end of one step to the end of the next, data loading included; evaluation,
    saving and the monitor's own work are left out. Without a mask every token is real, as in
    padding-free batches; a mask of more than two dimensions does not say which ones are padding, so
    all count and there is no share of padding. Without labels there are no label numbers.
    """

    metrics = (
        _metric(
            "throughput/tokens_per_second",
            "Tokens per second",
            "tokens/s",
            f"Non-padding tokens per second over the last {WINDOW} steps.",
        ),
        _metric(
            "throughput/label_tokens_per_second",
            "Label tokens per second",
            "tokens/s",
            f"Tokens that the loss is computed on, per second over the last {WINDOW} steps.",
        ),
        _metric(
            "throughput/mean_tokens_per_second",
            "Mean tokens per second",
            "tokens/s",
            "Non-padding tokens per second since the run began, evaluation and saving left out.",
        ),
        _metric(
            "throughput/tokens_per_step",
            "Tokens per step",
            "tokens",
            "Non-padding tokens in this optimizer step.",
        ),
        _metric(
            "throughput/total_tokens",
            "Total tokens",
            "tokens",
            "Non-padding tokens worked through since the run began.",
        ),
        _metric(
            "throughput/label_tokens",
            "Label tokens",
            "tokens",
            "Tokens in this optimizer step that the loss is computed on.",
        ),
        Metric(
            name="throughput/padding",
            title="Padding",
            unit="",
            direction="lower",
            help="Share of this optimizer step's positions that are padding, from 0 to 1.",
            source="attention mask of each micro-batch, summed over all processes",
            cost=COUNT,
        ),
        Metric(
            name="time/step",
            title="Step time",
            unit="s",
            direction="lower",
            help="Seconds since the last step ended, without evaluation and saving.",
            source="a stopwatch on the host",
            cost="a reading of the clock",
        ),
    )
    width: ClassVar[int] = 4

    def __init__(self) -> None:
        self._sums = Sums(3)
        self._positions = 0.0
        self._total = self._labels = self._seconds = 0.0
        self._marks = deque([self._mark()], maxlen=WINDOW + 1)

    def forward(self, batch: Batch) -> None:
        """Count on the device; what the host knows already, on the host."""
        lengths_B, mask, ids = batch.lengths_B, batch.attention_mask_BT, batch.input_ids_BT
        if lengths_B is not None and mask is not None:
            tokens: Number = lengths_B.sum() if isinstance(lengths_B, Tensor) else sum(lengths_B)
            self._positions += mask.numel()
        elif ids is not None:
            tokens = float(ids.numel())
            self._positions += ids.numel() if mask is None else math.nan
        else:
            return
        labels = batch.label_tokens
        if labels is None:
            self._sums.add(tokens, 0.0, 0.0)
        else:
            self._sums.add(tokens, labels, 1.0)

    def collect(self) -> Sequence[Number]:
        """This step's tokens, label tokens, micro-batches with labels, and positions.

        The positions are NaN where padding could not be told.
        """
        sums = self._sums.take()
        if not sums:
            return ()
        positions, self._positions = self._positions, 0.0
        return *sums, positions

    def step(self, moment: Moment, numbers: Sequence[float]) -> Values:
        """Record this step's counts and the rates over the window and over the run."""
        values = {"time/step": moment.seconds}
        if not numbers:
            return values
        tokens, labels, labelled, positions = numbers
        self._total += tokens
        self._labels += labels
        self._seconds += moment.seconds
        self._marks.append(self._mark())
        values["throughput/tokens_per_step"] = tokens
        values["throughput/total_tokens"] = self._total
        if positions > 0:
            values["throughput/padding"] = 1 - tokens / positions
        if labelled:
            values["throughput/label_tokens"] = labels
        values.update(self._rates(bool(labelled)))
        return values

    def missing(self) -> str:
        """A model that is given embeddings and no mask shows no tokens."""
        return "" if len(self._marks) > 1 else NO_TOKENS

    def state(self) -> dict[str, float]:
        """The run's tokens and the seconds they took."""
        return {"total": self._total, "seconds": self._seconds}

    def restore(self, state: Mapping[str, float]) -> None:
        """Continue both."""
        self._total = state["total"]
        self._seconds = state["seconds"]
        self._marks = deque([self._mark()], maxlen=WINDOW + 1)

    def _mark(self) -> tuple[float, float, float]:
        return self._total, self._labels, self._seconds

    def _rates(self, labelled: bool) -> dict[str, float]:
        total, labels, seconds = self._marks[0]
        window = self._seconds - seconds
        if window <= 0:
            return {}
        rates = {
            "throughput/tokens_per_second": (self._total - total) / window,
            "throughput/mean_tokens_per_second": self._total / self._seconds,
        }
        if labelled:
            rates["throughput/label_tokens_per_second"] = (self._labels - labels) / window
        return rates


SIGNAL = Throughput
