"""Dependent examples: what they are worth, and that intervals then keep their promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heldout.stats.groups import group_sums, independent_share, number_groups, standard_error
from heldout.stats.intervals import bonett_price, wilson
from heldout.stats.paired import paired


def test_a_name_makes_a_group_and_no_name_a_group_of_its_own() -> None:
    assert number_groups(["a", "", "b", "a", ""]).tolist() == [0, 1, 2, 0, 3]  # type: ignore[union-attr]
    assert number_groups(["", "", ""]) is None
    assert number_groups(["a", "b"]) is None
    assert number_groups([]) is None


def test_sums_are_within_groups_along_the_last_axis() -> None:
    values_KN = np.arange(8.0).reshape(2, 4)
    groups_N = np.array([1, 0, 1, 0])
    assert group_sums(values_KN, groups_N).tolist() == [[4.0, 2.0], [12.0, 10.0]]
    assert group_sums(values_KN, None) is values_KN


def test_the_clustered_error_agrees_with_least_squares_on_a_constant() -> None:
    """By statsmodels' formula: OLS(v, 1), cov_type="cluster", which has the same G / (G - 1)."""
    values_N = np.array([1.0, 1.0, 0.0, -1.0, 0.0, 0.0, 1.0, 0.0])
    groups_N = np.array([0, 0, 0, 1, 1, 2, 2, 3])
    residual_N = values_N - 0.25
    meat = sum(residual_N[groups_N == g].sum() ** 2 for g in range(4))
    assert standard_error(values_N, groups_N) == pytest.approx(math.sqrt(4 / 3 * meat) / 8)
    assert math.isnan(standard_error(values_N, np.zeros(8, dtype=np.int64)))


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60),
    st.sampled_from([0.9, 0.95, 0.9999]),
)
def test_groups_of_one_change_nothing(answers: list[tuple[bool, bool]], confidence: float) -> None:
    then_N, now_N = np.array(answers).T
    alone_N = np.arange(len(answers))[::-1]
    grouped = paired(then_N, now_N, alone_N)
    plain = paired(then_N, now_N)
    b, c, n = plain.learned, plain.forgotten, plain.n
    assert plain.interval(confidence) == bonett_price(b, c, n, confidence)
    assert grouped.interval(confidence) == pytest.approx(bonett_price(b, c, n, confidence))
    assert grouped.error == pytest.approx(plain.error)
    assert grouped.detectable(confidence) == pytest.approx(plain.detectable(confidence))


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 5))
def test_a_grouped_example_is_worth_no_more_than_an_independent_one(
    values: list[bool], size: int
) -> None:
    groups_N = np.arange(len(values)) // size
    share = independent_share(np.array(values, dtype=np.float64), groups_N)
    assert 0 < share <= 1


def test_copies_of_an_example_are_worth_one() -> None:
    once_N = np.random.default_rng(1).random(400) < 0.6
    copied_N, groups_N = np.repeat(once_N, 5), np.repeat(np.arange(400), 5)
    share = independent_share(copied_N.astype(np.float64), groups_N)
    assert share == pytest.approx(1 / 5, rel=0.02)
    same_N = np.ones(2000)
    assert independent_share(same_N, groups_N) == pytest.approx(1 / 5, rel=0.02)
    assert independent_share(same_N, np.zeros(2000, dtype=np.int64)) == 1 / 2000


def test_intervals_of_dependent_examples_hold_the_truth_where_the_plain_ones_do_not() -> None:
    """40 texts with 10 questions each, three in four of which go the way of their text."""
    rng = np.random.default_rng(2)
    groups_N = np.repeat(np.arange(40), 10)
    held = dict.fromkeys(["wilson", "plain wilson", "change", "plain change"], 0)
    for _ in range(300):
        then_N, now_N = (
            np.where(rng.random(400) < 0.75, np.repeat(rng.random(40), 10), rng.random(400)) < 0.6
            for _ in range(2)
        )
        share = independent_share(now_N.astype(np.float64), groups_N)
        right = int(now_N.sum())
        held["wilson"] += inside(0.6, wilson(share * right, share * 400))
        held["plain wilson"] += inside(0.6, wilson(right, 400))
        held["change"] += inside(0.0, paired(then_N, now_N, groups_N).interval())
        held["plain change"] += inside(0.0, paired(then_N, now_N).interval())
    assert held["wilson"] >= 0.93 * 300
    assert held["change"] >= 0.93 * 300
    assert held["plain wilson"] <= 0.75 * 300
    assert held["plain change"] <= 0.75 * 300


def inside(truth: float, interval: tuple[float, float]) -> bool:
    return interval[0] <= truth <= interval[1]
