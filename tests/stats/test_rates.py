"""A learning rate's trail tells warm-ups, falls, restarts, jumps and zeros apart."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heldout.stats.rates import RateTrail


def followed(values: list[float]) -> RateTrail:
    trail = RateTrail()
    for step, value in enumerate(values, start=1):
        trail.add(step, value)
    return trail


def linear(steps: int, warmup: int = 10, peak: float = 1.0) -> list[float]:
    """Linear warm-up and decay as transformers has it, from the first step's 0."""
    return [
        peak * (i / warmup if i < warmup else (steps - i) / (steps - warmup)) for i in range(steps)
    ]


def cosine(steps: int, cycles: float = 0.5, peak: float = 1.0) -> list[float]:
    """transformers' cosine; with whole cycles it is the one with hard restarts."""
    if cycles == 0.5:
        return [peak * 0.5 * (1 + math.cos(math.pi * i / steps)) for i in range(steps)]
    return [peak * 0.5 * (1 + math.cos(math.pi * ((cycles * i / steps) % 1))) for i in range(steps)]


@given(st.integers(20, 300), st.integers(1, 15), st.floats(1e-6, 1.0))
def test_an_ordinary_schedule_is_smooth(steps: int, warmup: int, peak: float) -> None:
    for values in (linear(steps, warmup, peak), cosine(steps, peak=peak), [peak] * steps):
        trail = followed(values)
        assert (trail.jump_step, trail.sudden_step, trail.rise_step) == (0, 0, 0)
        assert trail.peak == pytest.approx(max(values))


def test_float16s_skipped_steps_at_the_start_are_no_jump() -> None:
    assert followed([0.0] * 4 + [0.1, 0.2, 0.5, 1.0]).jump_step == 0
    assert followed([0.1] * 6 + [0.2, 0.5, 1.0]).jump_step == 0


def test_a_rate_that_settled_jumps_above_its_peak() -> None:
    trail = followed([*linear(100)[:50], 30.0, 29.0])
    assert (trail.jump_step, trail.jump, trail.jump_from) == (51, pytest.approx(30.0), 1.0)
    assert trail.peak == 30.0


def test_restarts_are_sudden_returns_after_a_fall() -> None:
    trail = followed(cosine(90, cycles=3))
    assert trail.sudden_step == 61
    assert trail.sudden > 100
    assert trail.rise_step == 0


def test_a_second_warm_up_is_a_smooth_rise_after_a_fall() -> None:
    trail = followed([*linear(100)[:60], *[i / 20 for i in range(1, 15)]])
    assert trail.rise_step == 74


@pytest.mark.parametrize(
    ("values", "zeros"),
    [
        ([], 0),
        ([0.0], 1),
        ([0.0, 1.0], 0),
        ([1.0, 0.0, 0.0], 2),
        ([1.0, 0.0, math.nan], 1),
        ([1.0, -1.0], 1),
    ],
)
def test_zeros_are_counted_from_the_end(values: list[float], zeros: int) -> None:
    assert followed(values).zeros == zeros


def test_a_nan_is_the_last_value_and_nothing_else() -> None:
    trail = followed([1.0, 0.5, math.nan])
    assert math.isnan(trail.last)
    assert trail.peak == 1.0
