"""Scalars by name: growing columns, and min/max thinning that keeps every spike."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from heldout.records import Table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCK = 64
"""Values that a block of the pyramid stands for."""


class Series:
    """One metric over steps; `steps` ascend and `values` may hold NaN and infinities.

    Series that are recorded together hold their steps once, in one array `together`; each leaves it with
    a copy of its own at the first step that the others do not have.
    """

    def __init__(self, together: array[int] | None = None) -> None:
        self._steps = array("q") if together is None else together
        """The first `len(self)` are this series'; more are those of others."""
        self._values = array("d")
        self._pyramid = Pyramid()
        self.cuts = 0
        """How often its end was forgotten: what was folded over it before is void."""

    def __len__(self) -> int:
        return len(self._values)

    @property
    def steps(self) -> Ints:
        """Steps as int64, ascending."""
        return np.array(self._steps[: len(self)], dtype=np.int64)

    @property
    def values(self) -> Floats:
        """Values as float64, one a step."""
        return np.array(self._values, dtype=np.float64)

    @property
    def last(self) -> float:
        """The latest value; NaN when there is none."""
        return self._values[-1] if self._values else float("nan")

    def tail(self, n: int) -> list[float]:
        """The last `n` values at most."""
        return self._values[-n:].tolist()

    def since(self, step: int) -> list[float]:
        """The values at `step` and after it; costs what it returns, however long the series is."""
        return self._values[self._at(step) :].tolist()

    def after(self, count: int) -> Iterator[tuple[int, float]]:
        """Steps and values behind the first `count`; costs what it returns."""
        return zip(self._steps[count : len(self)], self._values[count:], strict=True)

    def append(self, step: int, value: float) -> None:
        """Add the value at `step`, in place of what stands there or after it."""
        size = len(self._values)
        if size and self._steps[size - 1] >= step:
            self.cut(step)
            size = len(self._values)
        if size == len(self._steps):
            self._steps.append(step)
        elif self._steps[size] != step:
            self._steps = self._steps[:size]
            self._steps.append(step)
        self._values.append(value)

    def extend(self, steps: array[int], values: array[float]) -> None:
        """Add many values at ascending steps, in place of what stands there or after them."""
        if not steps:
            return
        size = self._at(steps[0])
        if size < len(self):
            self.cut(steps[0])
        if size == len(self._steps):
            self._steps.extend(steps)
        elif self._steps[size : size + len(steps)] != steps:
            self._steps = self._steps[:size]
            self._steps.extend(steps)
        self._values.extend(values)

    def cut(self, step: int) -> None:
        """Forget everything at or after `step`."""
        keep = self._at(step)
        self.cuts += keep < len(self)
        del self._values[keep:]
        self._pyramid.cut(keep)

    def _at(self, step: int) -> int:
        """How many of its steps lie before `step`."""
        return bisect_left(self._steps, step, hi=len(self))

    def minmax(
        self, buckets: int, first: int | None = None, last: int | None = None
    ) -> tuple[Ints, Floats]:
        """Thin to the first and last point and the lowest and highest of each of `buckets` runs of points.

        Of the steps from `first` to `last`, both included, where they are given.

        The first and last NaN, Infinity and -Infinity of each run are kept as well, so no spike and no
        NaN is ever thinned away. A series that is short enough comes back whole.
        """
        start = 0 if first is None else self._at(first)
        end = len(self) if last is None else self._at(last + 1)
        steps, values = np.frombuffer(self._steps, np.int64), np.frombuffer(self._values)
        if end - start <= 2 * buckets:
            return steps[start:end].copy(), values[start:end].copy()
        kept = self._pyramid.stand_ins(values, start, end, buckets)
        return steps[kept], values[kept]


class Pyramid:
    """The lowest and highest value of each whole block of a series, and all that is not finite.

    It is built as far as it is asked for, and costs what came in since. A long stretch is then thinned
    by its blocks and not by its values.
    """

    def __init__(self) -> None:
        self._low, self._high = array("q"), array("q")
        """Indices, one a block."""
        self._odd = array("q")
        """Indices of all values in the blocks that are not finite, ascending."""

    def cut(self, count: int) -> None:
        """Forget all values but the first `count`."""
        blocks = count // BLOCK
        del self._low[blocks:], self._high[blocks:]
        del self._odd[bisect_left(self._odd, BLOCK * blocks) :]

    def stand_ins(self, values: Floats, start: int, end: int, buckets: int) -> Ints:
        """Return the indices, ascending, of what `minmax` keeps of `values[start:end]`.

        `values` is the series that this was asked of before, as it stands now.
        """
        size = end - start
        if size < 2 * BLOCK * buckets:
            low = high = begins = np.arange(start, end)
            edges = start + size * np.arange(buckets) // buckets
        else:
            self._build(values)
            first, last = -(-start // BLOCK), end // BLOCK
            edges = BLOCK * (first + (last - first) * np.arange(buckets) // buckets)
            edges[0] = start
            head, tail = np.arange(start, BLOCK * first), np.arange(BLOCK * last, end)
            begins = np.concatenate([head, BLOCK * np.arange(first, last), tail])
            low = np.concatenate([head, np.array(self._low[first:last]), tail])
            high = np.concatenate([head, np.array(self._high[first:last]), tail])
        bucket = np.searchsorted(edges, begins, side="right") - 1
        kept = [
            np.array([start, end - 1]),
            low[_first_lowest(_finite_or(values[low], np.inf), bucket)],
            high[_first_lowest(-_finite_or(values[high], -np.inf), bucket)],
            self._odd_ones(values, start, end, edges),
        ]
        return np.unique(np.concatenate(kept))

    def _build(self, values: Floats) -> None:
        done, whole = BLOCK * len(self._low), len(values) // BLOCK * BLOCK
        blocks = values[done:whole].reshape(-1, BLOCK)
        begins = np.arange(done, whole, BLOCK)
        self._low.extend((begins + _finite_or(blocks, np.inf).argmin(1)).tolist())
        self._high.extend((begins + _finite_or(blocks, -np.inf).argmax(1)).tolist())
        self._odd.extend((done + np.flatnonzero(~np.isfinite(values[done:whole]))).tolist())

    def _odd_ones(self, values: Floats, start: int, end: int, edges: Ints) -> Ints:
        """The first and last of each kind of non-finite value in each bucket."""
        built = min(max(start, BLOCK * len(self._low)), end)
        known = self._odd[bisect_left(self._odd, start) : bisect_left(self._odd, built)]
        more = built + np.flatnonzero(~np.isfinite(values[built:end]))
        odd = np.concatenate([np.array(known, dtype=np.int64), more])
        kind = np.where(np.isnan(values[odd]), 0, np.sign(values[odd])).astype(np.int64)
        group = 3 * np.searchsorted(edges, odd, side="right") + kind
        firsts, lasts = (
            np.unique(group, return_index=True),
            np.unique(group[::-1], return_index=True),
        )
        return np.concatenate([odd[firsts[1]], odd[::-1][lasts[1]]])


class Columns:
    """Every series of a run by metric name."""

    def __init__(self) -> None:
        self.series: dict[str, Series] = {}

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add one sample. A step seen before replaces it and everything after it (a resume)."""
        together: array[int] = array("q")
        for name, value in values.items():
            series = self.series.get(name)
            if series is None:
                series = self.series[name] = Series(together)
            series.append(step, value)

    def extend(self, tables: Sequence[Table]) -> None:
        """Add many samples at once, as `add` does one by one."""
        begun: dict[int, array[int]] = {}
        for name, (steps, values) in by_name(tables).items():
            series = self.series.get(name)
            if series is None:
                series = self.series[name] = Series(begun.setdefault(id(steps), array("q")))
            series.extend(steps, values)

    def cut(self, step: int) -> None:
        """Forget everything at or after `step`."""
        for series in self.series.values():
            series.cut(step)
        for together in {
            id(series._steps): series._steps for series in self.series.values()
        }.values():
            del together[bisect_left(together, step) :]

    def get(self, name: str) -> Series:
        """The series called `name`; an empty one, not to be appended to, when it was never recorded."""
        return self.series.get(name, NEVER)


NEVER = Series()
"""What was never recorded."""


def by_name(tables: Sequence[Table]) -> dict[str, tuple[array[int], array[float]]]:
    """Steps and values of each name; those that stand in several tables are put together by step."""
    holding: dict[str, list[tuple[int, int]]] = {}
    for i, table in enumerate(tables):
        for j, name in enumerate(table.names):
            holding.setdefault(name, []).append((i, j))
    orders: dict[tuple[int, ...], tuple[array[int], Ints]] = {}
    found = {}
    for name, places in holding.items():
        if len(places) == 1:
            ((i, j),) = places
            found[name] = tables[i].steps, tables[i].columns[j]
            continue
        key = tuple(i for i, _ in places)
        if key not in orders:
            steps = np.concatenate([tables[i].steps for i in key])
            order = np.argsort(steps, kind="stable")
            orders[key] = array("q", steps[order].tobytes()), order
        steps_in_order, order = orders[key]
        values = np.concatenate([tables[i].columns[j] for i, j in places])[order]
        found[name] = steps_in_order, array("d", values.tobytes())
    return found


def _finite_or(values: Floats, instead: float) -> Floats:
    finite = np.isfinite(values)
    return values if finite.all() else np.where(finite, values, instead)


def _first_lowest(values: Floats, bucket: Ints) -> Ints:
    """Index of the first lowest value of each bucket; `bucket` ascends, and no number is left out."""
    begins = np.flatnonzero(np.diff(bucket, prepend=-1))
    lowest = np.minimum.reduceat(values, begins)
    found = np.flatnonzero(values == lowest[bucket])
    return found[np.flatnonzero(np.diff(bucket[found], prepend=-1))]
