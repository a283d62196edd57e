"""What a reading of the adapted layers comes to: by kind of module, by trouble, and over time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, get_args

import numpy as np

from heldout.derive.depth import is_relative
from heldout.records import Layer, Layers, LayerState, Part

KINDS = ("qkv", "o", "mlp", "other")
MOST_TROUBLES = 20
POINTS = 60
MEANINGS: dict[LayerState, str] = {
    "blow-up": "not finite, or moved further than its own size while the loss rose",
    "rounding": "half precision swallows its updates",
    "stalled": "moved less than 1 % of its peers",
    "no-gradient": "no gradient ever reached it",
    "frozen": "not trained",
}
"""What each state but "ok" says of a module, in one clause."""
_WORST = {state: i for i, state in enumerate(reversed(get_args(LayerState)))}


def parts(layer: Layer) -> dict[str, Part]:
    """Return a layer's readings by kind; of a journal without them, the norms alone."""
    if layer.parts:
        return layer.parts
    norms = {kind: getattr(layer, kind) for kind in KINDS}
    return {kind: Part(norm=norm) for kind, norm in norms.items() if norm is not None}


def kinds(reading: Layers) -> list[dict[str, Any]]:
    """Return `{kind, norm, impact, share}` of each kind over the whole model.

    `norm` is the root of the sum of squares over layers; `impact` a sum in nats and `share` its part
    of the model's, None where either is unknown in a layer that has the kind.
    """
    found: dict[str, list[Part]] = {}
    for layer in reading.layers:
        for kind, part in parts(layer).items():
            found.setdefault(kind, []).append(part)
    return [
        {
            "kind": kind,
            "norm": math.hypot(*(part.norm for part in found[kind])),
            "impact": _sum(part.impact for part in found[kind]),
            "share": _sum(part.impact_share for part in found[kind]),
        }
        for kind in sorted(found, key=(*KINDS, *found).index)
    ]


def troubles(reading: Layers, most: int = MOST_TROUBLES) -> list[dict[str, str]]:
    """Return `{module, state, meaning}` of the modules that are not ok, worst first."""
    found = sorted(reading.troubles.items(), key=lambda item: _WORST[item[1]])
    return [
        {"module": module, "state": state, "meaning": MEANINGS.get(state, "")}
        for module, state in found[:most]
    ]


def states(reading: Layers) -> list[dict[str, Any]]:
    """Return `{state, meaning, modules}` of each state but ok, worst first; `modules` is a count."""
    counts = Counter(reading.troubles.values())
    return [
        {"state": state, "meaning": MEANINGS.get(state, ""), "modules": counts[state]}
        for state in sorted(counts, key=_WORST.__getitem__)
    ]


def over_time(readings: Sequence[Layers], chosen: Iterable[Layer]) -> dict[str, Any]:
    """Return `{steps, layers: [{stack, layer, moved, impact_share}]}` for small curves.

    At most `POINTS` readings, evenly chosen, the first and the latest among them. `moved` is
    ||dW|| / ||W0|| where that compares, else ||dW||; None where a layer was not read.
    """
    read = [reading for reading in readings if reading.layers]
    if not read:
        return {"steps": [], "layers": []}
    relative = is_relative(read[-1].layers)
    places = np.linspace(0, len(read) - 1, min(POINTS, len(read))).round().astype(int)
    kept = [read[i] for i in places.tolist()]
    rows = [{(layer.stack, layer.layer): layer for layer in reading.layers} for reading in kept]
    curves = []
    for stack, index in dict.fromkeys((layer.stack, layer.layer) for layer in chosen):
        found = [row.get((stack, index)) for row in rows]
        curves.append(
            {
                "stack": stack,
                "layer": index,
                "moved": [x and (x.relative if relative else x.delta_norm) for x in found],
                "impact_share": [x and x.impact_share for x in found],
            }
        )
    return {"steps": [reading.step for reading in kept], "layers": curves}


def _sum(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if None in known else sum(x for x in known if x is not None)
