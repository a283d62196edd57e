"""Curves of held-out losses: known answers, and what noise alone must never say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heldout.stats.curve import Curve, judge_curve, noise


def judged(losses: list[float], total: float = 100, falling: bool = True) -> Curve:
    steps = np.arange(1, len(losses) + 1) * 10.0
    found = judge_curve(steps, np.array(losses), total, falling)
    assert found is not None
    return found


def test_no_losses_no_curve() -> None:
    assert judge_curve(np.array([]), np.array([]), 100, True) is None


@pytest.mark.parametrize(
    ("losses", "total", "trend"),
    [
        ([2.0], 100, "falling"),
        ([2.0, 1.0, 0.8, 0.7], 100, "falling"),
        ([2.0, 1.0, 0.9, 0.9, 0.9, 0.9], 100, "flat"),
        ([2.0, 1.0, 0.8, 0.7], 40, "flat"),  # no step is left to gain in
        ([1.0, 0.9, 0.95, 1.05, 1.15, 1.25], 100, "rising"),
        ([1.0, 0.9, 1.05, 0.92], 100, "falling"),  # one bad evaluation is no rise
        ([1.0, 1.2], 100, "falling"),  # two evaluations say nothing
        (
            [1.0, 0.5, 1.6, 0.7, 1.5, 0.6, 1.4, 0.8],
            100,
            "falling",
        ),  # far above, but so is all of it
    ],
)
def test_the_trend(losses: list[float], total: float, trend: str) -> None:
    assert judged(losses, total).trend == trend


def test_the_expected_gain_is_the_slope_over_the_steps_left() -> None:
    losses = [1.0, 0.9, 0.8, 0.7]
    assert judged(losses, 60, falling=False).gain == pytest.approx(0.01 * 20 / 0.7)
    assert judged(losses, 60, falling=True).gain == pytest.approx(0.01 * 20 / 0.7 / 2)
    assert math.isnan(judged(losses[:3]).gain)


def test_those_tied_with_the_best_come_earliest_first() -> None:
    found = judged([2.0, 1.003, 1.0, 1.2, 1.1])
    assert (found.best, found.tied) == (2, [1, 2])


@given(st.integers(0, 1000), st.floats(0.001, 0.1))
def test_the_noise_is_that_of_a_straight_line_with_noise(seed: int, sigma: float) -> None:
    rng = np.random.default_rng(seed)
    losses = 3 - 0.01 * np.arange(400) + rng.normal(0, sigma, 400)
    assert noise(losses) == pytest.approx(sigma, rel=0.25)


def test_a_flat_noisy_curve_is_hardly_ever_called_rising() -> None:
    rng = np.random.default_rng(0)
    looks = rising = 0
    for _ in range(300):
        losses = 1 + rng.normal(0, 0.03, 12)
        looks += 1
        rising += any(judged(losses[:k].tolist()).trend == "rising" for k in range(3, 13))
    assert rising / looks < 0.02


def test_a_long_curve_costs_no_more_for_each_evaluation() -> None:
    steps = np.arange(2_000.0)
    found = judge_curve(steps, 2 - steps / 10_000, 4_000, False)
    assert found is not None
    assert found.gain == pytest.approx(2_001 / 10_000 / (2 - 0.1999), rel=1e-6)
