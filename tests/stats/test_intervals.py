"""Intervals against published vectors, a peer library, and their own limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from heldout.stats.intervals import bonett_price, detectable, spent_confidence, wilson

COUNTS = st.integers(0, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS.filter(lambda count: count[1] > 0), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_agrees_with_scipy(count: tuple[int, int], confidence: float) -> None:
    correct, n = count
    theirs = binomtest(correct, n).proportion_ci(confidence, method="wilson")
    low, high = wilson(correct, n, confidence)
    assert low == pytest.approx(theirs.low, abs=1e-12)
    assert high == pytest.approx(theirs.high, abs=1e-12)


@given(COUNTS)
def test_wilson_holds_the_proportion_and_stays_inside_its_range(count: tuple[int, int]) -> None:
    correct, n = count
    low, high = wilson(correct, n)
    assert 0.0 <= low <= (correct / n if n else 0.5) <= high <= 1.0
    assert (low == 0.0) == (correct == 0)
    assert (high == 1.0) == (correct == n)


def test_wilson_knows_nothing_of_no_examples() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_bonett_price_agrees_with_the_published_vector() -> None:
    assert bonett_price(30, 10, 1000) == pytest.approx((0.007344, 0.032576), abs=5e-7)


@given(st.integers(0, 80), st.integers(0, 80), st.integers(0, 400))
def test_bonett_price_is_symmetric_and_widens_with_confidence(b: int, c: int, same: int) -> None:
    n = b + c + same
    low, high = bonett_price(b, c, n)
    assert -1.0 <= low <= high <= 1.0
    mirrored_low, mirrored_high = bonett_price(c, b, n)
    assert (mirrored_low, mirrored_high) == pytest.approx((-high, -low))
    wider_low, wider_high = bonett_price(b, c, n, 0.999)
    assert wider_low <= low
    assert wider_high >= high


def test_bonett_price_covers_the_truth_where_the_wald_interval_does_not() -> None:
    """Of 200 examples 3 % learned and .5 % forgotten: .923 for Wald, .964 for Bonett-Price."""
    rng = np.random.default_rng(1)
    wald = held = 0
    for b, c, _ in rng.multinomial(200, [0.03, 0.005, 0.965], 4000).tolist():
        low, high = bonett_price(b, c, 200)
        held += low <= 0.025 <= high
        error = math.sqrt((b + c - (b - c) ** 2 / 200) / (200 * 199))
        wald += abs((b - c) / 200 - 0.025) <= 1.96 * error
    assert held / 4000 == pytest.approx(0.964, abs=0.012)
    assert wald / 4000 == pytest.approx(0.923, abs=0.015)


def test_bonett_price_knows_nothing_of_no_examples() -> None:
    assert bonett_price(0, 0, 0) == (-1.0, 1.0)


@pytest.mark.parametrize(
    ("b", "c", "n", "difference"), [(100, 100, 2000, 0.020), (25, 25, 500, 0.040)]
)
def test_the_detectable_difference_agrees_with_the_published_vectors(
    b: int, c: int, n: int, difference: float
) -> None:
    assert detectable(b, c, n) == pytest.approx(difference, abs=5e-4)


def test_the_detectable_difference_never_claims_perfect_sight() -> None:
    assert detectable(0, 0, 0) == 1.0
    assert detectable(0, 0, 1) == 1.0
    assert detectable(0, 0, 1000) > 0


@pytest.mark.parametrize(
    ("look", "alpha"),
    [(1, 0.0303964), (2, 0.0075991), (5, 0.0012159), (20, 0.00007599)],
)
def test_the_level_spent_at_a_look_agrees_with_the_published_vectors(
    look: int, alpha: float
) -> None:
    assert 1 - spent_confidence(look) == pytest.approx(alpha, abs=5e-8)


def test_all_looks_together_spend_no_more_than_the_level() -> None:
    spent = math.fsum(1 - spent_confidence(look) for look in range(1, 5001))
    assert 0.0499 < spent < 0.05
