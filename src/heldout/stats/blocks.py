"""Blocks of evaluations compared, example by example: the mean of the last few against those before.

A mean over four evaluations has half the churn of a single one, so a change is seen that no pair of
evaluations shows. Legend: rows are evaluations, N examples; scores are 0 to 1, or nats for a loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from heldout.stats.groups import Groups, independent_share, standard_error
from heldout.stats.intervals import CONFIDENCE, POWER, least_shown

Floats = NDArray[np.float64]

WOBBLE = 0.005
"""Checkpoints truly differ by the luck of their last steps: half a point of exact match, at least."""
SEEN_IN = 14
"""Evaluations in which wobble is looked for; fewer than `FEWEST` say nothing of it."""
FEWEST = 6
LOOKS = 20
"""Comparisons that share alpha at least; where their number is unknown it doubles as they come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """The mean of the last block less that of the block before."""

    change: float
    variance: float
    """Of `change`: what the examples drawn and the wobble of checkpoints add."""
    one: float
    """What one example that changes adds to `change`, as a share of all."""

    @property
    def error(self) -> float:
        """The standard error of `change`."""
        return math.sqrt(self.variance)

    def interval(self, z: float) -> tuple[float, float]:
        """Return `change` with `z` standard errors on either side."""
        return self.change - z * self.error, self.change + z * self.error

    def detectable(self, z: float) -> float:
        """Return the smallest change that `z` standard errors exclude 0 by in 80 % of cases."""
        return least_shown((z + NormalDist().inv_cdf(POWER)) ** 2, self.one, self.variance)


def contrast(
    before_KN: Floats,
    last_KN: Floats,
    groups_N: Groups = None,
    wobble: float = 0.0,
    whole: float = 0.5,
) -> Contrast:
    """Compare two blocks of evaluations of the same N examples.

    `whole` is the square of what is assumed to have changed beside what did: of right and wrong no
    change at all would claim perfect sight; 0 for a loss, which always moves. Grouped examples count as
    `independent_share` of their number. Without examples nothing is known: the variance is infinite.
    """
    n = before_KN.shape[1]
    if not n:
        return Contrast(change=0.0, variance=math.inf, one=math.inf)
    change_N = last_KN.mean(axis=0) - before_KN.mean(axis=0)
    worth = n * independent_share(change_N, groups_N)
    size = float(np.abs(change_N).sum())
    jump = float((change_N**2).sum()) / size if size else 1.0
    spread = float(change_N.var(ddof=1)) if n > 1 else 1.0
    jitter = wobble**2 * (1 / len(last_KN) + 1 / len(before_KN))
    return Contrast(
        change=float(change_N.mean()),
        variance=spread / worth + whole / worth**2 + jitter,
        one=jump / worth,
    )


def wobble(score_KN: Floats, groups_N: Groups = None) -> float:
    """Return the standard deviation by which checkpoints truly jitter, at least `WOBBLE`.

    From the second differences of the mean score over the last evaluations, less what the examples
    drawn explain, the largest left out: one step up or down is no jitter.
    """
    last_KN = score_KN[-SEEN_IN:]
    if len(last_KN) < FEWEST or score_KN.shape[1] < 2:
        return WOBBLE
    bend_KN = last_KN[2:] - 2 * last_KN[1:-1] + last_KN[:-2]
    seen = float(np.sort(bend_KN.mean(axis=1) ** 2)[:-1].mean())
    errors = [standard_error(bend_N, groups_N) for bend_N in bend_KN]
    sampled = float(np.mean(np.square(errors)))
    return max(WOBBLE, math.sqrt((seen - sampled) / 6)) if seen > sampled else WOBBLE


def price(looks: int, planned: int = 0) -> int:
    """Return among how many comparisons alpha is shared, when `looks` evaluations have been made.

    As many as are `planned`, and never fewer than `LOOKS`. Sharing it equally keeps a run without a
    change from being called better or worse at any of them with probability alpha at most.
    """
    if planned >= looks:
        return max(LOOKS, planned - 1)
    share = LOOKS
    while share < looks - 1:
        share *= 2
    return share


def quantile(comparisons: int, alpha: float = 1 - CONFIDENCE) -> float:
    """Return z at two-sided `alpha` shared among `comparisons`."""
    return NormalDist().inv_cdf(1 - alpha / (2 * comparisons))
