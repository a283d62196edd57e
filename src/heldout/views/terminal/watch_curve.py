"""Curves in characters: braille dots for lines over steps, blocks for a short trend.

Every dot column holds the lowest and the highest value of its steps, so no spike is lost, and a value
that is not finite is a ✕ at its step, never a bridged line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCKS = "▁▂▃▄▅▆▇█"
NOT_FINITE = "✕"
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of the braille dot at [row][column] of a cell."""
LOG_FROM = 30.0
"""The largest over the smallest value from which an axis is logarithmic, where all are above 0."""


def sparkline(values: Sequence[float], width: int) -> str:
    """Return the last `width` values as blocks, lowest to highest; "" for fewer than two."""
    shown = list(values)[-max(0, width) :] if width > 0 else []
    known = [value for value in shown if math.isfinite(value)]
    if len(shown) < 2 or not known:
        return ""
    low, span = min(known), max(known) - min(known)

    def block(value: float) -> str:
        if not math.isfinite(value):
            return NOT_FINITE
        return BLOCKS[round((value - low) / span * (len(BLOCKS) - 1)) if span > 0 else 3]

    return "".join(map(block, shown))


def bar(share: float, width: int) -> str:
    """Return a bar of `share` of `width` characters, to the eighth; nothing for no number."""
    if not share > 0:
        return ""
    eighths = round(min(share, 1.0) * width * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def is_log(values: Floats) -> bool:
    """Whether the axis of these values is logarithmic."""
    known = values[np.isfinite(values)]
    return len(known) > 0 and known.min() > 0 and bool(known.max() / known.min() >= LOG_FROM)


def curve(
    steps: Ints, values: Floats, marks: Ints, width: int, height: int, style: str
) -> list[Text]:
    """Return `height` lines of `width` columns: the curve, its axes, and a ✕ at each of `marks`.

    `steps` ascend. Nothing to draw gives one line that says so.
    """
    finite = np.isfinite(values)
    if not finite.any():
        return [Text("no finite value to draw", style="dim", no_wrap=True)]
    low, high = float(values[finite].min()), float(values[finite].max())
    log = is_log(values)
    labels = [_label(high), _label(low)]
    last = f"{steps[-1]:,}"
    gutter = max(map(len, [*labels, f"{steps[0]:,}"])) + 1
    columns, rows = max(4, width - gutter - len(last) - 1), max(1, height - 1)
    first, span = int(steps[0]), max(1, int(steps[-1] - steps[0]))
    heights = _heights(np.log(np.where(finite, values, 1.0)) if log else values, finite, rows * 4)
    places = (steps - first) * (columns * 2 - 1) // span
    cells = _cells(places, heights, finite, columns, rows)
    lines = []
    for row, text in enumerate(cells):
        label = labels[0] if row == 0 else labels[1] if row == rows - 1 else ""
        if high == low:
            label = labels[0] if row == rows // 2 else ""
        lines.append(Text.assemble((f"{label:>{gutter - 1}} ", "dim"), (text, style), no_wrap=True))
    axis = Text.assemble((f"{steps[0]:>{gutter - 1},} ", "dim"), no_wrap=True)
    crossed = set(((marks - first) * (columns * 2 - 1) // span // 2).tolist()) if len(marks) else {}
    for column in range(columns):
        axis.append(*((NOT_FINITE, "bold red") if column in crossed else ("─", "dim")))
    return [*lines, axis.append(f" {last}", "dim")]


def _heights(values: Floats, finite: NDArray[np.bool_], dots: int) -> Ints:
    """The dot row of each value, 0 at the bottom; 0 where it is not finite."""
    known = values[finite]
    low, span = known.min(), float(known.max() - known.min())
    if not span > 0:
        return np.full(len(values), (dots - 1) // 2, dtype=np.int64)
    scaled = np.where(finite, values, low) - low
    found: Ints = np.rint(scaled / span * (dots - 1)).astype(np.int64)
    return found


def _cells(
    places: Ints, heights: Ints, finite: NDArray[np.bool_], columns: int, rows: int
) -> list[str]:
    """The rows of braille characters, top first."""
    dots = np.zeros((rows * 4, columns * 2), dtype=bool)
    pieces = np.cumsum(~finite)  # no line joins two points of different pieces
    before: tuple[int, int, int] | None = None
    keep = np.flatnonzero(finite)
    edges = np.flatnonzero(np.diff(places[keep])) + 1
    for part in np.split(keep, edges):
        place, own = int(places[part[0]]), heights[part]
        dots[own.min() : own.max() + 1, place] = True
        if before is not None and before[2] == pieces[part[0]]:
            _join(dots, before[0], before[1], place, int(own[0]))
        before = place, int(own[-1]), int(pieces[part[-1]])
    bits = np.zeros((rows, columns), dtype=np.int64)
    for row, pair in enumerate(DOTS):
        for column, bit in enumerate(pair):
            bits += bit * dots[::-1][row::4, column::2]
    return ["".join(chr(0x2800 + cell) if cell else " " for cell in line) for line in bits]


def _join(dots: NDArray[np.bool_], x0: int, y0: int, x1: int, y1: int) -> None:
    """Set the dots of the line between two points, each column from where the last one ended."""
    last = y0
    for x in range(x0 + 1, x1 + 1):
        y = round(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
        dots[min(last, y) : max(last, y) + 1, x] = True
        last = y


def _label(value: float) -> str:
    return f"{value:.3g}"
