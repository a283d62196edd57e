"""What several evaluations say together, by their promised names."""

from __future__ import annotations

import math

import numpy as np
import pytest

from heldout.stats.best import best
from heldout.stats.change import last_change
from heldout.stats.progress import progress
from heldout.stats.stopping import stopping
from heldout.stats.tied import tied_set

CORRECT_KN = np.array([np.arange(400) < k for k in (40, 120, 200, 280, 300, 310, 312)])
CE_KN = np.where(CORRECT_KN, 0.1, 2.0)
NONE_K4 = np.zeros((7, 4))
STEPS = [0, 50, 100, 150, 200, 250, 300]


def test_the_parts_are_those_of_the_functions_behind_them() -> None:
    scores_KN = CORRECT_KN.astype(np.float64)
    found = progress(CORRECT_KN, CE_KN, NONE_K4, planned=20)
    assert found.tied == tied_set(scores_KN)
    assert found.best == best(scores_KN)
    assert found.change.facts() == last_change(scores_KN, CE_KN, planned=20).facts()
    assert found.stopping == stopping(scores_KN, CE_KN, planned=20)


def test_the_facts_have_their_promised_names_and_steps() -> None:
    facts = progress(CORRECT_KN, CE_KN, NONE_K4).facts(STEPS)
    assert facts["em_trend"] == "improving"
    assert (facts["em_reference"], facts["em_last"], facts["em_before"]) == (150, 3, 4)
    assert (facts["em_learned"], facts["em_forgotten"]) == (32, 0)
    assert facts["em_change"] == pytest.approx(0.76833 - 0.4, abs=1e-4)
    assert facts["em_change_low"] < facts["em_change"] < facts["em_change_high"]
    assert facts["em_change_p"] < 0.05
    assert facts["em_change_confidence"] == pytest.approx(1 - 0.05 / 20)
    assert facts["detectable"] == facts["margin"] > 0.03
    assert (facts["best_em"], facts["best_em_step"], facts["best_by"]) == (0.78, 300, "em")
    assert 0.77 < facts["best_em_corrected"] <= 0.78
    assert facts["ece_rise"] is False


def test_a_fall_is_known_to_have_been_called_the_evaluation_before() -> None:
    rows_KN = np.array([np.arange(400) < k for k in (300, 300, 300, 301, 150, 150)])
    seen = [
        progress(rows_KN[:k], np.where(rows_KN[:k], 0.1, 2.0), np.zeros((k, 4))) for k in (4, 5, 6)
    ]
    assert [found.change.trend for found in seen] == ["plateau", "regressing", "regressing"]
    assert [found.fell_before for found in seen] == [False, False, True]


def test_groups_and_the_pinned_evaluation_reach_every_part() -> None:
    rng = np.random.default_rng(1)
    rows_KN = np.repeat(rng.random((7, 50)) < 0.5, 8, axis=1)
    groups_N = np.repeat(np.arange(50), 8)
    ce_KN = np.where(rows_KN, 0.1, 2.0)
    grouped = progress(rows_KN, ce_KN, NONE_K4, groups_N=groups_N, pinned=1)
    once = progress(rows_KN[:, ::8], ce_KN[:, ::8], NONE_K4)
    assert grouped.change.reference == 1
    assert grouped.tied == once.tied
    pinned = progress(rows_KN[:, ::8], ce_KN[:, ::8], NONE_K4, pinned=1)
    assert grouped.change.low == pytest.approx(pinned.change.low, abs=0.02)
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
    ece_K4 = np.array([[x, x - noise, x + noise, 0.001] for x in ece])
    found = progress(rows_KN, np.ones(rows_KN.shape), ece_K4)
    assert found.ece_rise is rise
