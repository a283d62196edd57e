"""How much the training loss depends on each adapter: |<B, dL/dB>|, from gradients that are there.

<B, dL/dB> = <A, dL/dA> = <dL/dW, dW> = dL / d log(scaling): what the loss would lose, to first order,
were the adapter scaled down. Measured by ablation (docs/benchmarks.md), it says more than any norm of what
removing one module's adapter costs the training loss, and less of what removing a whole layer's does: there
the first order is a rough guide. It speaks of the training loss, and says nothing of the held-out one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from heldout.signals.adapters import Adapted, LowRank
from heldout.signals.lora import ModuleReading
from heldout.signals.moment import to_host

SAMPLES = 30
"""Samples that the running mean reaches back over."""
ALPHA = 2 / (SAMPLES + 1)
WITNESSES = 8
"""Factors whose gradients are measured before clipping: enough to meet one that has a gradient."""


class Impact:
    """Running means of |<B, dL/dB>| by module, and the last gradient norms, before clipping.

    Gradients are read after clipping, when they are complete. What clipping took is seen on a few
    factors, the witnesses, whose gradients are measured before and after; where that cannot be
    (several processes, float16 loss scaling) the numbers are of the clipped gradients.
    """

    def __init__(self) -> None:
        self.armed = False
        """Whether the coming step is sampled."""
        self.clipped_unseen = False
        """Whether no witness had a gradient at the last sample, though others had: its gradients
        are as clipped, and it is in no mean."""
        self._means: dict[str, tuple[float, float]] = {}
        self._grad_squares: dict[str, float] = {}
        self._clipping_is_seen = False
        self._fired: dict[nn.Parameter, Tensor | None] = {}
        self._handles: list[Any] = []

    def begin(self, found: Sequence[Adapted], clipping_is_seen: bool) -> None:
        """Choose the witnesses, anew where adapters were switched: evenly among all modules.

        One alone could lie in a part of the model that gets no gradient.
        """
        self.end()
        self._clipping_is_seen = clipping_is_seen
        trained = [smallest for each in found if (smallest := _smallest(each)) is not None]
        for parameter in trained[:: math.ceil(len(trained) / WITNESSES) or 1]:
            hook: Any = parameter.register_post_accumulate_grad_hook
            self._handles.append(hook(self._before_clipping))

    def are_freed(self, found: Sequence[Adapted]) -> bool:
        """Tell whether gradients were there and are gone: the optimizer is done already.

        DeepSpeed's ZeRO-1 and ZeRO-2 step inside the backward pass, as fused optimizers do.
        """
        gone = all(p.grad is None for each in found for p in each.parameters())
        return gone and bool(self._fired)

    def skip(self) -> None:
        """The gradients of the coming step cannot be read."""
        self._fired, self._grad_squares, self.clipped_unseen = {}, {}, False

    def forget(self, names: Iterable[str]) -> None:
        """Start these modules' means anew: other adapters are active in them."""
        for name in names:
            self._means.pop(name, None)
            self._grad_squares.pop(name, None)

    @torch.no_grad()
    def sample(self, found: Sequence[Adapted]) -> dict[str, float]:
        """Read the gradients of the coming step; returns their square norms by module."""
        names, products, squares = [], [], []
        for each in found:
            gradients = [p.grad for p in each.parameters() if p.grad is not None]
            names.append(each.name)
            products.append(_slope(each))
            squares.append(sum((_dot(g, g) for g in gradients), torch.zeros(())))
        before, after, *numbers = to_host([*self._clipping(), *products, *squares])
        found_squares = dict(zip(names, numbers[len(names) :], strict=True))
        is_seen = 0 < before < math.inf and 0 < after < math.inf
        by = math.sqrt(before / after) if is_seen else 1.0
        self.clipped_unseen = self._clipping_is_seen and not is_seen and any(found_squares.values())
        if not self.clipped_unseen:
            for name, slope in zip(names, numbers[: len(names)], strict=True):
                self._average(name, abs(slope) * by)
        self._grad_squares = {name: square * by**2 for name, square in found_squares.items()}
        return self._grad_squares

    def tell(self, module: ModuleReading) -> None:
        """Add what is known of the module to its reading."""
        module.grad_square = self._grad_squares.get(module.name)
        mass, weight = self._means.get(module.name, (0.0, 0.0))
        module.impact = mass / weight if weight else None

    def end(self) -> None:
        """Take the hooks off the witnesses."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._fired = [], {}

    def state(self) -> dict[str, float]:
        """Both parts of every running mean."""
        masses = {f"mass/{name}": mass for name, (mass, _) in self._means.items()}
        return masses | {f"weight/{name}": weight for name, (_, weight) in self._means.items()}

    def restore(self, state: Mapping[str, float]) -> None:
        """Continue them."""
        names = [key.removeprefix("mass/") for key in state if key.startswith("mass/")]
        self._means = {name: (state[f"mass/{name}"], state[f"weight/{name}"]) for name in names}

    def _clipping(self) -> tuple[Tensor, Tensor]:
        """The witnesses' square norm before and after clipping; 0 where it was not seen."""
        fired, self._fired = self._fired, {}
        if not self._clipping_is_seen:
            fired = {}
        seen = [
            (x, _square(p.grad)) for p, x in fired.items() if x is not None and p.grad is not None
        ]
        none = torch.zeros(())
        return sum((x for x, _ in seen), none), sum((y for _, y in seen), none)

    def _average(self, name: str, value: float) -> None:
        if not math.isfinite(value):  # not defined, or a step that would spoil the mean for good
            return
        mass, weight = self._means.get(name, (0.0, 0.0))
        self._means[name] = mass + ALPHA * (value - mass), weight + ALPHA * (1 - weight)

    def _before_clipping(self, parameter: Any) -> None:
        if self.armed:
            self._fired[parameter] = None if parameter.grad is None else _square(parameter.grad)


def _slope(each: Adapted) -> Tensor:
    """dL / d log(scaling) of one module; 0 where it has no gradient, NaN where it is not defined."""
    if not isinstance(each, LowRank):
        return torch.full((), torch.nan)
    known = [(p, p.grad) for p in each.zero_side() if p.grad is not None]
    return sum((_dot(p.detach(), g) for p, g in known), torch.zeros(()))


def _smallest(each: Adapted) -> nn.Parameter | None:
    """The smallest trained parameter that has a gradient from the first step on, if there is one."""
    parameters = each.zero_side() if isinstance(each, LowRank) else each.parameters()
    trained = [p for p in parameters if p.requires_grad and p.is_leaf]
    return min(trained, key=Tensor.numel, default=None)


def _square(gradient: Tensor) -> Tensor:
    """In float32: in half, the two norms would differ by their own rounding."""
    gradient = gradient.detach()
    return _dot(gradient, gradient)


def _dot(x: Tensor, y: Tensor) -> Tensor:
    product: Tensor = torch.linalg.vecdot(x.flatten().float(), y.flatten().float())
    return product
