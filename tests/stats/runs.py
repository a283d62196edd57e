"""Simulated runs for the tests: exact match that is known, and cross-entropy that goes with it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def simulated(rng: np.random.Generator, em: Sequence[float], n: int) -> tuple[Floats, Floats]:
    """Return scores and cross-entropies [K, n] of a run whose true exact match is `em`.

    Each example has an ease of its own, and a part that wanders from evaluation to evaluation.
    """
    ease_N, wander_N = rng.normal(0, 1.5, n), rng.normal(0, 0.35, n)
    noise_N = 0.4 * rng.normal(size=n)
    scores, losses = [], []
    for level in em:
        margin_N = float(scipy.special.ndtri(level)) * np.hypot(1.5, 0.35) + ease_N + wander_N
        scores.append(margin_N > 0)
        losses.append(0.2 * np.exp(noise_N - 0.7 * margin_N))
        wander_N = 0.5 * wander_N + np.sqrt(0.75) * rng.normal(0, 0.35, n)
    return np.array(scores, dtype=np.float64), np.array(losses)


def curve(low: float, high: float, looks: int = 21, pace: float = 4.0) -> Floats:
    """A true exact match that rises from `low` and settles near `high`."""
    at_K = np.linspace(0, 1, looks)
    rise: Floats = high - (high - low) * np.exp(-pace * at_K)
    return rise
