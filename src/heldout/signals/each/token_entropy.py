"""How undecided the model is about its training tokens, from what the forward pass computed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from heldout.records import Metric
from heldout.signals.entropy import row_entropies, summed_entropy
from heldout.signals.moment import Batch, Moment, Number, Signal, Sums, Values

MAX_ROWS = 256
MAX_LOGITS = {"cpu": 2**22}
"""Label positions, and logits, of a micro-batch that are read at most: 85 positions of a vocabulary
of 49,152 take 5 ms on two cores. Other devices read `MAX_LOGITS_ELSEWHERE`."""
MAX_LOGITS_ELSEWHERE = 2**24
NO_LOGITS = "the forward pass gives neither entropy nor logits for each label (a fused loss)"


class TokenEntropy(Signal):
    """Mean entropy of the next-token distribution at label positions.

    TRL's fused head already gives it for every position; from plain logits it is the mean over a
    sample of the positions, spread evenly over all of them. Absent when a fused loss returns neither.
    """

    metrics = (
        Metric(
            name="entropy/train",
            title="Token entropy",
            unit="nats",
            direction="none",
            help="Mean entropy of the predicted distribution at the tokens trained on.",
            source=f"the training forward pass: every position from a fused head, a sample of {MAX_ROWS} "
            "at most a micro-batch from logits (fewer where the vocabulary is large)",
            cost="a softmax over the sampled rows: 5 ms a micro-batch at 49,152 tokens on two cores",
        ),
    )

    width = 2

    def __init__(self) -> None:
        self._sums = Sums(self.width)
        self._seen = False
        self._why = NO_LOGITS

    def forward(self, batch: Batch) -> None:
        """Keep the summed entropy and the number of positions on the device."""
        entropy = getattr(batch.outputs, "entropy", None)
        if entropy is not None:
            mask = batch.outputs.label_mask
            self._sums.add((entropy.detach() * mask).sum().float(), mask.sum())
            return
        logits, is_label_BT = batch.output("logits"), batch.is_label_BT
        if is_label_BT is None:
            self._why = batch.without_labels
            return
        if not isinstance(logits, Tensor) or logits.dim() != 3:
            return
        if logits.shape[1] != is_label_BT.shape[1] + batch.kind.label_shift:
            return
        logits, most, places = logits.detach(), most_rows(logits), batch.label_places
        if places is not None:
            b_N, t_N = places
            n = b_N.shape[0]
            if n > most:
                spread = slice(None, None, -(-n // most))
                b_N, t_N = b_N[spread], t_N[spread]
            total = summed_entropy(logits, b_N, t_N)
            self._sums.add(total * (n / max(1, b_N.shape[0])), float(n))
            return
        b_R, t_R, kept_R = some_positions(is_label_BT, most)
        entropies_R = row_entropies(logits[b_R, t_R])
        mean = entropies_R.where(kept_R, 0.0).sum() / kept_R.sum().clamp_min(1)
        count = is_label_BT.sum()
        self._sums.add(mean * count, count)

    def collect(self) -> Sequence[Number]:
        """The entropies' sum and the number of positions over the step's micro-batches."""
        return self._sums.take()

    def step(self, moment: Moment, numbers: Sequence[float]) -> Values:
        """Record the mean; nothing where no position was trained on."""
        self._seen |= bool(numbers)
        return {"entropy/train": numbers[0] / numbers[1]} if numbers and numbers[1] else {}

    def missing(self) -> str:
        """Fused losses keep the logits to themselves."""
        return "" if self._seen else f"no token entropy: {self._why}"


def most_rows(logits: Tensor) -> int:
    """How many rows of V logits are read at most."""
    budget = MAX_LOGITS.get(logits.device.type, MAX_LOGITS_ELSEWHERE)
    return max(1, min(MAX_ROWS, budget // logits.shape[-1]))


def some_positions(is_label_BT: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Choose at most `most` [R] of the positions that predict a label, [B, T], evenly spread.

    Returns their rows and columns in the logits, and a mask of which entries count (there may be
    fewer than R). Copies no logits and does not wait for the device.
    """
    width = max(1, is_label_BT.shape[1])
    rank_N = is_label_BT.flatten().cumsum(0)
    if not len(rank_N):
        empty = rank_N.long()
        return empty, empty, empty.bool()
    count = rank_N[-1]
    k_R = torch.arange(min(most, len(rank_N)), device=rank_N.device)
    spread_R = torch.where(count > len(k_R), k_R * count // len(k_R), k_R)
    pick_R = torch.searchsorted(rank_N, spread_R + 1).clamp_max(len(rank_N) - 1)
    return pick_R // width, pick_R % width, k_R < count


SIGNAL = TokenEntropy
