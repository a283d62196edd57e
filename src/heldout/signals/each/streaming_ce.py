"""The training loss where it is born, and its smoothed, bias-corrected mean.

The Trainer's log replaces a NaN by an average or by 0.0; this reads what the model returned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from heldout.records import Metric
from heldout.signals.moment import Batch, Moment, Signal, Values

WINDOW = 300
ALPHA = 2 / (WINDOW + 1)


class StreamingCE(Signal):
    """Cross-entropy per label token of each optimizer step, and its EMA weighted by tokens.

    The step's loss is the sum over all label tokens of its micro-batches divided by their number,
    so gradient accumulation changes nothing. A step that is not finite is recorded as it is and
    left out of the mean. With an auxiliary loss it is that sum, not pure CE; where the Trainer computes
    the loss outside the model (label smoothing, a loss function of its own) there is none.
    """

    metrics = (
        Metric(
            name="loss/step",
            title="Training loss",
            unit="nats",
            direction="lower",
            help="Mean loss per label token of this optimizer step, as the model computed it.",
            source="forward hook on the model, before the Trainer's NaN filter",
        ),
        Metric(
            name="loss/streaming",
            title="Streaming CE",
            unit="nats",
            direction="lower",
            help=f"Exponential mean of the training loss over about {WINDOW} steps, "
            "weighted by label tokens and corrected for its start.",
            source=f"EMA with alpha = 2 / ({WINDOW} + 1)",
        ),
        Metric(
            name="loss/non_finite",
            title="Non-finite steps",
            unit="steps",
            direction="lower",
            help="Steps so far whose loss was NaN or infinite.",
            source="count of loss/step",
        ),
    )

    def __init__(self) -> None:
        self._sums: list[Tensor] = []
        self._counts: list[Tensor] = []
        self._loss_mass = 0.0
        self._token_mass = 0.0
        self._non_finite = 0

    def forward(self, batch: Batch) -> None:
        """Keep the micro-batch's summed loss and label count on the device."""
        loss, count = getattr(batch.outputs, "loss", None), batch.label_tokens()
        if loss is None or count is None:
            return
        divided_by = count if batch.items is None else batch.items
        self._sums.append(loss.detach().float() * divided_by)
        self._counts.append(count)

    def collect(self) -> Sequence[Tensor]:
        """The step's summed loss and its number of label tokens."""
        if not self._sums:
            return ()
        both = torch.stack(self._sums).sum(), torch.stack(self._counts).sum()
        self._sums, self._counts = [], []
        return both

    def step(self, moment: Moment, numbers: Sequence[float]) -> Values:
        """Record this step's loss and the mean including it."""
        if not numbers:
            return {}
        loss_sum, tokens = numbers
        loss = loss_sum / tokens if tokens else 0.0
        if math.isfinite(loss):
            self._loss_mass = (1 - ALPHA) * self._loss_mass + ALPHA * loss_sum
            self._token_mass = (1 - ALPHA) * self._token_mass + ALPHA * tokens
        else:
            self._non_finite += 1
        values = {"loss/step": loss, "loss/non_finite": float(self._non_finite)}
        if self._token_mass:
            values["loss/streaming"] = self._loss_mass / self._token_mass
        return values

    def state(self) -> dict[str, float]:
        """The two decayed sums and the count of bad steps."""
        return {
            "loss_mass": self._loss_mass,
            "token_mass": self._token_mass,
            "non_finite": self._non_finite,
        }

    def restore(self, state: Mapping[str, float]) -> None:
        """Continue the same mean."""
        self._loss_mass = state["loss_mass"]
        self._token_mass = state["token_mass"]
        self._non_finite = int(state["non_finite"])


SIGNAL = StreamingCE
