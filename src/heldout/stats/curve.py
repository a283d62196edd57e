"""What a curve of held-out losses says when nothing but its numbers is known.

For logs that hold one number an evaluation and no examples: no paired test is possible, so the noise
is read off the curve itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Trend = Literal["falling", "flat", "rising"]

TIED = 0.004
"""Losses within this share of the best are tied with it, however noisy the curve."""
LEAST_GAIN = 0.01
"""A gain of less than this share of the best loss, expected over the rest of the run, is none."""
RISEN = 0.10
"""The last two losses above the best by this share, and by `SURE` times the noise, have risen."""
SURE = 4.0
SPAN = 4
"""The slope is taken over this many evaluations at least, else over the last third of them."""
WIDEST = 30
"""And over this many at most: it is a median over all pairs of them."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Held-out losses judged; indices are positions in the curve."""

    best: int
    """The lowest loss."""
    tied: list[int]
    """Those not surely worse than it, ascending."""
    noise: float
    """Standard deviation of one loss around a smooth curve; 0 where too few are known."""
    trend: Trend
    gain: float
    """Expected over the rest of the run, or over as many steps again where the total is not known, as a
    share of the best loss; NaN where too few are known."""


def noise(losses: Floats) -> float:
    """Standard deviation of one loss: 1.4826 median |second difference| / sqrt 6, blind to a linear trend.

    0 for fewer than four losses.
    """
    if len(losses) < 4:
        return 0.0
    return float(1.4826 * np.median(np.abs(np.diff(losses, 2))) / np.sqrt(6))


def judge_curve(steps: Floats, losses: Floats, total: float, falling_rate: bool) -> Curve | None:
    """Judge finite `losses` at ascending `steps` of a run of `total` steps, 0 where that is not known.

    None when there is none.

    The gain still to come is the slope of the latest losses over the steps left, halved where the
    learning rate falls to the end (`falling_rate`).
    """
    if not len(losses):
        return None
    best, sigma = int(np.argmin(losses)), noise(losses)
    scale = abs(float(losses[best]))
    near = losses <= losses[best] + min(sigma, TIED * scale)
    gain = _gain(steps, losses, total, falling_rate, scale)
    above = losses[-2:] - losses[best]
    if len(losses) > 2 and bool((above > max(RISEN * scale, SURE * sigma)).all()):
        trend: Trend = "rising"
    else:
        trend = "flat" if gain < LEAST_GAIN else "falling"
    return Curve(best, np.flatnonzero(near).tolist(), sigma, trend, gain)


def _gain(steps: Floats, losses: Floats, total: float, falling: bool, scale: float) -> float:
    if len(losses) < SPAN or not scale > 0:
        return float("nan")
    span = min(max(SPAN, len(losses) // 3), WIDEST)
    pairs = combinations(range(len(losses) - span, len(losses)), 2)
    slope = np.median([(losses[j] - losses[i]) / (steps[j] - steps[i]) for i, j in pairs])
    left = max(0.0, total - float(steps[-1])) if total else float(steps[-1])
    return float(-slope * left * (0.5 if falling else 1.0) / scale)
