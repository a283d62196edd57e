"""What one optimizer step changes: ||dW_t - dW_(t-1)||, and whether half precision swallows it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from heldout.signals.adapters import HALF, Adapted, LowRank
from heldout.signals.lora import ModuleReading
from heldout.signals.lowrank import Product, Read, difference, squares
from heldout.signals.moment import to_host

COPIED_BYTES = 16 * 2**20
"""Factors copied at most, for the time of one optimizer step; layers of larger adapters take turns."""

Key = tuple[str, tuple[str, ...]]
"""A module's name and its active adapters."""


class OneStep:
    """Copies factors before an optimizer step and compares them with those after it.

    Nothing is kept between readings. `before` and `after` frame one optimizer step.
    """

    def __init__(self) -> None:
        self._turn = 0
        self._copies: dict[Key, Product] = {}
        self._halves: dict[Key, list[Tensor]] = {}

    @torch.no_grad()
    def before(self, found: Sequence[Adapted]) -> None:
        """Copy the factors of the layers whose turn it is."""
        for each in self._whose_turn([each for each in found if isinstance(each, LowRank)]):
            b, a, scale = each.product()
            self._copies[_key(each)] = Product(b.clone(), a.clone(), scale)
            halves = [p.detach().clone() for p in each.parameters() if _is_rounded(p)]
            if halves:
                self._halves[_key(each)] = halves

    @torch.no_grad()
    def after(self, found: Sequence[Adapted], modules: Sequence[ModuleReading]) -> dict[str, float]:
        """Put the step's change into the readings.

        Returns by module the share of entries, of the half-precision factor that changed least,
        that the step left as they were. Modules whose adapters were switched meanwhile have neither.
        """
        copies, halves = self._copies, self._halves
        self._copies, self._halves = {}, {}
        known = {_key(each): each for each in found if isinstance(each, LowRank)}
        copied = [key for key in copies if key in known]
        changes = squares([_change(known[key], copies[key]) for key in copied])
        by_name = {name: square for (name, _), square in zip(copied, changes, strict=True)}
        for module in modules:
            module.speed_square = by_name.get(module.name)
        shares = []
        for key in (keys := [key for key in halves if key in known]):
            now = [p for p in known[key].parameters() if _is_rounded(p)]
            same = [(x == y).float().mean() for x, y in zip(now, halves[key], strict=True)]
            shares.append(torch.stack(same).amax())
        return {name: share for (name, _), share in zip(keys, to_host(shares), strict=True)}

    def _whose_turn(self, low: Sequence[LowRank]) -> list[LowRank]:
        """Whole layers, from where the last turn ended, as many as `COPIED_BYTES` allows."""
        layers: dict[tuple[str, int], list[LowRank]] = {}
        for each in low:
            layers.setdefault((each.place.stack, each.place.layer), []).append(each)
        order = list(layers.values())
        chosen: list[LowRank] = []
        taken = 0
        for i in range(len(order)):
            layer = order[(self._turn + i) % len(order)]
            size = sum(p.numel() * p.element_size() for each in layer for p in each.parameters())
            if chosen and taken + size > COPIED_BYTES:
                self._turn = (self._turn + i) % len(order)
                return chosen
            chosen += layer
            taken += size
        self._turn = 0
        return chosen


def _key(each: LowRank) -> Key:
    return each.name, each.adapters


def _is_rounded(parameter: Tensor) -> bool:
    return parameter.requires_grad and parameter.dtype in HALF


def _change(each: LowRank, before: Product) -> Read:
    def read() -> Product:
        now = each.product()
        if now.scale != before.scale:  # PEFT's `set_scale` was called
            return difference(now.pair(), before.pair())
        return difference((now.b, now.a), (before.b, before.a), now.scale)

    return read
