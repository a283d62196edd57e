"""Whether a run gets better, stays as it is, or gets worse, and what is excluded where nobody can say.

The last evaluations are compared with those before, example by example (`blocks`). Over a run one looks many
times: a plain 5 % test is wrong in most flat runs of 50 looks. So all looks share one alpha.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from heldout.stats.blocks import Contrast, contrast, price, quantile, wobble
from heldout.stats.groups import Groups
from heldout.stats.helped import speaks
from heldout.stats.paired import Paired, paired

Floats = NDArray[np.float64]

LAST, BEFORE = 4, 12
"""Evaluations compared: the last four with up to twelve before them."""
CE_LEAST = 0.02
"""A change of cross-entropy by less than this share of it, from one block to the next, is none."""

Trend = Literal["improving", "plateau", "regressing", "inconclusive"]
Motion = Literal["falling", "flat", "rising", "unclear"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Change:
    """The last evaluations against those before, and what that means."""

    trend: Trend
    last: int
    """Evaluations in the last block, and in the one `before` it; 0 where there is only one evaluation."""
    before: int
    reference: int
    """Index of the last evaluation of the block before."""
    contrast: Contrast
    z: float
    """Standard errors on either side of the interval: what all looks together cost."""
    comparisons: int
    margin: float
    """The change too small to matter: as asked for, or what this set can show."""
    speaks: bool
    """Whether exact match could tell; where it cannot, cross-entropy decides."""
    ce: Contrast | None
    ce_motion: Motion
    pair: Paired
    """The last evaluation against the one at `reference`."""

    @property
    def low(self) -> float:
        """The lower end of the change in exact match, at -1 where nothing is known."""
        return max(-1.0, self.contrast.interval(self.z)[0])

    @property
    def high(self) -> float:
        """The upper end of the change in exact match, at 1 where nothing is known."""
        return min(1.0, self.contrast.interval(self.z)[1])

    @property
    def detectable(self) -> float:
        """The smallest change that this comparison would show in 80 % of cases."""
        return min(1.0, self.contrast.detectable(self.z))

    @property
    def p(self) -> float:
        """The two-sided p of the change times what the looks cost, so .05 means the same at each."""
        z = abs(self.contrast.change) / self.contrast.error
        return min(1.0, self.comparisons * 2 * (1 - NormalDist().cdf(z)))

    def facts(self) -> dict[str, Any]:
        """The change by its promised names, without the reference, which has a step."""
        ce_low, ce_high = self.ce.interval(self.z) if self.ce else (None, None)
        return {
            "em_trend": self.trend,
            "em_change": self.contrast.change,
            "em_change_low": self.low,
            "em_change_high": self.high,
            "em_change_confidence": 2 * NormalDist().cdf(self.z) - 1,
            "em_change_p": self.p,
            "em_last": self.last,
            "em_before": self.before,
            "em_learned": self.pair.learned,
            "em_forgotten": self.pair.forgotten,
            "em_speaks": self.speaks,
            "ce_trend": self.ce_motion,
            "ce_change": self.ce.change if self.ce else None,
            "ce_change_low": ce_low,
            "ce_change_high": ce_high,
            "margin": self.margin,
            "detectable": self.detectable,
        }


def last_change(
    score_KN: Floats,
    ce_KN: Floats,
    *,
    margin: float | None = None,
    planned: int = 0,
    groups_N: Groups = None,
    pinned: int | None = None,
) -> Change:
    """Judge the last of K >= 1 evaluations of the same N examples, oldest first; cross-entropies are finite.

    Improving and regressing are said where the interval of the change excludes 0, widened for all
    the looks `planned` and for checkpoints that truly wobble, and the last block is still a standard
    error beyond the one just before it: a rise that is over is none. A fall is also sought against that
    one alone, so that an earlier rise does not hide it, and the last evaluation must be low by itself. A
    plateau is an interval inside the `margin` (None: what this set can show) while cross-entropy does
    not surely fall. Where exact match cannot tell, it is a plateau only where cross-entropy is surely
    flat and does not fall however slowly. The rest is inconclusive, and its interval says what is
    excluded. With `pinned`, the index of an evaluation, the last one is compared with that one alone.
    """
    looks = len(score_KN)
    comparisons = price(looks, planned)
    z, jitter = quantile(comparisons), wobble(score_KN, groups_N)
    last, before, reference = _sizes(looks, pinned)
    if pinned is None and last:
        found, before = _sure(score_KN, last, before, z, groups_N, jitter)
    else:
        found = _between(score_KN, reference, last or 1, before or 1, groups_N, jitter)
    near = before if pinned is not None else last  # long ago it fell in every run
    ce = None
    if last:
        first = max(0, reference + 1 - near)
        ce = contrast(ce_KN[first : reference + 1], ce_KN[-last:], groups_N, whole=0.0)
    motion = _motion(ce, ce_KN, reference, near, z)
    can_tell = speaks(score_KN)
    limit = min(1.0, found.detectable(z)) if margin is None else margin
    low, high = found.interval(z)
    trend: Trend = "inconclusive"
    if not last:
        pass
    elif not can_tell or not _moved(score_KN, reference, last, before):
        can_tell = False
        falls = ce is not None and ce.interval(z)[1] < 0  # however slowly
        trend = "plateau" if motion == "flat" and not falls else trend
    elif low > 0:
        trend = "improving"
    elif high < 0:
        low_yet = _still_low(score_KN, reference, before, groups_N, jitter)
        trend = "regressing" if low_yet else trend
    elif -limit < low and high < limit and motion != "falling":
        trend = "plateau"
    return Change(
        trend=trend,
        last=last,
        before=before if last else 0,
        reference=reference,
        contrast=found,
        z=z,
        comparisons=comparisons,
        margin=limit,
        speaks=can_tell,
        ce=ce,
        ce_motion=motion,
        pair=paired(score_KN[reference] > 0.5, score_KN[-1] > 0.5, groups_N),
    )


def _sizes(looks: int, pinned: int | None) -> tuple[int, int, int]:
    """How many evaluations the two blocks hold, and the index of the last one before."""
    if pinned is not None:
        reference = min(pinned, looks - 1)
        return int(reference < looks - 1), 1, reference
    last = min(LAST, looks // 2)
    return last, min(BEFORE, looks - last), looks - 1 - last


def _between(
    rows_KN: Floats, reference: int, last: int, before: int, groups_N: Groups, jitter: float
) -> Contrast:
    first = max(0, reference + 1 - before)
    return contrast(rows_KN[first : reference + 1], rows_KN[-last:], groups_N, jitter)


def _sure(
    score_KN: Floats, last: int, before: int, z: float, groups_N: Groups, jitter: float
) -> tuple[Contrast, int]:
    """The comparison that decides, and how many evaluations its earlier block holds."""
    reference = len(score_KN) - 1 - last
    far = _between(score_KN, reference, last, before, groups_N, jitter)
    near = _between(score_KN, reference, last, last, groups_N, jitter)
    rose, fell = far.change > z * far.error, far.change < -z * far.error
    over = (rose and near.change < near.error) or (fell and near.change > near.error)
    falls = near.interval(z)[1] < 0
    return (near, last) if over or (falls and not fell) else (far, before)


def _still_low(
    score_KN: Floats, reference: int, before: int, groups_N: Groups, jitter: float
) -> bool:
    """Whether the last evaluation by itself lies below the block before: one bad one is no decline."""
    alone = _between(score_KN, reference, 1, before, groups_N, jitter)
    return alone.change < -alone.error


def _moved(score_KN: Floats, reference: int, last: int, before: int) -> bool:
    """Whether any example of the evaluations compared changed."""
    first = max(0, reference + 1 - before)
    compared_KN = np.concatenate([score_KN[first : reference + 1], score_KN[-last:]])
    return bool((compared_KN != compared_KN[0]).any())


def _motion(ce: Contrast | None, ce_KN: Floats, reference: int, before: int, z: float) -> Motion:
    """What cross-entropy does: a share of `CE_LEAST` or more that the interval is sure of, or surely less."""
    if ce is None or not ce_KN.size:
        return "unclear"
    least = CE_LEAST * float(ce_KN[max(0, reference + 1 - before) : reference + 1].mean())
    low, high = ce.interval(z)
    if high < 0 and ce.change <= -least:
        return "falling"
    if low > 0 and ce.change >= least:
        return "rising"
    return "flat" if -least <= low and high <= least else "unclear"
