"""The slope over several evaluations, against published vectors and a peer library."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import linregress, t

from heldout.stats.trend import slope

ANSWERS_NK = [[0, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0], [0, 1, 0, 1]]
SCORES_KN = np.array(ANSWERS_NK, dtype=np.float64).T


def test_the_slope_agrees_with_the_published_vector() -> None:
    found = slope(SCORES_KN, range(4))
    assert found is not None
    assert found.slope == pytest.approx(0.18)
    assert found.error_items == pytest.approx(0.08)
    assert found.error_checkpoints == pytest.approx(0.0529150, abs=5e-8)
    half = float(t.ppf(0.975, 2)) * 0.0959166
    assert (found.low, found.high) == pytest.approx((0.18 - half, 0.18 + half), abs=1e-6)


def test_the_slope_and_its_scatter_agree_with_scipy() -> None:
    steps = [0, 100, 250, 700]
    found, theirs = slope(SCORES_KN, steps), linregress(steps, SCORES_KN.mean(axis=1))
    assert found is not None
    assert found.slope == pytest.approx(theirs.slope)
    assert found.error_checkpoints == pytest.approx(theirs.stderr)


def test_three_evaluations_of_two_groups_are_the_least_that_has_a_slope() -> None:
    assert slope(SCORES_KN[:2], range(2)) is None
    assert slope(SCORES_KN[:, :1], range(4)) is None
    assert slope(SCORES_KN[:, :0], range(4)) is None
    assert slope(SCORES_KN, range(4), np.zeros(5, dtype=np.int64)) is None
    assert slope(SCORES_KN, [7, 7, 7, 7]) is None
    assert slope(SCORES_KN[:3], range(3)) is not None


def test_copies_of_examples_add_no_certainty() -> None:
    once = slope(SCORES_KN, range(4))
    copied = slope(np.repeat(SCORES_KN, 7, axis=1), range(4), np.repeat(np.arange(5), 7))
    assert once is not None
    assert copied is not None
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))


def test_answers_that_never_change_leave_room_for_doubt() -> None:
    found = slope(np.ones((4, 50)), range(4))
    assert found is not None
    assert found.slope == pytest.approx(0.0, abs=1e-12)
    assert found.low < -0.01 < 0.01 < found.high


def test_a_flat_run_whose_checkpoints_scatter_together_is_rarely_given_a_slope() -> None:
    """Pairs of evaluations know nothing of a scatter that all examples share; the slope does."""
    rng = np.random.default_rng(3)
    sloped = 0
    for _ in range(300):
        skill_N, luck_K = rng.normal(size=500), rng.normal(0, 0.1, size=(5, 1))
        scores_KN = (skill_N + luck_K + rng.normal(0, 0.3, size=(5, 500)) > 0).astype(np.float64)
        found = slope(scores_KN, range(5))
        assert found is not None
        sloped += not found.low <= 0 <= found.high
    assert sloped <= 0.05 * 300


def test_a_steady_rise_is_found() -> None:
    rng = np.random.default_rng(4)
    luck_N = rng.random(500)
    rates_K = 0.4 + 0.04 * np.arange(5)
    found = slope((luck_N < rates_K[:, None]).astype(np.float64), 100 * np.arange(5))
    assert found is not None
    assert 0 < found.low < 0.0004 < found.high
