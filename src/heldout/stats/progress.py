"""From evaluations of one fixed set to: better, flat or worse, and which checkpoint to keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heldout.stats.best import Best, best
from heldout.stats.change import MARGIN, WINDOW, Change, last_change, slow_rise
from heldout.stats.groups import Groups
from heldout.stats.tied import tied_set
from heldout.stats.trend import Slope, slope

__all__ = ["MARGIN", "WINDOW", "Progress", "progress"]

SLOPE_WINDOW = 5
"""The slope is over this many evaluations: the fewest whose t quantile (3.2) no longer dwarfs the
normal 1.96 (with 3 it is 12.7), so the slope stays that of the present."""
ECE_RISE = 1.2
"""The calibration drift of the contract: ECE more than 20 % above its best."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Progress:
    """What the evaluations so far say; indices count evaluations from 0."""

    change: Change
    slope: Slope | None
    """Over the last `SLOPE_WINDOW` evaluations, by step; None before the third."""
    best: Best | None
    tied: list[int]
    ece_rise: bool

    def facts(self, steps: Sequence[int]) -> dict[str, Any]:
        """The contract's conclusions by their promised names; `steps` are those of the evaluations."""
        return {
            **self.change.facts(),
            "em_reference": steps[self.change.reference],
            "em_slope": self.slope.slope if self.slope else None,
            "em_slope_low": self.slope.low if self.slope else None,
            "em_slope_high": self.slope.high if self.slope else None,
            "em_slope_since": steps[-SLOPE_WINDOW:][0] if self.slope else None,
            "best_em": self.best.score if self.best else None,
            "best_em_corrected": self.best.corrected if self.best else None,
            "best_em_step": steps[self.best.index] if self.best else None,
            "ece_rise": self.ece_rise,
        }


def progress(
    correct_KN: NDArray[np.bool_],
    ece_K4: NDArray[np.float64],
    margin: float = MARGIN,
    *,
    steps: Sequence[int] | None = None,
    groups_N: Groups = None,
    pinned: int | None = None,
) -> Progress:
    """Judge K >= 1 evaluations of the same N examples, oldest first.

    `ece_K4` holds each one's ECE, the ends of its interval, and what chance alone would show. A
    plateau by two evaluations that the slope of the last `SLOPE_WINDOW` shows to be a slow rise is
    called improving.

    `groups_N` numbers the examples that belong together (`number_groups`), and `pinned` is the
    index of the evaluation to compare with, where one is wanted (`last_change`). Without `steps`
    there is no slope.
    """
    scores_KN = correct_KN.astype(np.float64)
    recent = None if steps is None else list(steps)[-SLOPE_WINDOW:]
    change = last_change(correct_KN, margin, groups_N, pinned)
    trend = slope(scores_KN[-SLOPE_WINDOW:], recent, groups_N) if recent else None
    if pinned is None and change.trend == "plateau" and trend is not None and trend.low > 0:
        change = slow_rise(correct_KN, SLOPE_WINDOW, groups_N)
    return Progress(
        change=change,
        slope=trend,
        best=best(scores_KN, groups_N),
        tied=tied_set(scores_KN, groups_N=groups_N),
        ece_rise=_ece_rise(ece_K4),
    )


def _ece_rise(ece_K4: NDArray[np.float64]) -> bool:
    """True when the last ECE is 20 % above the best, by more than its null and both intervals allow."""
    known = ece_K4[np.isfinite(ece_K4[:, 0])]
    if len(ece_K4) < 2 or not len(known):
        return False
    best, last = known[known[:, 0].argmin()], ece_K4[-1]
    apart = last[1] > best[2] and last[0] - best[0] > last[3]
    return bool(last[0] > ECE_RISE * best[0] and apart)
