"""How much the training loss depends on each adapter: |<B, dL/dB>|, from gradients that are there.

<B, dL/dB> = <A, dL/dA> = <dL/dW, dW> = dL / d log(scaling): what the loss would lose, to first order,
were the adapter scaled down. Measured by ablation (docs/benchmarks.md), it goes with what removing a
layer's adapter costs the training loss, and the size of its movement does not; over a whole adapter the
first order is a rough guide. It speaks of the training loss, and says nothing of the held-out one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from heldout.signals.adapters import Adapted, LowRank
from heldout.signals.lora import ModuleReading
from heldout.signals.moment import to_host

SAMPLES = 30
"""Samples that the running mean reaches back over."""
ALPHA = 2 / (SAMPLES + 1)


class Impact:
    """Running means of |<B, dL/dB>| by module, and the last gradient norms, before clipping.

    Gradients are read after clipping, when they are complete. What clipping took is seen on one
    small factor, whose gradient is measured before and after; where that cannot be (several
    processes, float16 loss scaling) the numbers are of the clipped gradients.
    """

    def __init__(self) -> None:
        self.armed = False
        """Whether the coming step is sampled."""
        self._means: dict[str, tuple[float, float]] = {}
        self._grad_squares: dict[str, float] = {}
        self._witness: nn.Parameter | None = None
        self._unclipped: Tensor | None = None
        self._handle: Any = None

    def begin(self, found: Sequence[Adapted], clipping_is_seen: bool) -> None:
        """Choose the factor that witnesses clipping."""
        if not clipping_is_seen:
            return
        factors = [p for each in found if isinstance(each, LowRank) for p in each.zero_side()]
        trained = [factor for factor in factors if factor.requires_grad]
        if trained:
            self._witness = min(trained, key=Tensor.numel)
            hook: Any = self._witness.register_post_accumulate_grad_hook
            self._handle = hook(self._before_clipping)

    @torch.no_grad()
    def sample(self, found: Sequence[Adapted]) -> dict[str, float]:
        """Read the gradients of the coming step; returns their square norms by module."""
        names, products, squares = [], [], []
        for each in found:
            gradients = [p.grad for p in each.parameters() if p.grad is not None]
            names.append(each.name)
            products.append(_slope(each))
            squares.append(sum((_dot(g, g) for g in gradients), torch.zeros(())))
        clipping = self._clipping() or [torch.ones(())] * 2
        before, after, *numbers = to_host([*clipping, *products, *squares])
        by = before / after if before > 0 and after > 0 else 1.0
        for name, slope in zip(names, numbers[: len(names)], strict=True):
            self._average(name, abs(slope) * by)
        found_squares = dict(zip(names, numbers[len(names) :], strict=True))
        self._grad_squares = {name: square * by**2 for name, square in found_squares.items()}
        return self._grad_squares

    def tell(self, module: ModuleReading) -> None:
        """Add what is known of the module to its reading."""
        module.grad_square = self._grad_squares.get(module.name)
        mass, weight = self._means.get(module.name, (0.0, 0.0))
        module.impact = mass / weight if weight else None

    def end(self) -> None:
        """Take the hook off the witness."""
        if self._handle is not None:
            self._handle.remove()

    def state(self) -> dict[str, float]:
        """Both parts of every running mean."""
        masses = {f"mass/{name}": mass for name, (mass, _) in self._means.items()}
        return masses | {f"weight/{name}": weight for name, (_, weight) in self._means.items()}

    def restore(self, state: Mapping[str, float]) -> None:
        """Continue them."""
        names = [key.removeprefix("mass/") for key in state if key.startswith("mass/")]
        self._means = {name: (state[f"mass/{name}"], state[f"weight/{name}"]) for name in names}

    def _clipping(self) -> list[Tensor]:
        """The witness's gradient norm before and after clipping; nothing where it was not seen."""
        before, self._unclipped = self._unclipped, None
        grad = None if self._witness is None else self._witness.grad
        return [] if before is None or grad is None else [before, _norm(grad)]

    def _average(self, name: str, value: float) -> None:
        if not math.isfinite(value):  # not defined, or a step that would spoil the mean for good
            return
        mass, weight = self._means.get(name, (0.0, 0.0))
        self._means[name] = mass + ALPHA * (value - mass), weight + ALPHA * (1 - weight)

    def _before_clipping(self, parameter: Any) -> None:
        if self.armed:
            self._unclipped = _norm(parameter.grad)


def _slope(each: Adapted) -> Tensor:
    """dL / d log(scaling) of one module; 0 where it has no gradient, NaN where it is not defined."""
    if not isinstance(each, LowRank):
        return torch.full((), torch.nan)
    known = [(p, p.grad) for p in each.zero_side() if p.grad is not None]
    return sum((_dot(p.detach(), g) for p, g in known), torch.zeros(()))


def _norm(gradient: Tensor) -> Tensor:
    """In float32: in half, the two norms would differ by their own rounding."""
    norm: Tensor = torch.linalg.vector_norm(gradient.detach().float())
    return norm


def _dot(x: Tensor, y: Tensor) -> Tensor:
    product: Tensor = torch.linalg.vecdot(x.flatten().float(), y.flatten().float())
    return product
