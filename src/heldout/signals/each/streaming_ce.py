"""The training loss where it is born, and its smoothed, bias-corrected mean.

The Trainer's log replaces a NaN by an average or by 0.0; this reads what the model returned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from heldout.records import Metric
from heldout.signals.moment import Batch, Moment, Number, Signal, Start, Sums, Values, read

NO_LOSS = (
    "the model returns no loss, since the Trainer computes it outside (label smoothing, a loss "
    "function of its own)"
)


class StreamingCE(Signal):
    """Cross-entropy per label token of each optimizer step, and its EMA weighted by tokens.

    The step's loss is the sum over all label tokens of its micro-batches divided by their number,
    so gradient accumulation changes nothing. A step that is not finite is recorded as it is and
    left out of the mean; one without a label token has no loss, whatever the model returned (the
    mean of nothing is NaN), and nothing is recorded. With an auxiliary loss it is that sum, not pure
    CE; where the Trainer computes the loss outside the model (label smoothing, a loss function of its
    own) there is none. A classification model's loss is weighted by its labels, which are no tokens.
    """

    metrics = (
        Metric(
            name="loss/step",
            title="Training loss",
            unit="nats",
            direction="lower",
            help="Mean loss per label token of this optimizer step, as the model computed it.",
            source="forward hook on the model, before the Trainer's NaN filter",
            cost="two numbers a micro-batch: 0.04 ms a step of a tiny model on one core",
        ),
        Metric(
            name="loss/streaming",
            title="Streaming CE",
            unit="nats",
            direction="lower",
            help="Exponential mean of the training loss over about `signals.window` steps, weighted "
            "by label tokens and corrected for its start.",
            source="EMA with alpha = 2 / (window + 1)",
            cost="two additions",
        ),
        Metric(
            name="loss/non_finite",
            title="Non-finite steps",
            unit="steps",
            direction="lower",
            help="Steps so far whose loss was NaN or infinite.",
            source="count of loss/step",
            cost="one comparison",
        ),
    )

    width = 2

    def __init__(self) -> None:
        self._sums = Sums(self.width)
        self._alpha = 1.0
        self._loss_mass = 0.0
        self._token_mass = 0.0
        self._non_finite = 0
        self._seen = self._together = False
        self._why = NO_LOSS

    def begin(self, start: Start) -> None:
        """Take the window from the options."""
        self._alpha = 2 / (start.options.window + 1)
        self._together = start.ranks > 1

    def forward(self, batch: Batch) -> None:
        """Keep the micro-batch's summed loss and label count on the device."""
        loss, count = batch.output("loss"), batch.labels
        if loss is None or count is None:
            self._why = NO_LOSS if loss is None else batch.without_labels
            return
        # a loss over classes is a mean over its own micro-batch, whatever the Trainer passes on
        items = batch.items if batch.is_label_BT is not None else None
        loss, divided_by = read(loss), count if items is None else read(items)
        if isinstance(loss, Tensor):
            loss = loss.detach().float()
        total = loss * divided_by
        if not isinstance(count, Tensor):
            total = total if count else 0.0
        elif items is None or self._together:
            # where a micro-batch without labels gives NaN though others of the same step have some
            total = total.masked_fill(count == 0, 0.0)
        self._sums.add(total, count)

    def collect(self) -> Sequence[Number]:
        """The step's summed loss and its number of label tokens."""
        return self._sums.take()

    def step(self, moment: Moment, numbers: Sequence[float]) -> Values:
        """Record this step's loss and the mean including it."""
        if not numbers:
            return {}
        self._seen = True
        loss_sum, tokens = numbers
        if not tokens:
            return {}
        loss = loss_sum / tokens
        if math.isfinite(loss):
            self._loss_mass += self._alpha * (loss_sum - self._loss_mass)
            self._token_mass += self._alpha * (tokens - self._token_mass)
        else:
            self._non_finite += 1
        values = {"loss/step": loss, "loss/non_finite": float(self._non_finite)}
        if self._token_mass:
            values["loss/streaming"] = self._loss_mass / self._token_mass
        return values

    def missing(self) -> str:
        """The Trainer pops the labels where it computes the loss itself."""
        return "" if self._seen else f"no streaming CE: {self._why}"

    def state(self) -> dict[str, float]:
        """The two decayed sums and the count of bad steps."""
        return {
            "loss_mass": self._loss_mass,
            "token_mass": self._token_mass,
            "non_finite": self._non_finite,
        }

    def restore(self, state: Mapping[str, float]) -> None:
        """Continue the same mean; it starts anew from one that is not finite, which would stay so."""
        masses = state["loss_mass"], state["token_mass"]
        if all(map(math.isfinite, masses)):
            self._loss_mass, self._token_mass = masses
        self._non_finite = int(state["non_finite"])


SIGNAL = StreamingCE
