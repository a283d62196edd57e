"""Which checkpoint to keep, and which earlier one costs hardly more."""

from __future__ import annotations

import math

import numpy as np
import pytest
from runs import curve, simulated

from heldout.stats.helped import finite, helped, predicted, smooth, speaks, unit_of
from heldout.stats.keep import CHEAPER, cheaper, choose, merit
from heldout.stats.tied import tied_set


def test_the_best_loses_less_than_the_earliest_tied_or_the_highest() -> None:
    """True exact match lost, in points; a noisy curve that rises to the end and then falls a little."""
    rng = np.random.default_rng(3)
    em = np.concatenate([curve(0.3, 0.75, 17), [0.74, 0.73, 0.72, 0.71]])
    lost: dict[str, list[float]] = {"ours": [], "tied": [], "highest": []}
    for _ in range(25):
        scores_KN, ce_KN = simulated(rng, em.tolist(), 300)
        kept = choose(merit(scores_KN, ce_KN, 21), range(21))
        assert kept is not None
        picks = {"ours": kept, "tied": tied_set(scores_KN)[0]}
        picks["highest"] = int(scores_KN.mean(axis=1).argmax())
        for name, index in picks.items():
            lost[name].append(100 * float(em.max() - em[index]))
    ours, tied, highest = (float(np.mean(lost[name])) for name in ("ours", "tied", "highest"))
    assert ours < 0.5
    assert ours < highest
    assert tied > 2


@pytest.mark.parametrize("right", [0, 2])
def test_where_nothing_is_right_the_lowest_cross_entropy_is_kept(right: int) -> None:
    scores_KN = np.tile(np.arange(200) < right, (5, 1)).astype(np.float64)
    ce_KN = np.outer([3.0, 2.0, 1.5, 1.2, 1.4], np.ones(200))
    found = merit(scores_KN, ce_KN)
    assert found.by == "ce"
    assert choose(found, range(5)) == 3
    assert choose(found, [0, 1, 4]) == 4  # only what can be loaded
    assert cheaper(found, 3, range(5)) is None


def test_of_equals_the_lower_cross_entropy_then_the_earlier_is_kept() -> None:
    scores_KN = np.tile(np.arange(100) < 60, (4, 1)).astype(np.float64)
    assert choose(merit(scores_KN, np.ones((4, 100))), range(4)) == 0
    ce_KN = np.outer([1.0, 0.9, 0.8, 0.9], np.ones(100))
    assert choose(merit(scores_KN, ce_KN), range(4)) == 2
    assert choose(merit(scores_KN, ce_KN), []) is None
    assert choose(merit(np.zeros((2, 0)), np.zeros((2, 0))), [0, 1]) == 0


def test_checkpoints_that_are_no_run_are_not_smoothed_over_each_other() -> None:
    rows_KN = np.array([np.arange(200) < k for k in (20, 190, 20)], dtype=np.float64)
    found = merit(rows_KN, np.ones((3, 200)), ordered=False)
    assert choose(found, range(3)) == 1
    assert found.value_KN.mean(axis=1).tolist() == [0.1, 0.95, 0.1]


def test_an_earlier_one_is_cheaper_only_where_it_surely_costs_little_and_that_holds() -> None:
    rng = np.random.default_rng(4)
    em = np.concatenate([curve(0.3, 0.7, 10, 8.0), [0.7] * 11])
    offered = held = 0
    for _ in range(20):
        scores_KN, ce_KN = simulated(rng, em.tolist(), 500)
        found = merit(scores_KN, ce_KN, 21)
        best = choose(found, range(21))
        assert best is not None
        early = cheaper(found, best, range(21))
        if early is None:
            continue
        offered += 1
        assert early[0] < best
        assert 0 <= early[1] < CHEAPER
        held += em[best] - em[early[0]] <= early[1]
    assert offered >= 15
    assert held >= 0.9 * offered


def test_cross_entropy_that_is_not_finite_is_as_bad_as_the_worst() -> None:
    ce_KN = np.array([[1.0, math.nan], [math.inf, 3.0]])
    assert finite(ce_KN).tolist() == [[1.0, 3.0], [3.0, 3.0]]
    assert finite(np.full((1, 2), math.nan)).tolist() == [[0.0, 0.0]]
    rows_KN = np.array([np.arange(50) < 30] * 2, dtype=np.float64)
    assert choose(merit(rows_KN, finite(np.full((2, 50), math.nan))), [0, 1]) == 0


def test_cross_entropy_predicts_exact_match_and_is_corrected_by_it() -> None:
    rng = np.random.default_rng(5)
    scores_KN, ce_KN = simulated(rng, curve(0.2, 0.8).tolist(), 2000)
    em_K = scores_KN.mean(axis=1)
    assert np.abs(predicted(scores_KN, ce_KN).mean(axis=1) - em_K).max() < 0.05
    drifted_KN = ce_KN * np.linspace(1.0, 1.5, 21)[:, None]
    assert np.abs(helped(scores_KN, drifted_KN).mean(axis=1) - em_K)[2:-2].max() < 0.03
    for extreme in (np.zeros_like(scores_KN), np.ones_like(scores_KN)):
        assert np.isfinite(predicted(extreme, ce_KN)).all()
    assert smooth(np.array([[0.0], [1.0], [0.0]])).ravel().tolist() == [0.25, 0.5, 0.25]
    assert [unit_of(planned) for planned in (0, 6, 21, 40, 100)] == [1, 1, 1, 2, 5]


def test_exact_match_speaks_where_something_is_right_and_something_changed() -> None:
    rows_KN = np.array([np.arange(100) < k for k in (0, 2, 2, 50)], dtype=np.float64)
    assert [speaks(rows_KN[:k]) for k in (1, 2, 3, 4)] == [False, False, False, True]
    assert speaks(rows_KN[3:])
    assert not speaks(rows_KN[[3, 3, 3]])
    assert not speaks(np.zeros((3, 0)))
