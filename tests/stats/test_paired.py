"""Paired comparisons against published vectors and a peer library."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from heldout.stats.paired import Paired, mcnemar, mcnemar_mid_p, paired


def pair(b: int, c: int, n: int) -> Paired:
    then_N, now_N = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    then_N[b : b + c] = True
    now_N[:b] = True
    return paired(then_N, now_N)


def test_mcnemar_agrees_with_the_published_vector() -> None:
    assert mcnemar(10, 3) == pytest.approx(0.0922852, abs=5e-8)
    assert mcnemar_mid_p(10, 3) == pytest.approx(0.0573730, abs=5e-8)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_agrees_with_scipy_and_with_the_formula_of_statsmodels(b: int, c: int) -> None:
    if b + c:
        assert mcnemar(b, c) == pytest.approx(binomtest(b, b + c).pvalue)
    few, pairs = min(b, c), b + c
    formula = 2 * binom.cdf(few, pairs, 0.5)  # statsmodels' mcnemar(exact=True), capped at 1
    assert mcnemar(b, c) == pytest.approx(min(1.0, formula))
    assert mcnemar_mid_p(b, c) == pytest.approx(formula - binom.pmf(few, pairs, 0.5))


def test_without_a_discordant_pair_nothing_speaks_against_equality() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar_mid_p(0, 0) == 1.0


def test_a_pair_agrees_with_the_published_vectors() -> None:
    found = pair(30, 10, 1000)
    assert (found.learned, found.forgotten, found.n) == (30, 10, 1000)
    assert found.change == 0.02
    assert found.error == pytest.approx(0.0062960, abs=5e-8)
    wald = (found.change - 1.959964 * found.error, found.change + 1.959964 * found.error)
    assert wald == pytest.approx((0.00766, 0.03234), abs=5e-6)
    assert found.interval() == pytest.approx((0.007344, 0.032576), abs=5e-7)


def test_pairing_sees_three_times_as_much_as_two_separate_rates() -> None:
    rate = 0.7
    separate = math.sqrt(2 * rate * (1 - rate) / 1000)
    assert separate == pytest.approx(0.0203, abs=5e-4)
    assert separate / pair(30, 10, 1000).error == pytest.approx(3.2, abs=0.1)


def test_groups_make_the_exact_test_silent_rather_than_wrong() -> None:
    then_N, now_N = np.zeros(6, dtype=bool), np.ones(6, dtype=bool)
    assert paired(then_N, now_N).p == mcnemar(6, 0)
    assert paired(then_N, now_N, np.array([0, 0, 0, 1, 1, 1])).p is None


def test_no_example_says_nothing() -> None:
    found = pair(0, 0, 0)
    assert (found.change, found.p, found.interval()) == (0.0, 1.0, (-1.0, 1.0))
    assert math.isnan(found.error)
