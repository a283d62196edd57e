"""Where in the depth of the network the adapters moved: the top layers, and one careful sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from heldout.records import Layer, Layers

TOP = 5
READINGS = 3
STANDS_OUT = 1.25
"""A window of layers is named when its mean is this many times the median layer's, in `READINGS`
readings in a row. Ordinary runs spread 1.05 to 1.3 over depth, which says nothing."""
WINDOW_SHARE = 0.2
OUTSIDE = -1
"""The `layer` of modules outside of every stack (embeddings, head): they have no depth."""


def top_layers(reading: Layers, n: int = TOP) -> list[Layer]:
    """Return the `n` layers with the largest ||dW||_F, largest first, NaN before all."""
    finite = math.isfinite
    return sorted(reading.layers, key=lambda x: (finite(x.delta_norm), -x.delta_norm))[:n]


def top_moved(reading: Layers, n: int = TOP) -> list[Layer]:
    """Return the `n` layers that moved most in what compares (`is_relative`), NaN before all.

    A layer whose movement is unknown is left out.
    """
    relative = is_relative(reading.layers)
    found = [(x.relative if relative else x.delta_norm, x) for x in reading.layers]
    known = [(moved, x) for moved, x in found if moved is not None]
    return [x for _, x in sorted(known, key=lambda pair: (math.isfinite(pair[0]), -pair[0]))[:n]]


def top_impact(reading: Layers, n: int = TOP) -> list[Layer]:
    """Return the `n` layers the training loss depends on most, largest impact first.

    Layers whose impact is unknown or not finite are left out; [] where none is known.
    """
    found = [(x.impact, x) for x in reading.layers if x.impact is not None]
    known = [(impact, x) for impact, x in found if math.isfinite(impact)]
    return [x for _, x in sorted(known, key=lambda pair: -pair[0])[:n]]


def is_relative(layers: Sequence[Layer]) -> bool:
    """Whether every layer's movement is known as ||dW|| / ||W0||, so that these compare.

    Else only ||dW|| can be compared. Modules outside the layers decide where there is nothing else.
    """
    in_depth = [layer for layer in layers if layer.layer != OUTSIDE] or layers
    return bool(in_depth) and all(layer.relative is not None for layer in in_depth)


def stack_names(layers: Sequence[Layer]) -> dict[str, str]:
    """Return a short name for each stack: its dotted path less what all of them begin and end with.

    "model.language_model.layers" and "model.vision_tower.layers" are language_model and
    vision_tower. A path that nothing would be left of keeps every path whole.
    """
    paths = {layer.stack: layer.stack.split(".") for layer in layers if layer.stack}
    first = _shared(list(paths.values()))
    last = _shared([path[first:][::-1] for path in paths.values()])
    short = {stack: ".".join(path[first : len(path) - last]) for stack, path in paths.items()}
    return short if all(short.values()) else {stack: stack for stack in paths}


def _shared(paths: Sequence[Sequence[str]]) -> int:
    """How many parts all of several paths begin with."""
    columns = zip(*paths, strict=False) if len(paths) > 1 else ()
    same = [len(set(column)) == 1 for column in columns]
    return [*same, False].index(False)


def depth_sentence(readings: Sequence[Layers]) -> str:
    """Say which neighbouring layers moved most, or that movement is even; "" when unknown.

    Movement is ||dW|| / ||W0|| where the frozen weights are known, else ||dW||. It is not importance,
    so it is told together with the share of impact, the dependence of the training loss, that the
    same layers carry, where that is known: "only" when it is less than their share of the layers.
    """
    latest = [reading.layers for reading in readings if reading.layers][-READINGS:]
    if len(latest) < READINGS:
        return ""
    names = stack_names(latest[-1])
    stacks = dict.fromkeys(layer.stack for layer in latest[-1])
    sentences = [
        _stack_sentence(
            names.get(stack, ""), [_in_depth(layers, stack) for layers in latest], len(latest[-1])
        )
        for stack in stacks
    ]
    return "; ".join(sentence for sentence in sentences if sentence)


def _in_depth(layers: Sequence[Layer], stack: str) -> list[Layer]:
    return [layer for layer in layers if layer.stack == stack and layer.layer != OUTSIDE]


def _stack_sentence(stack: str, readings: Sequence[list[Layer]], num_layers: int) -> str:
    latest = readings[-1]
    relative = all(is_relative(layers) for layers in readings)
    rows = [_movement(layers, relative) for layers in readings]
    moved = rows[-1]
    if len(latest) < READINGS or not np.isfinite(moved).all() or not moved.min() > 0:
        return ""
    width = max(2, round(WINDOW_SHARE * len(latest)))
    start = int(np.convolve(moved, np.ones(width) / width, "valid").argmax())
    window = slice(start, start + width)
    leads = [
        row[window].mean() / np.median(row)
        for row in rows
        if len(row) == len(moved) and np.median(row) > 0
    ]
    place = f" of {stack}" if stack else ""
    if len(leads) == READINGS and all(lead >= STANDS_OUT for lead in leads):
        named = latest[window]
        how = f"Δ={_amount(moved[window].mean(), relative)}, {leads[-1]:.1f}x the median layer"
        return (
            f"layers {named[0].layer}-{named[-1].layer}{place} adapting most ({how})"
            f"{_impact(named, num_layers)}"
        )
    how = f"Δ={_amount(moved.mean(), relative)}, max/min {moved.max() / moved.min():.1f}x"
    return f"movement is even over depth{place} ({how})"


def _amount(moved: float, relative: bool) -> str:
    """Mean movement of some layers: a share of the weights they started from, or ||dW||."""
    return f"{100 * moved:.2g}%" if relative else f"{moved:.3g}"


def _movement(layers: Sequence[Layer], relative: bool) -> NDArray[np.float64]:
    moved = [layer.relative if relative else layer.delta_norm for layer in layers]
    return np.array(moved, dtype=np.float64)


def _impact(window: Sequence[Layer], num_layers: int) -> str:
    """What share of the whole model's impact the layers of `window` carry; "" where unknown."""
    share = sum(math.nan if x.impact_share is None else x.impact_share for x in window)
    if not math.isfinite(share):
        return ""
    few = share < len(window) / num_layers
    return f" {'but carry only' if few else 'and carry'} {100 * share:.0f} % of the impact"
