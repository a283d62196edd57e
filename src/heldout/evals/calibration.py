"""Calibration: ECE and its variants, its null, the reliability diagram, the Brier score.

The default bins are ten of equal width, (a, b], a confidence of 0 in the first, as in the code of
Guo et al. 2017. The sums of an example are a [10, 4] float64 array of n, confidence, hits and
c (1 - c), so slices, processes and resamples merge by addition.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from heldout.records import Bin

NUM_BINS = 10
REPLICATES = 1000
SEED = 20_250_101
Floats = NDArray[np.float64]
Hits = NDArray[np.bool_]
Bins = Literal["guo", "torchmetrics"]


def bin_sums(confidence: Floats, hit: Hits, bins: Bins = "guo") -> Floats:
    """Return the [10, 4] sums of tokens with these confidences (in [0, 1]) and hits.

    "torchmetrics" gives [11, 4]: bins [a, b) with float32 edges, and one more for a confidence of
    exactly 1, as torchmetrics 1.9 has. Tokens whose confidence is NaN are left out; none at all
    gives zeros.
    """
    kept = np.isfinite(confidence)
    confidence, hit = confidence[kept].astype(np.float64), hit[kept]
    if bins == "torchmetrics":
        edges = np.linspace(0, 1, NUM_BINS + 1, dtype=np.float32)
        index = np.searchsorted(edges, confidence.astype(np.float32), side="right") - 1
    else:
        index = np.clip(np.ceil(confidence * NUM_BINS).astype(np.int64) - 1, 0, NUM_BINS - 1)
    columns = (np.ones_like(confidence), confidence, hit, confidence * (1 - confidence))
    num = NUM_BINS + (bins == "torchmetrics")
    return np.stack([np.bincount(index, column, num) for column in columns], axis=1)


def ece(sums: Floats) -> float:
    """Return the expected calibration error of [bins, 4] sums; NaN for no tokens."""
    n = sums[:, 0].sum()
    return float(np.abs(sums[:, 1] - sums[:, 2]).sum() / n) if n else math.nan


def ece_equal_mass(confidence: Floats, hit: Hits, num_bins: int = NUM_BINS) -> float:
    """Return the ECE in bins of as many tokens each, as HELM reports it.

    NaN for no tokens or a confidence that is.
    """
    if not len(confidence) or not np.isfinite(confidence).all():
        return math.nan
    parts = np.array_split(np.argsort(confidence, kind="stable"), min(num_bins, len(confidence)))
    off = sum(abs(float((confidence[part] - hit[part]).sum())) for part in parts)
    return off / len(confidence)


def ece_null(sums: Floats) -> float:
    """Return the ECE expected from chance alone if these confidences were perfectly calibrated.

    sqrt(2 / pi) * sum over bins of sqrt(sum of c (1 - c)) / n: the mean of a half normal per bin.
    """
    n = sums[:, 0].sum()
    return float(math.sqrt(2 / math.pi) * np.sqrt(sums[:, 3]).sum() / n) if n else math.nan


def confidence_gap(sums: Floats) -> float:
    """Return mean confidence less accuracy: above 0 the model is overconfident. NaN for no tokens."""
    n = sums[:, 0].sum()
    return float((sums[:, 1] - sums[:, 2]).sum() / n) if n else math.nan


def brier(confidence: Floats, hit: Hits) -> float:
    """Return the mean squared difference between confidence and being right; NaN for no tokens."""
    return float(np.mean((confidence - hit) ** 2)) if len(confidence) else math.nan


def reliability(sums: Floats) -> list[Bin]:
    """Return the reliability diagram; an empty bin has zeros."""
    return [
        Bin(n=int(n), confidence=c / n if n else 0.0, accuracy=hits / n if n else 0.0)
        for n, c, hits, _ in sums.tolist()
    ]


def ece_interval(sums_N: Floats) -> tuple[float, float]:
    """Return the 95 % percentile interval of the ECE of [N, bins, 4] sums, by resampling examples.

    Seeded: the same sums give the same interval. The ECE is biased upward on small samples (see
    `ece_null`), and so is the interval. (NaN, NaN) for no examples.
    """
    n = len(sums_N)
    if not n:
        return math.nan, math.nan
    weights_BN = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), REPLICATES)
    flat_B = (weights_BN @ sums_N.reshape(n, -1)).reshape(REPLICATES, *sums_N.shape[1:])
    total_B = np.maximum(flat_B[:, :, 0].sum(axis=1), 1)
    ece_B = np.abs(flat_B[:, :, 1] - flat_B[:, :, 2]).sum(axis=1) / total_B
    low, high = np.quantile(ece_B, [0.025, 0.975])
    return float(low), float(high)
