"""Series as a page gets them: thinned so that no spike is lost, in few bytes."""

from __future__ import annotations

from typing import Any

import numpy as np

from heldout.derive.history import History

BUCKETS = 400
"""Runs of points that a series is thinned to, each with its lowest and highest: more than a point for
each pixel column of a panel. A zoom asks again."""
DIGITS = 6
"""Significant digits of a thinned value; one that stands for itself alone has all of them."""


def thinned(
    history: History, first: int | None = None, last: int | None = None
) -> dict[str, dict[str, Any]]:
    """Return every series between two steps, both included, as `{steps, values}`.

    `steps` holds the first step and then the distance of each from the one before.
    """
    found = {}
    for name, series in history.columns.series.items():
        steps, values = series.minmax(BUCKETS, first, last)
        whole = len(values) <= 2 * BUCKETS
        found[name] = {
            "steps": np.diff(steps, prepend=0).tolist(),
            "values": values.tolist() if whole else [_short(value) for value in values.tolist()],
        }
    return found


def is_thinned(history: History) -> bool:
    """Whether some series has points that `thinned` leaves out."""
    return any(len(series) > 2 * BUCKETS for series in history.columns.series.values())


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
