"""The training loss where it is born, and its smoothed, bias-corrected mean.

The Trainer's log replaces a NaN by an average or by 0.0; this reads what the model returned. Whether that
is the loss that is trained, the backward pass says: a gradient then reaches it, or every label token's
log-probability alike (TRL's SFTTrainer takes their mean itself).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from heldout.records import Metric
from heldout.signals.moment import Batch, Moment, Number, Signal, Start, Sums, Values, read

NO_LOSS = (
    "the model returns no loss, since the Trainer computes it outside (label smoothing, a loss "
    "function of its own)"
)
SAME = 1e-2
"""The relative difference of gradients that bfloat16 may make of equal ones."""
ASKED = 10
"""Steps from the first one on whose backward pass is asked."""
DIFFERS, WINDOWS = 0.1, 3
"""Share by which the logged loss differs from the model's own, over so many logged windows from the first
on, where the model's own is only a part of it."""
OUTSIDE = (
    "the loss that is trained is computed outside the model, as by DPO, KTO, GRPO and DFT: the one that "
    "the Trainer logs is judged, and ce/step shows the cross-entropy of the tokens that the model was "
    "given"
)


class StreamingCE(Signal):
    """Cross-entropy per label token of each optimizer step, and its EMA weighted by tokens.

    The step's loss is the sum over all label tokens of its micro-batches divided by their number,
    so gradient accumulation changes nothing. A step that is not finite is recorded as it is and
    left out of the mean; one without a label token has no loss, whatever the model returned (the
    mean of nothing is NaN), and nothing is recorded. With an auxiliary loss it is that sum, not pure
    CE. A classification model's loss is weighted by its labels, which are no tokens.

    A trainer may compute its loss outside the model. Where the model returns none then (label smoothing),
    nothing is recorded; where it returns one that is not trained (DPO's, over chosen and rejected answers
    alike; GRPO's, over the model's own samples), that is no training loss and is recorded as `ce/step`. So is
    one that is only a part of the loss: the Trainer's first logged losses are other numbers.
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
            name="ce/step",
            title="Cross-entropy beside the loss",
            unit="nats",
            direction="none",
            help="Mean cross-entropy per token that the model was given at this optimizer step, where "
            "another loss is trained: of chosen and rejected answers together, of its own samples.",
            source="forward hook on the model; the backward pass gives this loss no gradient",
            cost="two numbers a micro-batch",
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
            help="Steps so far whose loss, as the model computed it, was NaN or infinite.",
            source="count of loss/step or ce/step",
            cost="one comparison",
        ),
    )

    width = 3

    def __init__(self) -> None:
        self._sums = Sums(2)
        self._unreached: Number = 0.0
        self._outside = False
        self._steps = 0
        self._window, self._in_window = 0.0, 0
        """The sum and the number of the finite losses since the Trainer logged."""
        self._compared = self._different = 0
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
        if self._steps < ASKED:
            self._await_gradient(batch, loss)
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

    def _await_gradient(self, batch: Batch, loss: object) -> None:
        """Have the backward pass say whether the model's own loss is the one that is trained."""
        if not isinstance(loss, Tensor) or not loss.requires_grad:
            return
        self._unreached = self._unreached + 1.0

        def reach(gradient: Tensor) -> None:
            self._unreached = self._unreached - 1.0

        def reach_tokens(gradient_BT: Tensor) -> None:
            self._unreached = self._unreached - _is_mean(gradient_BT, mask_BT)

        loss.register_hook(reach)  # type: ignore[no-untyped-call]
        logps_BT = getattr(batch.outputs, "log_probs", None)
        mask_BT: Any = getattr(batch.outputs, "label_mask", None)
        if isinstance(logps_BT, Tensor) and logps_BT.requires_grad and mask_BT is not None:
            logps_BT.register_hook(reach_tokens)  # type: ignore[no-untyped-call]

    def collect(self) -> Sequence[Number]:
        """The step's summed loss, its label tokens, and the micro-batches whose loss was not trained."""
        unreached, self._unreached = self._unreached, 0.0
        self._steps += 1
        sums = self._sums.take()
        return (*sums, unreached) if sums else ()

    def step(self, moment: Moment, numbers: Sequence[float]) -> Values:
        """Record this step's loss and the mean including it."""
        if not numbers:
            return {}
        self._seen = True
        loss_sum, tokens, unreached = numbers
        if not tokens:
            return {}
        loss = loss_sum / tokens
        self._outside |= unreached > 0
        if self._outside:
            self._non_finite += not math.isfinite(loss)
            return {"ce/step": loss, "loss/non_finite": float(self._non_finite)}
        if math.isfinite(loss):
            self._window += loss
            self._in_window += 1
            self._loss_mass += self._alpha * (loss_sum - self._loss_mass)
            self._token_mass += self._alpha * (tokens - self._token_mass)
        else:
            self._non_finite += 1
        values = {"loss/step": loss, "loss/non_finite": float(self._non_finite)}
        if self._token_mass:
            values["loss/streaming"] = self._loss_mass / self._token_mass
        return values

    def log(self, logs: Mapping[str, float]) -> Values:
        """Compare the first losses that the Trainer logs with the model's own of the same steps.

        A whole multiple is a sum over micro-batches, which `loss-scale` tells; 0 may be a NaN that is hidden.
        """
        logged = logs.get("loss")
        if logged is None:
            return {}
        own = self._window / max(1, self._in_window)
        self._window, self._in_window = 0.0, 0
        if self._compared < WINDOWS and own and logged and math.isfinite(logged):
            whole = max(1, round(logged / own))
            self._compared += 1
            self._different += abs(logged / own - whole) > DIFFERS * whole
            self._outside |= self._different == WINDOWS
        return {}

    def missing(self) -> str:
        """The Trainer pops the labels where it computes the loss itself, or takes only the logits."""
        if self._outside:
            return f"no streaming CE: {OUTSIDE}"
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


def _is_mean(gradient_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """1 where the gradient of the log-probabilities is one of a mean cross-entropy, else 0.

    That is negative and the same at every label token. One that is not finite tells nothing: 1.
    """
    is_label_BT = mask_BT.bool()
    low = gradient_BT.masked_fill(~is_label_BT, math.inf).min()
    high = gradient_BT.masked_fill(~is_label_BT, -math.inf).max()
    same = (high < 0) & (high - low <= SAME * -low)
    return (same | ~(low.isfinite() & high.isfinite())).float()


SIGNAL = StreamingCE
