"""Columns: every number by step, and thinning that loses no spike."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heldout.derive.columns import Columns, Series

FLOATS = st.floats(width=32) | st.sampled_from([0.0, 1.0, math.nan, math.inf, -math.inf])


def series(values: list[float], first: int = 0, stride: int = 1) -> Series:
    made = Series()
    for i, value in enumerate(values):
        made.append(first + stride * i, value)
    return made


def pairs(steps: np.ndarray, values: np.ndarray) -> list[tuple[int, str]]:
    return list(zip(steps.tolist(), map(repr, values.tolist()), strict=True))


@given(st.lists(FLOATS, max_size=80), st.integers(1, 12), st.integers(1, 7))
def test_thinning_keeps_every_extreme_every_odd_number_and_the_last_point(
    values: list[float], buckets: int, stride: int
) -> None:
    whole = series(values, first=5, stride=stride)
    steps, kept = whole.minmax(buckets)
    assert set(pairs(steps, kept)) <= set(pairs(whole.steps, whole.values))
    assert (np.diff(steps) > 0).all()
    assert (~np.isfinite(kept)).sum() == (~np.isfinite(whole.values)).sum()
    assert pairs(steps, kept)[-1:] == pairs(whole.steps, whole.values)[-1:]
    if len(values) <= 3 * buckets:
        assert len(kept) == len(values)
        return
    edges = [len(values) * i // buckets for i in range(buckets + 1)]
    for start, stop in itertools.pairwise(edges):
        inside = (steps >= 5 + stride * start) & (steps < 5 + stride * stop)
        bucket = [value for value in values[start:stop] if math.isfinite(value)]
        if bucket:
            assert min(bucket) in kept[inside]
            assert max(bucket) in kept[inside]


@pytest.mark.parametrize("spike", [99.0, -99.0, math.nan, math.inf])
@pytest.mark.parametrize("at", [0, 1, 99, 100, 101, 199, 200, 998, 999])
def test_a_spike_of_one_step_survives_also_on_the_edge_of_a_bucket(at: int, spike: float) -> None:
    values = [0.5] * 1000
    values[at] = spike
    steps, kept = series(values).minmax(10)
    assert (at, repr(spike)) in pairs(steps, kept)
    assert len(kept) <= 3 * 10 + 1


def test_a_million_finite_steps_become_three_points_a_bucket_at_most() -> None:
    columns = Series()
    columns._steps = list(range(200_000))
    columns._values = np.random.default_rng(0).normal(size=200_000).tolist()
    assert len(columns.minmax(500)[0]) <= 1500


def test_a_series_never_recorded_is_empty() -> None:
    empty = Columns().get("loss/step")
    assert len(empty) == 0
    assert math.isnan(empty.last)
    assert len(empty.tail(3)) == 0
    assert [len(array) for array in empty.minmax(10)] == [0, 0]


def test_a_step_seen_again_replaces_what_came_after_it() -> None:
    columns = Columns()
    for step in (1, 2, 3):
        columns.add(step, {"a": step, "b": -step})
    columns.add(2, {"a": 20.0})
    assert columns.get("a").steps.tolist() == [1, 2]
    assert columns.get("a").values.tolist() == [1.0, 20.0]
    assert columns.get("b").steps.tolist() == [1, 2, 3]


def test_cutting_forgets_the_step_itself_and_all_after() -> None:
    columns = Columns()
    for step in (1, 3, 5):
        columns.add(step, {"a": step})
    columns.cut(4)
    assert columns.get("a").steps.tolist() == [1, 3]
    columns.cut(3)
    assert columns.get("a").steps.tolist() == [1]
    assert columns.get("a").tail(9) == [1.0]


@given(st.lists(FLOATS, max_size=20), st.integers(-3, 30), st.integers(1, 4))
def test_the_values_since_a_step_are_those_at_it_and_after(
    values: list[float], since: int, stride: int
) -> None:
    whole = series(values, stride=stride)
    kept = [repr(v) for s, v in zip(whole.steps, values, strict=True) if s >= since]
    assert [repr(value) for value in whole.since(since)] == kept


@given(st.lists(FLOATS, max_size=60), st.integers(0, 70), st.integers(0, 70), st.integers(1, 8))
def test_a_part_of_a_series_is_thinned_as_if_it_were_all(
    values: list[float], first: int, last: int, buckets: int
) -> None:
    found = series(values, first=5).minmax(buckets, first, last)
    inside = [(step, value) for step, value in enumerate(values, 5) if first <= step <= last]
    part = series([value for _, value in inside], first=inside[0][0] if inside else 0)
    assert pairs(*found) == pairs(*part.minmax(buckets))
