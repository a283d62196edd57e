"""Runs whose truth is known, as a decision sees them: replays of real trainings, and simulated ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray
from trainings import Training, share

Floats = NDArray[np.float64]

SHAPES = ("fall", "plateau", "rising")
RATES = ("linear", "const", "cosine")
EASE, WANDER = 1.5, 0.4
"""Spread of how hard examples are, and of what wanders in each from one evaluation to the next."""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Scores of K evaluations on the fixed set, and the true exact match of each."""

    name: str
    correct_KN: NDArray[np.bool_]
    ce_KN: Floats
    truth_K: Floats
    steps: list[int]
    rates: list[float]
    constant: bool


def replays(trainings: list[Training], n: int, times: int, seed: int) -> Iterator[Run]:
    """Each training `times` over, with other `n` items as its fixed set; the rest are the truth."""
    rng = np.random.default_rng(seed)
    for training in trainings:
        for _ in range(times):
            order = rng.permutation(training.correct_KN.shape[1])
            yield Run(
                training.name,
                training.correct_KN[:, order[:n]],
                training.ce_KN[:, order[:n]],
                training.correct_KN[:, order[n:]].mean(axis=1),
                training.steps,
                training.rates,
                training.constant,
            )


def simulated(
    rng: np.random.Generator, shape: str, rate: str, n: int, looks: int, hard: bool
) -> Run:
    """A run that rises and falls, settles, or rises to its end, with checkpoints that wobble by .5 point.

    Cross-entropy follows the margin of each example. Where `hard`, it drifts up by as much as 42 % over the
    run's last part and wobbles from evaluation to evaluation, so that it misleads.
    """
    at_K = np.linspace(0, 1, looks)
    rate_K = np.array([max(0.01, share(rate, at)) for at in at_K])
    low, high = rng.uniform(0.2, 0.5), rng.uniform(0.6, 0.9)
    em_K = high - (high - low) * np.exp(-at_K / rng.uniform(0.08, 0.25))
    if shape == "fall":
        em_K = em_K - np.maximum(0, at_K - rng.uniform(0.4, 0.6)) * rng.uniform(0.05, 0.25)
    if shape == "rising":
        em_K = low + (high - low) * np.log1p(8 * at_K) / np.log(9)
    em_K = np.clip(em_K + 0.005 * rate_K * rng.normal(size=looks), 0.01, 0.99)
    margin_KN = _margins(rng, em_K, n, 1 - 0.6 * rate_K)
    log_KN = -0.7 * margin_KN + 0.4 * rng.normal(size=n)
    if hard:
        drift_K = rng.uniform(0, 0.35) * np.maximum(0, at_K - 0.4) / 0.6
        drift_K = drift_K + 0.04 * rate_K * rng.normal(size=looks)
        log_KN = log_KN + drift_K[:, None] + 0.3 * rng.normal(size=(looks, n))
    return Run(
        f"{shape} {rate}",
        margin_KN > 0,
        0.2 * np.exp(log_KN),
        em_K,
        [100 * k for k in range(looks)],
        rate_K.tolist(),
        rate == "const",
    )


def stretch(rng: np.random.Generator, em_K: Floats, n: int, wander: float) -> NDArray[np.bool_]:
    """Whether each of n examples is right at each evaluation, where the true exact match is `em_K`."""
    right_KN: NDArray[np.bool_] = _margins(rng, em_K, n, np.full(len(em_K), 0.5), wander) > 0
    return right_KN


def _margins(
    rng: np.random.Generator, em_K: Floats, n: int, stay_K: Floats, wander: float = WANDER
) -> Floats:
    level_K = scipy.special.ndtri(em_K) * np.hypot(EASE, wander)
    ease_N, now_N = rng.normal(0, EASE, n), rng.normal(0, wander, n)
    rows = []
    for level, stay in zip(level_K, stay_K, strict=True):
        rows.append(level + ease_N + now_N)
        now_N = stay * now_N + np.sqrt(1 - stay**2) * rng.normal(0, wander, n)
    return np.array(rows)
