"""E-values of a paired fall, and the procedure that judges many of them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import binom

from heldout.stats.evalues import e_bh, fall_evidence

COUNT = st.integers(0, 60)


@given(st.integers(0, 30), st.integers(0, 30))
def test_it_is_the_mixture_of_likelihood_ratios(learned: int, forgotten: int) -> None:
    def ratio(p: float) -> float:
        return 2 * (2 * p) ** forgotten * (2 * (1 - p)) ** learned

    assert fall_evidence(learned, forgotten) == pytest.approx(quad(ratio, 0.5, 1)[0], rel=1e-6)


@given(COUNT)
def test_its_mean_is_one_where_nothing_changed(pairs: int) -> None:
    mean = sum(binom.pmf(c, pairs, 0.5) * fall_evidence(pairs - c, c) for c in range(pairs + 1))
    assert mean == pytest.approx(1.0)


@given(COUNT, COUNT)
def test_more_forgotten_is_more_evidence(learned: int, forgotten: int) -> None:
    assert fall_evidence(learned, forgotten + 1) > fall_evidence(learned, forgotten)
    assert fall_evidence(learned + 1, forgotten) < fall_evidence(learned, forgotten)


def test_no_number_of_examples_is_too_many() -> None:
    assert math.isfinite(fall_evidence(0, 100_000))
    assert fall_evidence(100_000, 0) < 1e-3


@pytest.mark.parametrize(
    ("evidence", "believed"),
    [
        ([], []),
        ([19.9], []),
        ([20.0], [0]),
        ([39.0, 1.0], []),
        ([1.0, 40.0], [1]),
        ([20.0, 20.0], [0, 1]),  # together: 2 / (0.05 * 2)
        ([math.nan, 40.0], [1]),
        ([math.nan, math.nan], []),
        ([100.0, 25.0, 0.1, 30.0], [0]),
        ([100.0, 40.0, 0.1, 41.0], [0, 1, 3]),
    ],
)
def test_e_bh_is_a_table(evidence: list[float], believed: list[int]) -> None:
    assert e_bh(evidence, 0.05) == believed
