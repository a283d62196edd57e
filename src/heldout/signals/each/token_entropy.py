"""How undecided the model is about its training tokens, from what the forward pass computed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from heldout.records import Metric
from heldout.signals.entropy import row_entropies
from heldout.signals.moment import IGNORED, Batch, Moment, Signal, Values

MAX_ROWS = 256
"""Label positions per micro-batch whose entropy is computed from logits, spread over all of them."""


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
        b_R, t_R, kept_R = some_label_positions(batch.labels_BT)
        entropies_R = row_entropies(logits.detach()[b_R, t_R])
        self._keep(entropies_R.where(kept_R, 0.0).sum(), kept_R.sum())

    def collect(self) -> Sequence[Tensor]:
        """The entropies' sum and the number of positions over the step's micro-batches."""
        if not self._sums:
            return ()
        both = torch.stack(self._sums).sum(), torch.stack(self._counts).sum()
        self._sums, self._counts = [], []
        return both

    def step(self, moment: Moment, numbers: Sequence[float]) -> Values:
        """Record the mean; nothing where no position was trained on."""
        return {"entropy/train": numbers[0] / numbers[1]} if numbers and numbers[1] else {}

    def _keep(self, total: Tensor, count: Tensor) -> None:
        self._sums.append(total.float())
        self._counts.append(count)


def some_label_positions(labels_BT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Choose at most `MAX_ROWS` positions that predict a label, evenly over all such positions.

    Returns their rows and columns in the logits, and a mask of which entries count (fewer than
    `MAX_ROWS` may exist). Copies no logits and does not wait for the device.
    """
    where_N = (labels_BT[:, 1:] != IGNORED).flatten()
    width, count = labels_BT.shape[1] - 1, where_N.sum()
    k_R = torch.arange(min(MAX_ROWS, len(where_N)), device=where_N.device)
    labels_first_N = torch.argsort(where_N.int(), descending=True, stable=True)
    spread_R = torch.where(count > len(k_R), k_R * count // max(1, len(k_R)), k_R)
    pick_R = labels_first_N[spread_R]
    return pick_R // max(1, width), pick_R % max(1, width), k_R < count


SIGNAL = TokenEntropy
