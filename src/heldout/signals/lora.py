"""How far LoRA adapters have moved the model, and how far each layer: exact, never materialised.

The effective update of a module is dW = B A - B0 A0, its scaling inside B. A module is read with
`heldout.signals.adapters`, measured with `heldout.signals.lowrank`, and summed up here by layer and
kind: norms as roots of sums of squares, never sums of norms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, get_args

import msgspec
import torch
from torch import Tensor, nn

from heldout.records import Layer, LayerState, Part
from heldout.signals.adapters import (
    Adapted,
    LowRank,
    adapted,
    adapter_names,
    base_square,
    joined,
)
from heldout.signals.lowrank import Pair, Product, Read, difference, sizes, squares
from heldout.signals.moment import Start, to_host
from heldout.signals.places import KINDS, Place

START_NAME = "adapters_start.pt"
"""In the run's folder: what `LoraStart` has of the adapters, without ||W0||."""
LOST = "movement since step {step}: where the {what} started is lost"
NOT_KEPT = "where the {what} start could not be kept for a resume: {error}"
WORST = {state: i for i, state in enumerate(get_args(LayerState))}
"""States from harmless to worst."""


Key = tuple[str, str]
"""A module's name and an adapter's."""


@dataclass(slots=True)
class LoraStart:
    """The adapters as training found them, the inactive ones too, for they may be switched to."""

    factors: dict[Key, Pair] = field(default_factory=dict)
    """B0, A0 where B A was not zero."""
    base_squares: dict[tuple[str, tuple[str, ...]], float | None] = field(default_factory=dict)
    """||W0||_F^2 by module and those of its active adapters that did not start at zero."""
    moved: set[Key] = field(default_factory=set)
    """Modules read as a whole whose update was not zero then: their change is not known."""
    seen: set[Key] = field(default_factory=set)
    """Every adapter of which it was looked at where it starts."""

    def not_at_zero(self, each: Adapted) -> tuple[str, ...]:
        """The active adapters of a module that did not start at zero, their start known."""
        return tuple(x for x in each.adapters if (each.name, x) in self.factors)

    def is_known(self, each: Adapted) -> bool:
        """Whether a module's movement can be told from its start."""
        return not any((each.name, x) in self.moved for x in each.adapters)

    def base_square(self, each: Adapted) -> float | None:
        """||W0||_F^2 under the active adapters; None where it is not known."""
        return self.base_squares.get((each.name, self.not_at_zero(each)))

    def measure_bases(self, found: Sequence[Adapted]) -> None:
        """Measure those not measured yet. Reads each such weight whole."""
        for each in found:
            names = self.not_at_zero(each)
            if (each.name, names) not in self.base_squares:
                pairs = [self.factors[each.name, x] for x in names]
                square = base_square(each, joined(pairs) if pairs else None)
                self.base_squares[each.name, names] = square

    @torch.no_grad()
    def look(self, found: Sequence[Adapted], copy_to: str | None = None) -> list[str]:
        """Remember where those not seen yet are now; returns the adapters that are off zero.

        Of each one adapter only. The copies of factors lie with them, or on the device `copy_to`.
        """
        new = [x for x in found if (x.name, x.adapters[0]) not in self.seen]
        low = [each for each in new if isinstance(each, LowRank)]
        off = set()
        for each, square in zip(low, squares([each.product for each in low]), strict=True):
            if square != 0:
                b, a = (side.to(copy_to or side.device, copy=True) for side in each.factors())
                self.factors[each.name, each.adapters[0]] = b, a
                off.add(each.adapters[0])
        whole = [each for each in new if not isinstance(each, LowRank)]
        for direct, square in zip(whole, to_host([x.square() for x in whole]), strict=True):
            if _is_off(direct, square):
                self.moved.add((direct.name, direct.adapters[0]))
                off.add(direct.adapters[0])
        self.seen |= {(each.name, each.adapters[0]) for each in new}
        return sorted(off)


@dataclass(slots=True, kw_only=True)
class ModuleReading:
    """What was read of one adapted module; squares are of Frobenius norms, None is unknown."""

    name: str
    place: Place
    square: float
    base_square: float | None = None
    spectral: float | None = None
    rank: float | None = None
    rank_of: float | None = None
    speed_square: float | None = None
    impact: float | None = None
    grad_square: float | None = None
    state: LayerState = "ok"

    @property
    def relative(self) -> float | None:
        """||dW||_F / ||W0||_F."""
        return _ratio(self.square, self.base_square)


def capture_lora_initial_state(model: nn.Module) -> LoraStart:
    """Remember where the adapters start. Call after the adapters are in place, before training.

    Ordinary LoRA starts at B = 0 and needs no copy; PiSSA, OLoRA and resumed adapters get one of
    their factors, which for an inactive adapter lies in the host's memory. Reads the frozen weights
    once for ||W0|| (0.4 s per 100 M on two cores).
    """
    return look_at_adapters(model, LoraStart())[0]


def look_at_adapters(model: nn.Module, start: LoraStart) -> tuple[LoraStart, list[str]]:
    """Add to `start` what it lacks of a model's adapters, and name those that were off zero."""
    found = adapted(model)
    active = {(each.name, x) for each in found for x in each.adapters}
    off = []
    for name in adapter_names(model):
        alone = adapted(model, name)
        off += start.look([x for x in alone if (x.name, name) in active])
        off += start.look(alone, copy_to="cpu")
    start.measure_bases(found)
    return start, sorted(set(off))


def start_of_run(start: Start) -> tuple[LoraStart, str]:
    """Where the run's adapters started, also for a resumed run, and a note where that is lost.

    What an earlier attempt saw is kept in the run's folder.
    """
    path = start.folder / START_NAME
    kept = kept_start(path) if start.step else None
    earlier = LoraStart(**kept) if kept else LoraStart()
    found, off = look_at_adapters(start.model, earlier)
    if start.step and (off or not kept):
        return found, LOST.format(step=start.step, what="adapters")
    parts = {"factors": found.factors, "moved": found.moved, "seen": found.seen}
    return found, "" if start.step else keep_start(path, parts, "adapters")


def keep_start(path: Path, parts: dict[str, Any], what: str) -> str:
    """Keep where training started for a resume; returns a note where that failed."""
    try:
        with path.open("wb") as file:
            torch.save(parts, file)
    except OSError as error:
        return NOT_KEPT.format(what=what, error=error)
    return ""


def kept_start(path: Path) -> dict[str, Any] | None:
    """What an earlier attempt kept; None where there is nothing that can be read."""
    try:
        kept: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, UnpicklingError):
        return None
    return kept


def _is_off(each: Adapted, square: float) -> bool:
    """Whether an update is more than the rounding of its own parameters, DoRA's lengths for one."""
    eps = max((torch.finfo(p.dtype).eps for p in each.parameters()), default=0.0)
    return square != 0 and not square <= (4 * eps) ** 2 * (base_square(each) or 0.0)


def compute_lora_deltas(model: nn.Module, initial: LoraStart) -> list[dict[str, Any]]:
    """Return `[{layer, qkv, mlp, delta_norm, ...}]`, one entry a layer, in order.

    Norms are ||dW||_F of the effective update, over a layer the root of the sum of squares. Where no
    such module is adapted `qkv` and `mlp` are 0, and the other kinds None. Empty without LoRA.
    """
    readings = read_modules(adapted(model), initial)
    layers = [msgspec.to_builtins(layer) for layer in layers_of(readings)]
    return [{**layer, "qkv": layer["qkv"] or 0.0, "mlp": layer["mlp"] or 0.0} for layer in layers]


def read_modules(found: Sequence[Adapted], initial: LoraStart) -> list[ModuleReading]:
    """Measure adapted modules against `initial`, in the given order."""
    low = [each for each in found if isinstance(each, LowRank)]
    by_name = dict(
        zip([x.name for x in low], sizes([_moved(x, initial) for x in low]), strict=True)
    )
    rest = [each for each in found if not isinstance(each, LowRank)]
    whole = to_host([each.square() for each in rest])
    norms = dict(zip([each.name for each in rest], whole, strict=True))
    readings = []
    for each in found:
        size = by_name.get(each.name)
        reading = ModuleReading(
            name=each.name,
            place=each.place,
            square=size.square if size else norms[each.name],
            base_square=initial.base_square(each),
        )
        if size:
            reading.spectral, reading.rank, reading.rank_of = size.spectral, size.rank, size.of
        readings.append(reading)
    return readings


def layers_of(readings: Iterable[ModuleReading]) -> list[Layer]:
    """Sum up modules by layer and kind; ordered by stack and layer."""
    by_layer: dict[tuple[str, int], list[ModuleReading]] = {}
    for reading in readings:
        by_layer.setdefault((reading.place.stack, reading.place.layer), []).append(reading)
    several = len({stack for stack, _ in by_layer if stack}) > 1
    total = _known_sum(reading.impact for found in by_layer.values() for reading in found)
    layers = []
    for (stack, index), found in sorted(by_layer.items()):
        parts = {
            kind: Part(norm=_norm(some), **_together(some, total))
            for kind in KINDS
            if (some := [reading for reading in found if reading.place.kind == kind])
        }
        layers.append(
            Layer(
                stack=stack if several else "",
                layer=index,
                **_norms(parts),
                delta_norm=_norm(found),
                parts=parts,
                **_together(found, total),
            )
        )
    return layers


def _moved(each: LowRank, initial: LoraStart) -> Read:
    """How to read the factors of a module's movement since the start."""
    if not initial.not_at_zero(each):
        return each.product

    def read() -> Product:
        return Product(*joined([_since(each, x, initial) for x in each.adapters]))

    return read


def _since(each: LowRank, adapter: str, initial: LoraStart) -> Pair:
    """One adapter's movement, as factors."""
    now, before = each.factors_of(adapter), initial.factors.get((each.name, adapter))
    if before is None or before[0].shape != now[0].shape:  # made anew with another rank
        return now
    b, a, _ = difference(now, (_beside(before[0], now[0]), _beside(before[1], now[1])))
    return b, a


def _beside(stored: Tensor, now: Tensor) -> Tensor:
    return stored.to(now.device, torch.promote_types(stored.dtype, now.dtype))


def _together(found: Sequence[ModuleReading], total_impact: float | None) -> dict[str, Any]:
    """The fields of a `Reading` over some modules."""
    base, impact = _sum(x.base_square for x in found), _known_sum(x.impact for x in found)
    grad = _sum(x.grad_square for x in found)
    ranked = [x for x in found if x.rank is not None]
    return {
        "relative": _ratio(sum(x.square for x in found), base),
        "spectral": _largest([x.spectral for x in found if x.spectral is not None]),
        "rank": _mean([x.rank for x in ranked]),
        "rank_of": _mean([x.rank_of for x in ranked]),
        "speed": _ratio(_sum(x.speed_square for x in found), base),
        "impact": impact,
        "impact_share": impact / total_impact if impact is not None and total_impact else None,
        "grad": None if grad is None else math.sqrt(grad),
        "state": max((x.state for x in found), key=WORST.__getitem__),
    }


def _norms(parts: dict[str, Part]) -> dict[str, Any]:
    return {kind: part.norm for kind, part in parts.items()}


def _norm(found: Iterable[ModuleReading]) -> float:
    return math.sqrt(sum(reading.square for reading in found))


def _sum(values: Iterable[float | None]) -> float | None:
    """The sum, None where any part is unknown."""
    known = list(values)
    return None if not known or None in known else sum(x for x in known if x is not None)


def _known_sum(values: Iterable[float | None]) -> float | None:
    """The sum of what is known; None where nothing is."""
    return _sum([value for value in values if value is not None])


def _mean(values: Sequence[float | None]) -> float | None:
    total = _sum(values)
    return None if total is None else total / len(values)


def _largest(values: Sequence[float]) -> float | None:
    """The maximum; NaN where any is."""
    return math.nan if any(map(math.isnan, values)) else max(values, default=None)


def _ratio(square: float | None, base: float | None) -> float | None:
    return math.sqrt(square / base) if square is not None and base else None
