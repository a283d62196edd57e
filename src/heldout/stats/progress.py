"""From evaluations of one fixed set to: better, flat or worse, and which checkpoint to keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from heldout.stats.intervals import CONFIDENCE, bonett_price, detectable, spent_confidence
from heldout.stats.tied import tied_set

MARGIN = 0.01
"""Changes in exact match smaller than this do not matter; a plateau is an interval inside it."""
WINDOW = 2
"""The trend compares with this many evaluations ago; a plateau so needs three in a row."""
ECE_RISE = 1.2
"""The calibration drift of the contract: ECE more than 20 % above its best."""

Trend = Literal["improving", "plateau", "regressing", "inconclusive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What the evaluations so far say; indices count evaluations from 0."""

    trend: Trend
    change: float
    change_low: float
    change_high: float
    confidence: float
    """Of the interval `change_low` to `change_high`, which decided the trend."""
    reference: int
    detectable: float
    tied: list[int]
    ece_rise: bool

    def facts(self, steps: Sequence[int]) -> dict[str, Any]:
        """The contract's conclusions by their promised names; `steps` are those of the evaluations."""
        return {
            "em_trend": self.trend,
            "em_change": self.change,
            "em_change_low": self.change_low,
            "em_change_high": self.change_high,
            "em_change_confidence": self.confidence,
            "em_reference": steps[self.reference],
            "detectable": self.detectable,
            "ece_rise": self.ece_rise,
        }


def progress(
    correct_KN: NDArray[np.bool_],
    ece_K: NDArray[np.float64],
    ece_null_K: NDArray[np.float64],
    margin: float = MARGIN,
) -> Progress:
    """Judge K >= 1 evaluations of the same N examples, oldest first.

    The trend is the paired change of the last evaluation against the one `WINDOW` before it, never
    against the best so far, which chance alone picks. Plateau: the 95 % interval lies inside
    +-margin, over a full window. Improving or regressing: the interval excludes zero at the level
    that `spent_confidence` allows for this look. Else inconclusive: the set is too small to say.
    """
    looks, n = len(correct_KN) - 1, correct_KN.shape[1]
    reference = max(0, looks - WINDOW)
    now, then = correct_KN[-1], correct_KN[reference]
    b, c = int((now & ~then).sum()), int((~now & then).sum())
    trend, confidence = _trend(b, c, n, looks, margin)
    low, high = bonett_price(b, c, n, confidence)
    return Progress(
        trend=trend,
        change=(b - c) / n if n else 0.0,
        change_low=low,
        change_high=high,
        confidence=confidence,
        reference=reference,
        detectable=detectable(b, c, n, confidence),
        tied=tied_set(correct_KN.astype(np.float64)),
        ece_rise=_ece_rise(ece_K, ece_null_K),
    )


def _trend(b: int, c: int, n: int, looks: int, margin: float) -> tuple[Trend, float]:
    """The trend, and the confidence of the interval that decided it."""
    low, high = bonett_price(b, c, n)
    if looks >= WINDOW and -margin < low and high < margin:
        return "plateau", CONFIDENCE
    if looks == 0:
        return "inconclusive", CONFIDENCE
    spent = spent_confidence(looks)
    low, high = bonett_price(b, c, n, spent)
    return ("improving" if low > 0 else "regressing" if high < 0 else "inconclusive"), spent


def _ece_rise(ece_K: NDArray[np.float64], ece_null_K: NDArray[np.float64]) -> bool:
    """True when the last ECE is 20 % above the best and the rise is more than its own null."""
    if len(ece_K) < 2:
        return False
    best = float(np.nanmin(ece_K)) if np.isfinite(ece_K).any() else float("nan")
    return bool(ece_K[-1] > ECE_RISE * best and ece_K[-1] - best > ece_null_K[-1])
