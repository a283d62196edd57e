"""Intervals against published vectors, a peer library, and their own limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from heldout.stats.intervals import bonett_price, detectable, wilson

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


@pytest.mark.parametrize("n", [200, 500, 2000])
@pytest.mark.parametrize("churn", [0.0, 0.02, 0.10])
def test_the_detectable_difference_is_seen_as_often_as_it_says(n: int, churn: float) -> None:
    """Power 80 %, with the difference's own churn on top of today's."""
    rng = np.random.default_rng(n)
    told = detectable(churn * n / 2, churn * n / 2, n)
    cells = [churn / 2 + told, churn / 2, 1 - churn - told]
    seen = [bonett_price(b, c, n)[0] > 0 for b, c, _ in rng.multinomial(n, cells, 1000).tolist()]
    assert 0.76 < np.mean(seen) < 0.97


def test_the_detectable_difference_never_claims_perfect_sight() -> None:
    assert detectable(0, 0, 0) == 1.0
    assert detectable(0, 0, 1) == 1.0
    assert detectable(0, 0, 1000) == pytest.approx(0.00785, abs=1e-4)
