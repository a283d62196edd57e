"""What the training loop shows a signal, and what a signal answers. Tensors go no further.

Legend: B sequences, T positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from heldout.records import Metric, Record

IGNORED = -100
"""The label of a position that is not trained on."""

Values = Mapping[str, float]
"""Metric name to number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One training micro-batch's forward pass: what went in and what came out.

    `outputs` is the model's own output object. `items` is the number of label tokens the loss was
    divided by when that is the whole optimizer step's (gradient accumulation), else None.
    """

    input_ids_BT: Tensor | None
    attention_mask_BT: Tensor | None
    labels_BT: Tensor | None
    outputs: Any
    items: Tensor | int | None

    def label_tokens(self) -> Tensor | None:
        """The number of positions trained on, as a 0-dimensional tensor; None without such labels."""
        if self.labels_BT is None or self.labels_BT.dim() != 2:
            return None
        return (self.labels_BT[:, 1:] != IGNORED).sum()


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The end of one optimizer step.

    `seconds` is the time since the last step ended, without evaluation and saving. `learning_rate`
    is the one this step was made with, of the first parameter group; None where it is not known.
    """

    step: int
    seconds: float
    model: nn.Module
    learning_rate: float | None = None
    last: bool = False
    """Whether training ends with this step."""


def to_host(tensors: Sequence[Tensor]) -> list[float]:
    """Bring 0-dimensional tensors to the host as floats, waiting once for each device.

    Integers up to 2^24 and float32 survive exactly; float64 does only where the device has it.
    """
    numbers: dict[int, float] = {}
    by_device: dict[torch.device, list[int]] = {}
    for i, tensor in enumerate(tensors):
        by_device.setdefault(tensor.device, []).append(i)
    for device, places in by_device.items():
        wide = torch.float32 if device.type == "mps" else torch.float64
        stacked = torch.stack([tensors[i].detach().to(wide) for i in places])
        numbers.update(zip(places, stacked.tolist(), strict=True))
    return [numbers[i] for i in range(len(tensors))]


class Signal:
    """One quantity followed through training; this parent measures nothing.

    Adding one is one new file in `heldout.signals.each` with a constant `SIGNAL`, the class. Override
    what is needed; the methods come in this order at each step.
    """

    metrics: Sequence[Metric] = ()

    def begin(self, model: nn.Module) -> None:
        """Training starts; look at the model."""

    def forward(self, batch: Batch) -> None:
        """A micro-batch went through; keep what is needed on the device, and do not wait for it."""

    def collect(self) -> Sequence[Tensor]:
        """The optimizer step ended: hand over what was kept, as 0-dimensional tensors.

        The watch brings the tensors of all signals to the host in one transfer.
        """
        return ()

    def step(self, moment: Moment, numbers: Sequence[float]) -> Values:
        """What to record at this step; `numbers` are the collected tensors' values."""
        return {}

    def records(self, moment: Moment) -> Sequence[Record]:
        """Facts that are no scalars."""
        return ()

    def log(self, logs: Mapping[str, float]) -> Values:
        """The Trainer logged: what to record of it."""
        return {}

    def state(self) -> dict[str, float]:
        """What a resumed run needs to continue the same curve."""
        return {}

    def restore(self, state: Mapping[str, float]) -> None:
        """Continue from a saved `state`."""
