"""The slope of a score over several evaluations of one fixed set."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from heldout.stats.groups import Groups, standard_error
from heldout.stats.intervals import CONFIDENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """The change of the mean score per unit of x, with its 95 % interval."""

    slope: float
    low: float
    high: float
    error_items: float
    """Standard error from having sampled these examples."""
    error_checkpoints: float
    """Standard error from checkpoints scattering around the line."""


def slope(scores_KN: NDArray[np.float64], x: ArrayLike, groups_N: Groups = None) -> Slope | None:
    """Return the least-squares slope of the mean scores over `x`, which has K values.

    Each example's own slope is s_i = sum_k w_k y_ik with w = (x - mean) / sum (x - mean)^2. The
    slope is their mean; its error adds what examples contribute (the clustered standard error of
    that mean) and what checkpoints do (sqrt(residual mean square / sum (x - mean)^2)); t with K - 2
    degrees of freedom. Noise of single answers is in both, so the interval errs on the wide side.
    No example changing is counted as one changing at an end. None for K < 3, fewer than two
    groups, or `x` all the same. Source: two-way random effects, as in generalizability theory (Brennan 2001).
    """
    num_checkpoints, n = scores_KN.shape
    units = n if groups_N is None else len(np.unique(groups_N))
    x_K = np.asarray(x, dtype=np.float64)
    if num_checkpoints < 3 or units < 2 or not np.ptp(x_K) > 0:
        return None
    x_K = x_K - x_K.mean()
    weight_K = x_K / (x_K**2).sum()
    one_changed = float(abs(weight_K).max()) / n
    error_items = max(one_changed, standard_error(weight_K @ scores_KN, groups_N))
    mean_K = scores_KN.mean(axis=1)
    per_x = float(weight_K @ mean_K)
    residual_K = mean_K - mean_K.mean() - per_x * x_K
    mean_square = float((residual_K**2).sum()) / (num_checkpoints - 2)
    error_checkpoints = math.sqrt(mean_square / float((x_K**2).sum()))
    quantile = float(scipy.special.stdtrit(num_checkpoints - 2, (1 + CONFIDENCE) / 2))
    half = quantile * math.hypot(error_items, error_checkpoints)
    return Slope(
        slope=per_x,
        low=per_x - half,
        high=per_x + half,
        error_items=error_items,
        error_checkpoints=error_checkpoints,
    )
