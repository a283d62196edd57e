"""Calibration from sums per confidence bin: ECE, its null, the reliability diagram.

Ten equal-width bins (a, b], a confidence of 0 in the first, as in the code of Guo et al. 2017. The
sums of an example are a [10, 4] float64 array of n, confidence, hits and c (1 - c), so slices, ranks
and resamples merge by addition.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from heldout.records import Bin

NUM_BINS = 10
REPLICATES = 1000
SEED = 20_250_101
Floats = NDArray[np.float64]


def bin_sums(confidence: Floats, hit: NDArray[np.bool_]) -> Floats:
    """Return the [10, 4] sums of tokens with these confidences (in [0, 1]) and hits.

    Tokens whose confidence is NaN are left out; none at all gives zeros.
    """
    kept = np.isfinite(confidence)
    confidence, hit = confidence[kept].astype(np.float64), hit[kept]
    index = np.clip(np.ceil(confidence * NUM_BINS).astype(np.int64) - 1, 0, NUM_BINS - 1)
    columns = (np.ones_like(confidence), confidence, hit, confidence * (1 - confidence))
    return np.stack([np.bincount(index, column, NUM_BINS) for column in columns], axis=1)


def ece(sums: Floats) -> float:
    """Return the expected calibration error of [10, 4] sums; NaN for no tokens."""
    n = sums[:, 0].sum()
    return float(np.abs(sums[:, 1] - sums[:, 2]).sum() / n) if n else math.nan


def ece_null(sums: Floats) -> float:
    """Return the ECE expected from chance alone if these confidences were perfectly calibrated.

    sqrt(2 / pi) * sum over bins of sqrt(sum of c (1 - c)) / n: the mean of a half normal per bin.
    """
    n = sums[:, 0].sum()
    return float(math.sqrt(2 / math.pi) * np.sqrt(sums[:, 3]).sum() / n) if n else math.nan


def reliability(sums: Floats) -> list[Bin]:
    """Return the reliability diagram; an empty bin has zeros."""
    return [
        Bin(n=int(n), confidence=c / n if n else 0.0, accuracy=hits / n if n else 0.0)
        for n, c, hits, _ in sums.tolist()
    ]


def ece_interval(sums_N: Floats) -> tuple[float, float]:
    """Return the 95 % percentile interval of the ECE of [N, 10, 4] sums, by resampling examples.

    Seeded: the same sums give the same interval. The ECE is biased upward on small samples (see
    `ece_null`), and so is the interval. (NaN, NaN) for no examples.
    """
    n = len(sums_N)
    if not n:
        return math.nan, math.nan
    weights_BN = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), REPLICATES)
    flat_B = (weights_BN @ sums_N.reshape(n, -1)).reshape(REPLICATES, NUM_BINS, 4)
    total_B = np.maximum(flat_B[:, :, 0].sum(axis=1), 1)
    ece_B = np.abs(flat_B[:, :, 1] - flat_B[:, :, 2]).sum(axis=1) / total_B
    low, high = np.quantile(ece_B, [0.025, 0.975])
    return float(low), float(high)
