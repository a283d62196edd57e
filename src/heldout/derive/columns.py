"""Scalars by name: growing columns, and min/max thinning that keeps every spike."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Series:
    """One metric over steps; `steps` ascend and `values` may hold NaN and infinities."""

    def __init__(self) -> None:
        self._steps = array("q")
        self._values = array("d")
        self.cuts = 0
        """How often its end was forgotten: what was folded over it before is void."""

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def steps(self) -> Ints:
        """Steps as int64, ascending."""
        return np.array(self._steps, dtype=np.int64)

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
        return self._values[bisect_left(self._steps, step) :].tolist()

    def after(self, count: int) -> Iterator[tuple[int, float]]:
        """Steps and values behind the first `count`; costs what it returns."""
        return zip(self._steps[count:], self._values[count:], strict=True)

    def append(self, step: int, value: float) -> None:
        """Add the value at `step`, which lies after every step present."""
        self._steps.append(step)
        self._values.append(value)

    def cut(self, step: int) -> None:
        """Forget everything at or after `step`."""
        keep = bisect_left(self._steps, step)
        self.cuts += keep < len(self._steps)
        del self._steps[keep:], self._values[keep:]

    def minmax(
        self, buckets: int, first: int | None = None, last: int | None = None
    ) -> tuple[Ints, Floats]:
        """Thin to the lowest, highest and last point of each of `buckets` equal runs of points.

        Of the steps from `first` to `last`, both included, where they are given.

        Every non-finite value is kept as well, so no spike and no NaN is ever thinned away. A
        series that is short enough comes back whole.
        """
        start = 0 if first is None else bisect_left(self._steps, first)
        end = len(self) if last is None else bisect_left(self._steps, last + 1)
        steps = np.array(self._steps[start:end], dtype=np.int64)
        values = np.array(self._values[start:end], dtype=np.float64)
        size = len(values)
        if size <= 3 * buckets:
            return steps, values
        finite = np.isfinite(values)
        edges = np.linspace(0, size, buckets + 1).astype(np.int64)[:-1]
        low = _first_equal(np.where(finite, values, np.inf), np.minimum, edges)
        high = _first_equal(np.where(finite, values, -np.inf), np.maximum, edges)
        ends = np.append(edges[1:], size) - 1
        keep = np.unique(np.concatenate([low, high, ends, np.flatnonzero(~finite)]))
        return steps[keep], values[keep]


class Columns:
    """Every series of a run by metric name."""

    def __init__(self) -> None:
        self.series: dict[str, Series] = {}

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add one sample. A step seen before replaces it and everything after it (a resume)."""
        for name, value in values.items():
            series = self.series.get(name)
            if series is None:
                series = self.series[name] = Series()
            if series._steps and step <= series._steps[-1]:
                series.cut(step)
            series.append(step, value)

    def cut(self, step: int) -> None:
        """Forget everything at or after `step`."""
        for series in self.series.values():
            series.cut(step)

    def get(self, name: str) -> Series:
        """The series called `name`; an empty one, not to be appended to, when it was never recorded."""
        return self.series.get(name, NEVER)


NEVER = Series()
"""What was never recorded."""


def _first_equal(values: Floats, reduce: np.ufunc, edges: Ints) -> Ints:
    """Index of the first point of each bucket that equals the bucket's extreme."""
    extreme = reduce.reduceat(values, edges)
    bucket = np.searchsorted(edges, np.arange(len(values)), side="right") - 1
    matches = np.flatnonzero(values == extreme[bucket])
    _, first = np.unique(bucket[matches], return_index=True)
    return matches[first]
