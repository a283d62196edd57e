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
from heldout.signals.adapters import Adapted, LowRank, adapted, base_square
from heldout.signals.lowrank import Pair, Product, Read, difference, sizes, squares
from heldout.signals.moment import Start, to_host
from heldout.signals.places import KINDS, Place

START_NAME = "lora_start.pt"
"""In the run's folder: B0, A0 by module of the adapters that did not start at zero."""
WORST = {state: i for i, state in enumerate(get_args(LayerState))}
"""States from harmless to worst."""


@dataclass(slots=True)
class LoraStart:
    """The adapters as training found them: B0, A0 where B A is not zero, and ||W0||_F^2 by module."""

    factors: dict[str, Pair] = field(default_factory=dict)
    base_squares: dict[str, float] = field(default_factory=dict)
    moved: set[str] = field(default_factory=set)
    """Modules read as a whole whose update was not zero then: their change is not known."""


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
    their factors. Reads the frozen weights once for ||W0|| (0.4 s per 100 M on two cores).
    """
    found = adapted(model)
    low = [each for each in found if isinstance(each, LowRank)]
    pairs = {}
    for each, square in zip(low, squares([each.product for each in low]), strict=True):
        if square != 0:
            b, a = each.factors()
            pairs[each.name] = b.clone(), a.clone()
    whole = [each for each in found if not isinstance(each, LowRank)]
    at_start = zip(whole, to_host([each.square() for each in whole]), strict=True)
    return _start(found, pairs, {each.name for each, square in at_start if _is_off(each, square)})


def start_of_run(start: Start) -> tuple[LoraStart, str]:
    """Where the run's adapters started, also for a resumed run, and a note where that is lost.

    The factors of those that did not start at zero are kept in the run's folder.
    """
    path = start.folder / START_NAME
    if start.step and (kept := _kept(path)):
        return _start(adapted(start.model), kept["factors"], set(kept["moved"])), ""
    captured = capture_lora_initial_state(start.model)
    if start.step:
        return captured, f"movement since step {start.step}: where the adapters started is lost"
    try:
        with path.open("wb") as file:
            torch.save({"factors": captured.factors, "moved": sorted(captured.moved)}, file)
    except OSError as error:
        return captured, f"where the adapters start could not be kept for a resume: {error}"
    return captured, ""


def _is_off(each: Adapted, square: float) -> bool:
    """Whether an update is more than the rounding of its own parameters, DoRA's lengths for one."""
    eps = max((torch.finfo(p.dtype).eps for p in each.parameters()), default=0.0)
    return not square <= (4 * eps) ** 2 * (base_square(each) or 0.0)


def _kept(path: Path) -> dict[str, Any] | None:
    """What an earlier attempt kept; None where there is nothing that can be read."""
    try:
        kept: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, UnpicklingError):
        return None
    return kept


def _start(found: Sequence[Adapted], pairs: dict[str, Pair], moved: set[str]) -> LoraStart:
    bases = {each.name: base_square(each, pairs.get(each.name)) for each in found}
    known = {name: square for name, square in bases.items() if square is not None}
    return LoraStart(factors=pairs, base_squares=known, moved=moved)


def compute_lora_deltas(model: nn.Module, initial: LoraStart) -> list[dict[str, Any]]:
    """Return `[{layer, qkv, mlp, delta_norm, ...}]`, one entry a layer, in order.

    Norms are ||dW||_F of the effective update, over a layer the root of the sum of squares; `qkv`
    and the other kinds are None where no such module is adapted. Empty without LoRA.
    """
    readings = read_modules(adapted(model), initial)
    return [msgspec.to_builtins(layer) for layer in layers_of(readings)]


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
        base, size = initial.base_squares.get(each.name), by_name.get(each.name)
        reading = ModuleReading(
            name=each.name,
            place=each.place,
            square=size.square if size else norms[each.name],
            base_square=base,
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
    before = initial.factors.get(each.name)
    if before is None:
        return each.product

    def read() -> Product:
        now = each.factors()
        if before[0].shape != now[0].shape:  # another adapter is active now
            return Product(*now)
        return difference(now, (_beside(before[0], now[0]), _beside(before[1], now[1])))

    return read


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
