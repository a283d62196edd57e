"""Step times: the ratio to what they were, and the evidence that they changed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.stats.pace import ENOUGH, FIRST, SLOW, WINDOW, Pace

READY = FIRST + WINDOW + ENOUGH


def followed(seconds: list[float]) -> Pace:
    pace = Pace()
    for step, value in enumerate(seconds, start=1):
        pace.add(step, value)
    return pace


@given(st.lists(st.floats(0.9, 1.05), min_size=READY + 1, max_size=200))
def test_the_ratio_is_of_the_medians_of_window_and_reference(seconds: list[float]) -> None:
    pace = followed(seconds)
    kept = seconds[FIRST:]
    ratios = np.median(kept[-WINDOW:]) / np.median(kept[: len(kept) - WINDOW])
    if ratios <= SLOW:
        assert pace.now == pytest.approx(np.median(kept[-WINDOW:]))
    assert pace.ratio == pytest.approx(ratios, rel=0.06)


@pytest.mark.parametrize(("steps", "known"), [(0, False), (READY - 1, False), (READY + 1, True)])
def test_too_few_steps_say_nothing(steps: int, known: bool) -> None:
    assert math.isfinite(followed([1.0] * steps).ratio) is known


def test_the_first_steps_and_what_is_not_finite_do_not_count() -> None:
    plain = [1.0 + i % 7 / 100 for i in range(100)]
    odd = [50.0] * FIRST + plain[:50] + [math.nan, math.inf] + plain[50:]
    assert followed(odd).ratio == followed([1.0] * FIRST + plain).ratio


def test_slow_steps_do_not_become_the_usual_ones() -> None:
    pace = followed([1.0 + i % 5 / 50 for i in range(100)] + [1.5] * 600)
    assert pace.ratio > 1.4
    assert pace.usual == pytest.approx(1.04, abs=0.02)


def test_steps_of_no_time_have_no_ratio() -> None:
    assert math.isnan(followed([0.0] * 100).ratio)


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_exchangeable_steps_seldom_give_evidence(seed: int) -> None:
    """At any one step e^evidence is an e-value: 1,000 is reached with probability 1/1,000 at most."""
    rng = np.random.default_rng(seed)
    ends = [followed(rng.lognormal(0, 0.3, 90).tolist()).evidence for _ in range(20)]
    assert np.mean(np.array(ends) > math.log(20)) <= 0.2


def test_a_slowdown_gives_evidence_within_the_window() -> None:
    rng = np.random.default_rng(0)
    before = rng.lognormal(0, 0.05, 100).tolist()
    slow = [1.3 * x for x in rng.lognormal(0, 0.05, WINDOW).tolist()]
    assert followed(before).evidence < math.log(1000) < followed(before + slow).evidence
