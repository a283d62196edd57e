"""Whether the last of several evaluations of one fixed set is better, as good, or worse.

Over a run one looks many times. Against a fixed evaluation a plain 5 % test is wrong in most flat
runs of 50 looks, and against the best so far in all of them, since chance alone picks the best.
So each look spends its part of alpha, and a comparison chosen among several pays for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from heldout.stats.groups import Groups
from heldout.stats.intervals import CONFIDENCE, spent_confidence
from heldout.stats.paired import Paired, paired

MARGIN = 0.01
"""Changes in exact match smaller than this do not matter; a plateau is an interval inside it."""
WINDOW = 2
"""The trend compares with this many evaluations ago; a plateau so needs three in a row."""

Trend = Literal["improving", "plateau", "regressing", "inconclusive"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Change:
    """The last evaluation against the one at index `reference`, and what that means."""

    trend: Trend
    reference: int
    confidence: float
    """Of the interval that decided the trend."""
    pair: Paired

    def facts(self) -> dict[str, Any]:
        """The change by its promised names, without the reference, which has a step."""
        low, high = self.pair.interval(self.confidence)
        return {
            "em_trend": self.trend,
            "em_change": self.pair.change,
            "em_change_low": low,
            "em_change_high": high,
            "em_change_confidence": self.confidence,
            "em_change_p": self.p,
            "em_learned": self.pair.learned,
            "em_forgotten": self.pair.forgotten,
            "detectable": self.pair.detectable(self.confidence),
        }

    @property
    def p(self) -> float | None:
        """McNemar's p times what the looks cost, so .05 means the same at each; None with groups."""
        price = (1 - CONFIDENCE) / (1 - self.confidence)
        return None if self.pair.p is None else min(1.0, price * self.pair.p)


def last_change(
    correct_KN: NDArray[np.bool_],
    margin: float = MARGIN,
    groups_N: Groups = None,
    pinned: int | None = None,
) -> Change:
    """Judge the last of K >= 1 evaluations of the same N examples, oldest first.

    Against the evaluation `WINDOW` before, which is not chosen by its score: plateau when the 95 %
    interval of the paired change lies inside +-margin over a full window; else improving or
    regressing when the interval at the level `spent_confidence` allows for this look excludes zero;
    else inconclusive. A run that is not improving there is also regressing when it is below any
    earlier evaluation, by an interval at that level divided by their number (a union bound), so that
    a slow decline is caught. In a flat run "improving" is ever said with probability alpha / 2 at
    most and "regressing" with alpha: half of it here, half there. What the intervals do not know is
    a checkpoint that is truly worse by luck of its last steps: it is called worse.

    With `pinned`, the index of an evaluation, that one is the only reference; before it, the last.
    """
    last = len(correct_KN) - 1
    spent = 1 - spent_confidence(max(last, 1))
    if pinned is not None:
        return _against(correct_KN, min(pinned, last), spent, margin, groups_N)
    found = _against(correct_KN, max(0, last - WINDOW), spent, margin, groups_N)
    if found.trend in ("improving", "regressing"):
        return found
    return _fall(correct_KN, spent / max(last, 1), margin, groups_N) or found


def slow_rise(correct_KN: NDArray[np.bool_], window: int, groups_N: Groups = None) -> Change:
    """The change over the last `window` evaluations, which somebody has found to be a rise."""
    reference = max(0, len(correct_KN) - window)
    pair = paired(correct_KN[reference], correct_KN[-1], groups_N)
    return Change(trend="improving", reference=reference, confidence=CONFIDENCE, pair=pair)


def _against(
    correct_KN: NDArray[np.bool_], reference: int, alpha: float, margin: float, groups_N: Groups
) -> Change:
    """The last evaluation against the one at `reference`, which was chosen beforehand."""
    pair = paired(correct_KN[reference], correct_KN[-1], groups_N)
    since = len(correct_KN) - 1 - reference
    trend: Trend = "inconclusive"
    if not since or _inside(pair, margin):
        trend = "plateau" if since >= WINDOW else trend
        return Change(trend=trend, reference=reference, confidence=CONFIDENCE, pair=pair)
    low, high = pair.interval(1 - alpha)
    trend = "improving" if low > 0 else "regressing" if high < 0 else trend
    return Change(trend=trend, reference=reference, confidence=1 - alpha, pair=pair)


def _fall(
    correct_KN: NDArray[np.bool_], alpha: float, margin: float, groups_N: Groups
) -> Change | None:
    """The surest fall since any earlier evaluation at the level `alpha` each, if there is one."""
    score_K = correct_KN.sum(axis=1)
    falls = []
    for reference in np.flatnonzero(score_K > score_K[-1]).tolist():
        pair = paired(correct_KN[reference], correct_KN[-1], groups_N)
        _, high = pair.interval(1 - alpha)
        if high < 0 and not _inside(pair, margin):
            falls.append((high, reference, pair))
    if not falls:
        return None
    _, reference, pair = min(falls, key=lambda fall: fall[:2])
    return Change(trend="regressing", reference=reference, confidence=1 - alpha, pair=pair)


def _inside(pair: Paired, margin: float) -> bool:
    """True when the 95 % interval of the change lies inside the margin: it is surely small."""
    low, high = pair.interval()
    return -margin < low and high < margin
