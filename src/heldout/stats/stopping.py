"""Whether going on is worth it: exact match surely fell, or hardly rises any more.

Found by replaying real trainings and simulated runs with the truth known (benchmarks/decisions). Widths
follow the evaluations planned: four evaluations of 40 are half as long a time as four of 20.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from heldout.stats.blocks import WOBBLE, contrast
from heldout.stats.change import CE_LEAST
from heldout.stats.groups import Groups, independent_share
from heldout.stats.helped import NOTHING, helped, speaks, unit_of

Floats = NDArray[np.float64]

RISE = 0.0175
"""A plateau may hide less of a rise than this, 1.75 points, from one fifth of the evaluations to the next."""
SURE = 0.90
"""How sure of that one is."""
FALL = 0.005
"""What a fall is worth at least: half a point below the best two evaluations."""
HELPED_Z, OWN_Z = 3.0, 1.0
"""Standard errors that exact match with the help of cross-entropy lies below its best, which was picked as
the best, and that exact match by itself does."""
FIFTHS, LEAST = 5, 3
"""A block is a fifth of the evaluations planned, and no fewer than three."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """What speaks for an end now."""

    fell: bool
    """Two evaluations in a row were surely below the best."""
    flat: bool
    """Exact match hardly rises or, where it cannot tell, cross-entropy hardly falls."""
    by: Literal["em", "ce"]
    """What `flat` was judged by."""
    width: int
    """Evaluations in each of the blocks that a plateau compares; 0 where there were too few."""
    most: float
    """The upper end of the rise of exact match from the block before to the last or, by cross-entropy, of its
    fall in nats; NaN where not known."""


def stopping(
    score_KN: Floats,
    ce_KN: Floats,
    *,
    planned: int = 0,
    margin: float | None = None,
    groups_N: Groups = None,
) -> Stopping:
    """Judge K evaluations of the same N examples, oldest first; cross-entropies are finite.

    `margin` is the rise too small to go on for, `RISE` where None. There is no plateau while cross-entropy
    falls by `CE_LEAST` from block to block.
    """
    looks = len(score_KN)
    planned = max(planned, looks)
    width = max(LEAST, round(planned / FIFTHS))
    by: Literal["em", "ce"] = "em" if speaks(score_KN) else "ce"
    fell = by == "em" and _fell(score_KN, ce_KN, unit_of(planned), groups_N)
    if looks < 2 * width or not score_KN.size:
        return Stopping(fell=fell, flat=False, by=by, width=0, most=math.nan)
    now, then = slice(-width, None), slice(-2 * width, -width)
    ce_change = contrast(ce_KN[then], ce_KN[now], groups_N, whole=0.0)
    least = CE_LEAST * float(ce_KN[then].mean())
    z = NormalDist().inv_cdf(SURE)
    if by == "ce":
        most = z * ce_change.error - ce_change.change
        return Stopping(fell=False, flat=most < least, by=by, width=width, most=most)
    rise = contrast(score_KN[then], score_KN[now], groups_N, WOBBLE)
    most = rise.change + z * rise.error
    flat = most < (RISE if margin is None else margin) and ce_change.change > -least
    alive = float(score_KN[-1].mean()) > NOTHING
    return Stopping(fell=fell, flat=flat and alive, by=by, width=width, most=most)


def _fell(score_KN: Floats, ce_KN: Floats, unit: int, groups_N: Groups) -> bool:
    """Whether the last two averages over neighbouring evaluations are both surely below the best one.

    The last evaluation must be so by itself, as one bad one is in both averages, and not be on its way
    back: at a constant rate a real training lost 14 points and made up for them in three evaluations.
    """
    wide = 2 * unit
    count = len(score_KN) - wide + 1
    if count < 4 or _below(score_KN[-2] - score_KN[-1], OWN_Z, 2 * WOBBLE**2, groups_N):
        return False
    for rows_KN, z in ((helped(score_KN, ce_KN, unit), HELPED_Z), (score_KN, OWN_Z)):
        mean_KN = np.mean([rows_KN[i : i + count] for i in range(wide)], axis=0)
        best_N = mean_KN[mean_KN[:-2].mean(axis=1).argmax()]
        late = [mean_KN[-1], mean_KN[-2], *([score_KN[-1]] if z == OWN_Z else [])]
        if not all(_below(late_N - best_N, z, WOBBLE**2 / unit, groups_N) for late_N in late):
            return False
    return True


def _below(lost_N: Floats, z: float, jitter: float, groups_N: Groups) -> bool:
    worth = len(lost_N) * independent_share(lost_N, groups_N)
    spread = float(lost_N.var(ddof=1)) if len(lost_N) > 1 else math.inf
    return float(lost_N.mean()) < -max(FALL, z * math.sqrt(spread / worth + jitter))
