"""What the training loop shows a signal, and what a signal answers. Tensors go no further.

Legend: B sequences, T positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeGuard, cast

import msgspec
import torch
from torch import Tensor, nn

from heldout.errors import ConfigError
from heldout.kinds import LANGUAGE_MODEL, Kind
from heldout.records import AnyRecord, Metric

IGNORED = -100
"""The label of a position that is not trained on."""
NO_TOKENS = "the labels are not one a token"
PLACES = {"loss": 0, "logits": 1}
"""Where outputs stand in a model's tuple that begins with a loss."""

Number = Tensor | float
"""A 0-dimensional tensor, or what the host knows already."""
Values = Mapping[str, float]
"""Metric name to number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalOptions:
    """Options of the signals; `heldout settings` explains each under the same name (`signals.*`).

    `window` is what the streaming CE reaches back over, in steps. Every step is recorded whatever
    `every` is; above 1 the numbers of several steps stay on the device and come to the host together,
    so that the steps between wait for nothing, and reach the journal that much later. A step that the
    Trainer logs, saves or evaluates at waits anyway and brings them at once; so do the adapters' samples,
    every ten steps.
    """

    window: int = 300
    every: int = 1

    def __post_init__(self) -> None:
        for field_ in fields(self):
            value = getattr(self, field_.name)
            if not value >= 1:
                raise ConfigError(f"signals.{field_.name} must be at least 1 step, found {value!r}")

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> SignalOptions:
        """The options among settings by dotted name (`signals.window`)."""
        return cls(**{field_.name: settings[f"signals.{field_.name}"] for field_ in fields(cls)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Training is about to start, at `step` (above 0 for a resumed run) of `total_steps`.

    `folder` is the run's own, for what is too large for a checkpoint's state.
    """

    model: nn.Module
    folder: Path
    step: int = 0
    total_steps: int = 0
    warmup_steps: int = 0
    ranks: int = 1
    loss_scaled: bool = False
    """Whether gradients carry a loss scale until they are clipped (float16)."""
    options: SignalOptions = field(default_factory=SignalOptions)


class Batch(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One training micro-batch's forward pass: what went in, what came out, and what is in it.

    `outputs` is what the model returned. `items` is the number of label tokens the loss was
    divided by when that is the whole optimizer step's (gradient accumulation), else None. `kind` is
    the model's, which says whether labels are tokens and where they stand. What several signals ask for is
    counted once: in numbers where the host need not wait for a device.
    """

    input_ids_BT: Tensor | None
    attention_mask_BT: Tensor | None
    labels_BT: Tensor | None
    outputs: Any
    items: Tensor | int | None
    kind: Kind = LANGUAGE_MODEL

    def output(self, name: str) -> Any:
        """The model's `loss` or `logits`, where the Trainer looks for them; None where they are not.

        By name in an object or a dict, by place in a tuple that begins with a loss.
        """
        outputs = self.outputs
        found = getattr(outputs, name, None)
        if found is not None:
            return found
        if isinstance(outputs, dict):
            return outputs.get(name)
        if not isinstance(outputs, (tuple, list)) or len(outputs) <= PLACES[name]:
            return None
        has_loss = isinstance(outputs[0], Tensor) and not outputs[0].dim()
        return outputs[PLACES[name]] if has_loss else None

    @cached_property
    def is_label_BT(self) -> Tensor | None:
        """Which positions predict a label, [B, T - kind.label_shift]; None without labels by token.

        T counts the virtual tokens that prompt tuning puts before the given ones: logits show them.
        """
        labels = self.labels_BT
        if not self._by_token(labels):
            return None
        logits = self.output("logits")
        virtual = logits.shape[1] - labels.shape[1] if _is_by_token(logits) else 0
        if virtual > 0:
            labels = nn.functional.pad(labels, (virtual, 0), value=IGNORED)
        return labels[:, self.kind.label_shift :] != IGNORED

    def _by_token(self, labels: Tensor | None) -> TypeGuard[Tensor]:
        if labels is None or labels.dim() != 2 or labels.is_floating_point():
            return False
        return self.kind.tokens

    @cached_property
    def labels(self) -> Number | None:
        """What the loss is a mean over: tokens, or the classes of tokens or sequences."""
        labels = self.labels_BT
        if labels is None or self.is_label_BT is not None:
            return self.label_tokens
        if labels.dim() == 2 and not labels.is_floating_point():
            return (labels != IGNORED).sum()
        return float(len(labels))

    @property
    def without_labels(self) -> str:
        """Why no position predicts a label; "" where some may."""
        if self.labels_BT is None:
            return "the model is given no labels"
        if self.is_label_BT is None:
            return (
                f"{self.kind.what}, and its labels are no tokens" if self.kind.what else NO_TOKENS
            )
        return ""

    @cached_property
    def label_places(self) -> tuple[Tensor, Tensor] | None:
        """The rows and columns [N] of these positions; None where a device would be waited for."""
        is_label_BT = self.is_label_BT
        if is_label_BT is None or not is_at_hand(is_label_BT):
            return None
        b_N, t_N = is_label_BT.nonzero(as_tuple=True)
        return b_N, t_N

    @cached_property
    def label_tokens(self) -> Number | None:
        """The number of positions trained on; None without such labels."""
        if self.is_label_BT is None:
            return None
        places = self.label_places
        return self.is_label_BT.sum() if places is None else float(places[0].shape[0])

    @cached_property
    def lengths_B(self) -> Tensor | Sequence[int] | None:
        """Each sequence's tokens that are no padding; None without a mask of two dimensions."""
        mask = self.attention_mask_BT
        if not isinstance(mask, Tensor) or mask.dim() != 2:
            return None
        lengths_B = mask.count_nonzero(1)
        return cast(list[int], lengths_B.tolist()) if is_at_hand(mask) else lengths_B


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """The end of one optimizer step.

    `seconds` is what the step took, without evaluation and saving; `laps` says where all the time
    since the last step's end went, by phase (see `heldout.signals.laps`). `learning_rate` is the
    one this step was made with, of the first parameter group; None where it is not known.
    """

    step: int
    seconds: float
    model: nn.Module
    learning_rate: float | None = None
    last: bool = False
    """Whether training ends with this step."""
    laps: Mapping[str, float] = {}


def _is_by_token(logits: Any) -> bool:
    return isinstance(logits, Tensor) and logits.dim() == 3


def is_at_hand(tensor: Tensor) -> bool:
    """Whether the host can read `tensor` without waiting for a device."""
    return tensor.is_cpu


def read(number: Number) -> Number:
    """A 0-dimensional tensor as a number, where the host can read it without waiting for a device."""
    if isinstance(number, Tensor) and is_at_hand(number):
        return number.item()
    return number


def to_host(numbers: Sequence[Number]) -> list[float]:
    """Bring 0-dimensional tensors to the host as floats, waiting once for each device.

    Integers up to 2^24 and float32 survive exactly; float64 does only where the device has it.
    """
    found: list[float] = []
    by_device: dict[torch.device, list[int]] = {}
    for i, number in enumerate(numbers):
        if isinstance(number, Tensor) and not number.is_cpu:
            by_device.setdefault(number.device, []).append(i)
            found.append(0.0)
        else:
            found.append(float(number))
    for device, places in by_device.items():
        stacked = stacked_on(device, [numbers[i] for i in places])
        for i, value in zip(places, stacked.tolist(), strict=True):
            found[i] = value
    return found


def stacked_on(device: torch.device, numbers: Sequence[Number]) -> Tensor:
    """Numbers as one vector on `device`, in the widest float it has."""
    wide = torch.float32 if device.type == "mps" else torch.float64
    if not numbers:
        return torch.zeros(0, dtype=wide, device=device)
    tensors = [
        x.detach() if isinstance(x, Tensor) else torch.tensor(x, dtype=wide) for x in numbers
    ]
    return torch.stack([tensor.to(device, wide, non_blocking=True) for tensor in tensors])


class Sums:
    """Adds up `width` numbers a micro-batch on the device, without waiting for it."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._sums: tuple[Number, ...] = ()

    def add(self, *numbers: Number) -> None:
        """Add one micro-batch's numbers."""
        assert len(numbers) == self._width
        before = self._sums
        self._sums = (
            tuple(a + b for a, b in zip(before, numbers, strict=True)) if before else numbers
        )

    def take(self) -> tuple[Number, ...]:
        """Hand over the sums and start anew; () when nothing was added."""
        taken, self._sums = self._sums, ()
        return taken


class Signal:
    """One quantity followed through training; this parent measures nothing.

    Adding one is one new file in `heldout.signals.each` with a constant `SIGNAL`, the class. Override
    what is needed; the methods come in this order at each step.
    """

    metrics: Sequence[Metric] = ()
    width: ClassVar[int] = 0
    """How many tensors `collect` hands over. Where it is above 0 each process of a distributed run
    has the signal, and only the main one calls `step`, with the sums over all of them."""

    def begin(self, start: Start) -> None:
        """Training starts; look at the model."""

    def forward(self, batch: Batch) -> None:
        """A micro-batch went through; keep what is needed on the device, and do not wait for it."""

    def before_update(self, step: int, model: nn.Module) -> None:
        """The gradients of the coming `step` are complete, and already clipped."""

    def collect(self) -> Sequence[Number]:
        """The optimizer step ended: hand over `width` sums, or nothing.

        The watch brings the tensors of all signals to the host in one transfer.
        """
        return ()

    def step(self, moment: Moment, numbers: Sequence[float]) -> Values:
        """What to record at this step; `numbers` are the collected sums, () where there were none."""
        return {}

    def records(self, moment: Moment, values: Values) -> Sequence[AnyRecord]:
        """Facts that are no scalars; `values` are all signals' numbers at this step."""
        return ()

    def log(self, logs: Mapping[str, float]) -> Values:
        """The Trainer logged: what to record of it."""
        return {}

    def missing(self) -> str:
        """After the first step: why this signal has nothing to show; "" where it has."""
        return ""

    def end(self) -> None:
        """Watching is over: take every hook off the model."""

    def state(self) -> dict[str, float]:
        """What a resumed run needs to continue the same curve."""
        return {}

    def restore(self, state: Mapping[str, float]) -> None:
        """Continue from a saved `state`."""
