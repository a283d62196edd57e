"""Columns: every number by step, and thinning that loses no spike."""

from __future__ import annotations

import itertools
import math
from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heldout.derive.columns import BLOCK, Columns, Series
from heldout.records import Table

FLOATS = st.floats(width=32) | st.sampled_from([0.0, 1.0, math.nan, math.inf, -math.inf])


def series(values: list[float], first: int = 0, stride: int = 1) -> Series:
    made = Series()
    for i, value in enumerate(values):
        made.append(first + stride * i, value)
    return made


def pairs(steps: np.ndarray, values: np.ndarray) -> list[tuple[int, str]]:
    return list(zip(steps.tolist(), map(repr, values.tolist()), strict=True))


def grown(values: list[float], cuts: list[int], buckets: int) -> Series:
    """The same series, asked while it grew and made shorter again, so that its pyramid grew with it."""
    made = Series()
    for cut in cuts:
        for i in range(len(made), len(values) * cut // 10):
            made.append(i, values[i])
        made.minmax(buckets)
        made.cut(len(values) * (cut - 1) // 10)
    made.extend(array("q", range(len(made), len(values))), array("d", values[len(made) :]))
    return made


def runs(size: int, buckets: int, start: int = 0) -> list[tuple[int, int]]:
    """The bounds of each run of points: of blocks where there are enough."""
    if size < 2 * BLOCK * buckets:
        edges = [start + size * i // buckets for i in range(buckets)]
    else:
        first, last = -(-start // BLOCK), (start + size) // BLOCK
        edges = [start] + [
            BLOCK * (first + (last - first) * i // buckets) for i in range(1, buckets)
        ]
    return list(itertools.pairwise([*edges, start + size]))


def check(whole: Series, values: list[float], start: int, end: int, buckets: int) -> None:
    """Everything that thinning promises of `values[start:end]`, at steps 0, 1, 2, ..."""
    steps, kept = whole.minmax(buckets, start, end - 1)
    assert (np.diff(steps) > 0).all()
    assert list(map(repr, kept)) == [repr(np.float64(values[step])) for step in steps]
    if end - start <= 2 * buckets:
        assert steps.tolist() == list(range(start, end))
        return
    assert steps[0] == start
    assert steps[-1] == end - 1
    odd = 0
    for first, last in runs(end - start, buckets, start):
        inside = kept[(steps >= first) & (steps < last)]
        bucket = [value for value in values[first:last] if math.isfinite(value)]
        if bucket:
            assert min(bucket) in inside
            assert max(bucket) in inside
        for kind in ("nan", "inf", "-inf"):
            places = [i for i in range(first, last) if repr(values[i]) == kind]
            odd += len(places[:1] + places[1:][-1:])
            assert not places or {places[0], places[-1]} <= set(steps.tolist())
    assert len(kept) <= 2 * buckets + odd + 2


@given(st.lists(FLOATS, max_size=80), st.integers(1, 12), st.data())
def test_thinning_keeps_the_extremes_the_ends_and_what_is_not_finite(
    values: list[float], buckets: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(values)))
    end = data.draw(st.integers(start, len(values)))
    check(series(values), values, start, end, buckets)


@given(
    st.integers(1000, 6000),
    st.dictionaries(
        st.integers(0, 5999), st.sampled_from([9.0, -9.0, math.nan, math.inf, -math.inf])
    ),
    st.lists(st.integers(1, 10), max_size=4),
    st.integers(1, 9),
    st.data(),
)
def test_a_long_series_is_thinned_by_its_blocks_and_loses_no_spike_either(
    size: int, spikes: dict[int, float], cuts: list[int], buckets: int, data: st.DataObject
) -> None:
    values = np.random.default_rng(size).normal(size=size).tolist()
    for at, spike in spikes.items():
        values[at % size] = spike
    whole = grown(values, cuts, buckets)
    check(whole, values, 0, size, buckets)
    start = data.draw(st.integers(0, size))
    check(whole, values, start, data.draw(st.integers(start, size)), buckets)


@pytest.mark.parametrize("size", [1000, 100_000])
def test_a_spike_of_one_step_survives_also_on_the_edge_of_a_bucket(size: int) -> None:
    lost = []
    for at in (0, 1, 63, 64, 65, 99, 100, 101, 199, 200, 998, 999, 99_999):
        for spike in (99.0, -99.0, math.nan, math.inf):
            values = [0.5] * size
            values[at % size] = spike
            steps, kept = series(values).minmax(10)
            if (at % size, repr(spike)) not in pairs(steps, kept) or len(kept) > 2 * 10 + 3:
                lost.append((at, spike, len(kept)))
    assert lost == []


def test_a_series_of_nothing_but_nan_is_few_points_too() -> None:
    steps, kept = series([math.nan] * 100_000).minmax(100)
    assert np.isnan(kept).all()
    assert len(kept) <= 302
    assert steps[[0, -1]].tolist() == [0, 99_999]


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


def test_many_samples_at_once_are_the_same_as_one_by_one() -> None:
    table = Table(("a", "b"), array("q", [3, 4]), (array("d", [1, 2]), array("d", [5, 6])))
    columns = Columns()
    for step in (1, 2, 3, 9):
        columns.add(step, {"a": step, "c": step})
    columns.extend([table])
    assert columns.get("a").steps.tolist() == [1, 2, 3, 4]
    assert columns.get("a").values.tolist() == [1, 2, 1, 2]
    assert columns.get("b").steps.tolist() == [3, 4]
    assert columns.get("c").steps.tolist() == [1, 2, 3, 9]


NAMES = st.lists(st.sampled_from("abcd"), min_size=1, unique=True)
ADDED = st.tuples(st.just("add"), st.integers(0, 12), NAMES)
EXTENDED = st.tuples(st.just("extend"), st.integers(0, 12), NAMES)
CUT = st.tuples(st.just("cut"), st.integers(0, 12), st.just([]))


@given(st.lists(st.one_of(ADDED, EXTENDED, CUT), max_size=30))
def test_series_that_share_their_steps_are_as_if_each_had_its_own(
    calls: list[tuple[str, int, list[str]]],
) -> None:
    columns, alone = Columns(), dict[str, dict[int, float]]()
    for i, (what, step, names) in enumerate(calls):
        steps = [step, step + 2, step + 3] if what == "extend" else [step]
        if what == "cut":
            columns.cut(step)
        elif what == "add":
            columns.add(step, dict.fromkeys(names, float(i)))
        else:
            held = tuple(array("d", [float(i)] * 3) for _ in names)
            columns.extend([Table(tuple(names), array("q", steps), held)])
        for name in alone if what == "cut" else names:
            kept = {at: value for at, value in alone.get(name, {}).items() if at < step}
            alone[name] = kept | ({} if what == "cut" else dict.fromkeys(steps, float(i)))
    for name, values in alone.items():
        found = columns.get(name)
        assert found.steps.tolist() == list(values)
        assert found.values.tolist() == list(values.values())
        assert list(found.after(1)) == list(values.items())[1:]
        assert found.since(5) == [value for at, value in values.items() if at >= 5]
        assert found.minmax(100, 2, 9)[0].tolist() == [at for at in values if 2 <= at <= 9]


def test_series_recorded_together_hold_their_steps_once() -> None:
    columns = Columns()
    for step in range(100):
        columns.add(step, dict.fromkeys("abc", 1.0))
    table = Table(tuple("abc"), array("q", range(100, 300)), (array("d", [1.0] * 200),) * 3)
    columns.extend([table])
    columns.cut(250)
    columns.add(250, dict.fromkeys("abc", 1.0))
    held = {id(columns.get(name)._steps) for name in "abc"}
    assert len(held) == 1
    columns.add(251, {"a": 1.0})
    columns.add(252, dict.fromkeys("ab", 1.0))
    assert columns.get("a").steps.tolist() == list(range(253))
    assert columns.get("b").steps.tolist() == [*range(251), 252]
    assert columns.get("c").steps.tolist() == list(range(251))
