"""What several evaluations say together, by their promised names."""

from __future__ import annotations

import math

import numpy as np
import pytest

from heldout.stats.best import best
from heldout.stats.progress import SLOPE_WINDOW, progress
from heldout.stats.tied import tied_set
from heldout.stats.trend import slope

CORRECT_KN = np.array([np.arange(400) < k for k in (40, 120, 200, 280, 300, 310, 312)])
NONE_K4 = np.zeros((7, 4))
STEPS = [0, 50, 100, 150, 200, 250, 300]


def test_the_parts_are_those_of_the_functions_behind_them() -> None:
    scores_KN = CORRECT_KN.astype(np.float64)
    found = progress(CORRECT_KN, NONE_K4, steps=STEPS)
    assert found.tied == tied_set(scores_KN)
    assert found.best == best(scores_KN)
    assert found.slope == slope(scores_KN[-5:], STEPS[-5:])
    assert SLOPE_WINDOW == 5


def test_the_facts_have_their_promised_names_and_steps() -> None:
    facts = progress(CORRECT_KN, NONE_K4, steps=STEPS).facts(STEPS)
    assert facts["em_trend"] == "inconclusive"
    assert facts["em_reference"] == 200
    assert (facts["em_learned"], facts["em_forgotten"]) == (12, 0)
    assert facts["em_change"] == 0.03
    assert facts["em_change_low"] < 0.03 < facts["em_change_high"]
    assert facts["em_change_p"] == pytest.approx(2 * 0.5**12 * math.pi**2 * 6**2 / 6)
    assert facts["detectable"] > 0.03
    assert facts["em_slope_since"] == 100
    assert facts["em_slope_low"] < facts["em_slope"] < facts["em_slope_high"]
    assert facts["em_slope"] == pytest.approx(0.00127)
    assert (facts["best_em"], facts["best_em_step"]) == (0.78, 300)
    assert 0.77 < facts["best_em_corrected"] <= 0.78
    assert facts["ece_rise"] is False


def test_a_slow_steady_rise_is_no_plateau() -> None:
    rows_KN = np.array([np.arange(2000) < 800 + 5 * k for k in range(20)])
    steps = list(range(0, 2000, 100))
    for k in range(SLOPE_WINDOW, 21):
        found = progress(rows_KN[:k], np.zeros((k, 4)), steps=steps[:k])
        assert found.change.trend == "improving"
        assert found.change.reference == k - SLOPE_WINDOW
    flat = progress(rows_KN[[0] * 9], np.zeros((9, 4)), steps=steps[:9])
    assert flat.change.trend == "plateau"


def test_what_needs_more_evaluations_steps_or_examples_is_left_open() -> None:
    early = progress(CORRECT_KN[:2], NONE_K4[:2], steps=STEPS[:2]).facts(STEPS)
    assert early["em_slope"] is early["em_slope_low"] is early["em_slope_since"] is None
    assert progress(CORRECT_KN, NONE_K4).slope is None
    empty = progress(CORRECT_KN[:, :0], NONE_K4, steps=STEPS).facts(STEPS)
    assert empty["best_em"] is empty["best_em_corrected"] is empty["em_slope"] is None
    assert empty["em_change"] == 0.0


def test_groups_and_the_pinned_evaluation_reach_every_part() -> None:
    rng = np.random.default_rng(1)
    rows_KN = np.repeat(rng.random((7, 50)) < 0.5, 8, axis=1)
    groups_N = np.repeat(np.arange(50), 8)
    grouped = progress(rows_KN, NONE_K4, steps=STEPS, groups_N=groups_N, pinned=1)
    once = progress(rows_KN[:, ::8], NONE_K4, steps=STEPS)
    assert grouped.change.reference == 1
    assert grouped.change.p is None
    assert grouped.tied == once.tied
    assert grouped.slope is not None
    assert once.slope is not None
    assert grouped.slope.low == pytest.approx(once.slope.low)
    assert grouped.best is not None
    assert once.best is not None
    assert grouped.best.corrected == pytest.approx(once.best.corrected)


@pytest.mark.parametrize(
    ("ece", "noise", "rise"),
    [
        ([0.05], 0.001, False),
        ([0.05, 0.07], 0.001, True),
        ([0.05, 0.059], 0.001, False),  # less than 20 %
        ([0.05, 0.07], 0.015, False),  # no more than chance shows
        ([0.10, 0.05, 0.07], 0.001, True),  # against the best, not the first
        ([0.05, 0.07, 0.05], 0.001, False),
        ([0.0, 0.02], 0.001, True),
        ([0.0, 0.0], 0.0, False),
        ([math.nan, 0.05], 0.001, False),
        ([math.nan, 0.05, 0.07], 0.001, True),
        ([math.nan, math.nan], 0.001, False),
    ],
)
def test_a_rise_of_the_calibration_error_is_a_fifth_and_more_than_chance(
    ece: list[float], noise: float, rise: bool
) -> None:
    rows_KN = np.ones((len(ece), 10), dtype=bool)
    found = progress(rows_KN, np.array([[x, x - noise, x + noise, 0.001] for x in ece]))
    assert found.ece_rise is rise
