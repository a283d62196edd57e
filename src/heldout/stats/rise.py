"""Whether a noisy series is higher in its later half than at its beginning, and how surely."""

from __future__ import annotations

import math
from array import array

HEAD = 10
"""One value in so many is the beginning."""
LEAST = 5
"""Values that the beginning has at least."""


class Rise:
    """Means and noise of a series, kept up to date at a constant cost a value.

    The noise of one value is the root of half the mean squared change from value to value (von Neumann
    1941), which a trend hardly changes. Values that are not finite are left out.
    """

    def __init__(self) -> None:
        self._sums = array("d", [0.0])
        self._squares = 0.0
        self._last = math.nan

    @property
    def n(self) -> int:
        """Finite values so far."""
        return len(self._sums) - 1

    def add(self, step: int, value: float) -> None:
        """Take in the next value."""
        if not math.isfinite(value):
            return
        if self.n:
            self._squares += (value - self._last) ** 2
        self._sums.append(self._sums[-1] + value)
        self._last = value

    def mean(self, start: int, stop: int) -> float:
        """The mean of the values from number `start` up to `stop`, 0-based; NaN of none."""
        return (self._sums[stop] - self._sums[start]) / (stop - start) if stop > start else math.nan

    @property
    def later(self) -> float:
        """The mean of the later half; NaN without a value."""
        return self.mean(self.n // 2, self.n)

    @property
    def rise(self) -> float:
        """How far the later half lies above the beginning; NaN without a value."""
        return self.later - self.mean(0, min(self.n, self._head))

    @property
    def noise(self) -> float:
        """The standard deviation of one value; NaN of fewer than two."""
        return math.sqrt(self._squares / (2 * (self.n - 1))) if self.n > 1 else math.nan

    @property
    def error(self) -> float:
        """The standard error of `rise`."""
        return self.noise * math.sqrt(1 / self._head + 2 / self.n) if self.n else math.nan

    @property
    def error_of_later(self) -> float:
        """The standard error of `later`."""
        return self.noise * math.sqrt(2 / self.n) if self.n else math.nan

    @property
    def _head(self) -> int:
        return max(LEAST, self.n // HEAD)
