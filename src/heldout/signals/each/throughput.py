"""Real tokens per second: counted, never estimated from a batch size."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from heldout.records import Direction, Metric
from heldout.signals.moment import Batch, Moment, Signal, Values

WINDOW = 20


def _metric(name: str, title: str, unit: str, text: str) -> Metric:
    direction: Direction = "higher" if name.endswith("per_second") else "none"
    return Metric(
        name=name,
        title=title,
        unit=unit,
        direction=direction,
        help=text,
        source="attention mask and labels of each micro-batch",
    )


class Throughput(Signal):
    """Tokens that are no padding, and the time of the steps that processed them.

    Time runs from the end of one step to the end of the next, data loading included, evaluation
    and saving left out. Counts are this process's own, also where there are several.
    """

    metrics = (
        _metric(
            "throughput/tokens_per_second",
            "Tokens per second",
            "tokens/s",
            f"Non-padding tokens per second over the last {WINDOW} steps.",
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
            "Non-padding tokens this process worked through since the run began.",
        ),
        _metric(
            "throughput/label_tokens",
            "Label tokens",
            "tokens",
            "Tokens in this optimizer step that the loss is computed on.",
        ),
        _metric(
            "time/step",
            "Step time",
            "s",
            "Seconds since the last step ended, without evaluation and saving.",
        ),
    )

    def __init__(self) -> None:
        self._tokens: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._window: deque[tuple[float, float]] = deque(maxlen=WINDOW)
        self._total = 0.0

    def forward(self, batch: Batch) -> None:
        """Count on the device."""
        if batch.attention_mask_BT is not None and batch.attention_mask_BT.dim() == 2:
            self._tokens.append((batch.attention_mask_BT != 0).sum())
        elif batch.input_ids_BT is not None:
            ids_BT = batch.input_ids_BT
            self._tokens.append(torch.full((), ids_BT.numel(), device=ids_BT.device))
        labels = batch.label_tokens()
        if labels is not None:
            self._labels.append(labels)

    def collect(self) -> Sequence[Tensor]:
        """Non-padding tokens and, where there are labels, label tokens of this step."""
        kept = [torch.stack(part).sum() for part in (self._tokens, self._labels) if part]
        self._tokens, self._labels = [], []
        return kept

    def step(self, moment: Moment, numbers: Sequence[float]) -> Values:
        """Record this step's counts and the rate over the window."""
        if not numbers:
            return {}
        tokens, *labels = numbers
        self._total += tokens
        self._window.append((tokens, moment.seconds))
        seconds = sum(each for _, each in self._window)
        values = {
            "throughput/tokens_per_step": tokens,
            "throughput/total_tokens": self._total,
            "time/step": moment.seconds,
        }
        if labels:
            values["throughput/label_tokens"] = labels[0]
        if seconds > 0:
            values["throughput/tokens_per_second"] = sum(n for n, _ in self._window) / seconds
        return values

    def state(self) -> dict[str, float]:
        """The running total."""
        return {"total": self._total}

    def restore(self, state: Mapping[str, float]) -> None:
        """Continue the running total."""
        self._total = state["total"]


SIGNAL = Throughput
