"""How undecided the model is about its training tokens, from what the forward pass computed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from heldout.records import Metric
from heldout.signals.entropy import row_entropies
from heldout.signals.moment import IGNORED, Batch, Moment, Signal, Values

MAX_ROWS = 256
"""Label positions per micro-batch whose entropy is computed from logits, evenly spread."""


class TokenEntropy(Signal):
    """Mean entropy of the next-token distribution at label positions.

    TRL's fused head already gives it for every position; from plain logits at most `MAX_ROWS` rows
    a micro-batch are read. Absent when a fused loss returns neither.
    """

    metrics = (
        Metric(
            name="entropy/train",
            title="Token entropy",
            unit="nats",
            direction="none",
            help="Mean entropy of the predicted distribution at the tokens trained on.",
            source=f"the training forward pass; at most {MAX_ROWS} rows a micro-batch from logits",
        ),
    )

    def __init__(self) -> None:
        self._sums: list[Tensor] = []
        self._counts: list[Tensor] = []

    def forward(self, batch: Batch) -> None:
        """Keep the summed entropy and the number of positions on the device."""
        entropy = getattr(batch.outputs, "entropy", None)
        if entropy is not None:
            mask = batch.outputs.label_mask
            self._keep((entropy.detach() * mask).sum(), mask.sum())
            return
        logits = getattr(batch.outputs, "logits", None)
        if logits is None or batch.labels_BT is None or logits.dim() != 3:
            return
        if logits.shape[1] != batch.labels_BT.shape[1]:
            return
        where = (batch.labels_BT[:, 1:] != IGNORED).flatten()
        every = max(1, where.numel() // MAX_ROWS)
        rows_RV = logits.detach()[:, :-1].flatten(0, 1)[::every]
        kept_R = where[::every]
        self._keep((row_entropies(rows_RV) * kept_R).sum(), kept_R.sum())

    def collect(self) -> Sequence[Tensor]:
        """The mean over the step's micro-batches, weighted by positions."""
        if not self._sums:
            return ()
        mean = torch.stack(self._sums).sum() / torch.stack(self._counts).sum()
        self._sums, self._counts = [], []
        return (mean,)

    def step(self, moment: Moment, numbers: Sequence[float]) -> Values:
        """Record the mean; NaN when no position was read."""
        return {"entropy/train": numbers[0]} if numbers else {}

    def _keep(self, total: Tensor, count: Tensor) -> None:
        self._sums.append(total.double())
        self._counts.append(count.double())


SIGNAL = TokenEntropy
