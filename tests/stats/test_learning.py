"""Learning curves: a known law is found again, and its interval covers the truth."""

from __future__ import annotations

import numpy as np
import pytest

from heldout.stats.learning import learning

STEPS = [10, 20, 40, 60, 80, 120]


def test_too_little_to_fit() -> None:
    assert learning(STEPS[:3], [9, 8, 7], 10) is None
    assert learning(STEPS, [0] * 6, 0) is None


def test_a_known_law_is_found_again() -> None:
    n = 100_000
    wrong = [round(n * 0.9 * (step / 10) ** -0.5) for step in STEPS]
    found = learning(STEPS, wrong, n)
    assert found is not None
    assert found.rate == pytest.approx(0.5, abs=1e-3)
    expected, low, high = found.gain(4)
    assert expected == pytest.approx(found.error / 2, rel=1e-2)
    assert low <= expected <= high


def test_a_flat_curve_promises_nothing_and_says_how_unsure_it_is() -> None:
    found = learning(STEPS, [50, 48, 52, 49, 51, 50], 100)
    assert found is not None
    expected, low, high = found.gain(2)
    assert (low, expected <= 0.02) == (0.0, True)
    assert 0 < high < 0.2


def test_all_right_gains_nothing() -> None:
    found = learning(STEPS, [5, 3, 1, 0, 0, 0], 10)
    assert found is not None
    assert found.gain(2) == (0, 0, 0)


def test_the_interval_covers_the_true_rate() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(300):
        truth = [0.9 * (step / 10) ** -0.4 for step in STEPS]
        found = learning(STEPS, rng.binomial(80, truth).tolist(), 80)
        assert found is not None
        covered += found.low <= 0.4 <= found.high
    assert covered / 300 > 0.93
