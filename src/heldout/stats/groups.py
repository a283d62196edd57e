"""Examples that are not independent: the group, not the example, is the unit that was sampled.

Legend: N examples; G groups; groups_N holds the group of each example as a number 0..G-1, or is None
where each example stands for itself, which makes every formula here the plain one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import scipy
from numpy.typing import NDArray

from heldout.stats.intervals import CONFIDENCE

Groups: TypeAlias = NDArray[np.int64] | None


def number_groups(names: Sequence[str]) -> Groups:
    """Return the group of each example as a number; the name "" is a group of its own each time.

    None where every example stands for itself.
    """
    seen: dict[str | int, int] = {}
    codes = [seen.setdefault(name or i, len(seen)) for i, name in enumerate(names)]
    return np.array(codes, dtype=np.int64) if len(seen) < len(codes) else None


def group_sums(values: NDArray[Any], groups_N: Groups) -> NDArray[Any]:
    """Return `values` summed within groups along the last axis, [..., N] to [..., G]."""
    if groups_N is None:
        return values
    order = np.argsort(groups_N, kind="stable")
    starts = np.searchsorted(groups_N[order], np.arange(int(groups_N.max()) + 1))
    summed: NDArray[Any] = np.add.reduceat(values[..., order], starts, axis=-1)
    return summed


def standard_error(values_N: NDArray[np.float64], groups_N: Groups = None) -> float:
    """Return the standard error of the mean of `values_N`, with the groups as the sampled units.

    sqrt(G / (G - 1) * sum over groups of (sum in the group of (v - mean))^2) / N, which for groups
    of one is the sample standard deviation over sqrt(N). With v the change of each example this is
    the paired standard error of a difference. NaN for fewer than two groups. Source: Miller 2024,
    "Adding error bars to evals", section 2.2; the factor is Cochran's (1977, section 9A).
    """
    sums_G = group_sums(values_N - values_N.mean(), groups_N) if len(values_N) else values_N
    if len(sums_G) < 2:
        return math.nan
    units = len(sums_G)
    return math.sqrt(units / (units - 1) * float((sums_G**2).sum())) / len(values_N)


def independent_share(
    values_N: NDArray[np.float64], groups_N: Groups, confidence: float = CONFIDENCE
) -> float:
    """Return how many independent examples one of these grouped examples is worth, above 0, up to 1.

    An interval for independent examples becomes one for groups when its counts are multiplied with
    this: `wilson(share * correct, share * n)`. It is one over the design effect (the clustered
    variance over the plain one, never below 1), times (t_{N-1} / t_{G-1})^2 because G groups tell
    little of their own spread. Where no value differs nothing shows how alike a group is, and its
    examples count as one. Source: Korn and Graubard 1998; Kish 1965 for the design effect.
    """
    if groups_N is None:
        return 1.0
    sizes_G = np.bincount(groups_N)
    n, units = len(values_N), len(sizes_G)
    if units < 2:
        return 1 / n
    plain, clustered = standard_error(values_N), standard_error(values_N, groups_N)
    effect = (clustered / plain) ** 2 if plain > 0 else float((sizes_G**2).sum()) / n
    quantile = (1 + confidence) / 2
    few = float(scipy.special.stdtrit(n - 1, quantile) / scipy.special.stdtrit(units - 1, quantile))
    return few**2 / max(1.0, effect)
