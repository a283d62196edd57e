"""Seeded resampling of the fixed set, drawn once and shared by all who ask."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

REPLICATES = 1000
SEED = 20_250_101


@lru_cache(maxsize=1)
def draws(units: int) -> NDArray[np.uint8]:
    """Return how often each of `units` >= 1 is drawn in each replicate, [REPLICATES, units].

    Drawn with replacement, `units` times a replicate. The same at every call, so the same scores
    give the same answer, and kept for the next (1 byte an entry). A unit drawn 256 times would need
    luck of 1e-500.
    """
    rng = np.random.default_rng(SEED)
    drawn = rng.integers(0, units, (REPLICATES, units))
    drawn += units * np.arange(REPLICATES)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=REPLICATES * units)
    result = counts.reshape(REPLICATES, units).astype(np.uint8)
    result.flags.writeable = False
    return result


def means(
    times_BG: NDArray[np.float64], sums_KG: NDArray[np.float64], sizes_G: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the mean score of each row over the examples drawn, [B, K]; NaN where none was."""
    total_B = times_BG @ sizes_G
    with np.errstate(invalid="ignore"):
        mean_BK: NDArray[np.float64] = (times_BG @ sums_KG.T) / total_B[:, None]
    return mean_BK
