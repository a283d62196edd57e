"""Running medians, noise and levels of a series, kept up to date at a constant cost a value.

Each class takes in values one by one with `add(step, value)` and looks only back. A value that is not
finite is remembered as the last one and left out of every statistic.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable
from typing import ClassVar

NORMAL = 1.4826
"""Standard deviations of a normal distribution per median absolute deviation."""
LATELY, RENEWED = 64, 16
"""Rows that the noise is taken from, and rows after which it is found anew."""
LEAST_NOISE = 0.03
"""Noise of a logarithm never taken to be smaller: a smooth start has almost none."""
NEAR_ZERO = math.log(0.02)
"""Losses around zero, as in reinforcement learning, are noise and no cross-entropy."""
NEAR = 1.25
"""A level within this of the lowest has not left it."""
FEW = 32
"""Residuals that may hold only one of the jumps that are usual."""
BASE, LEVEL, IN_A_ROW = 8, 9, 6
"""Rows of a jump's baseline, rows of a level, and levels in a row that are remembered."""


class RunningMedian:
    """The median of the last `size` finite values."""

    __slots__ = ("_order", "_sorted", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._order: deque[float] = deque()
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self._order)

    def add(self, value: float) -> None:
        """Take in a finite value."""
        order, ordered = self._order, self._sorted
        if len(order) == self.size:
            del ordered[bisect_left(ordered, order.popleft())]
        order.append(value)
        insort(ordered, value)

    @property
    def value(self) -> float:
        """The median; NaN before the first value."""
        return _middle(self._sorted)

    def at_least(self, value: float) -> int:
        """How many of the values are not below `value`."""
        return len(self._sorted) - bisect_left(self._sorted, value)


def median(values: Iterable[float]) -> float:
    """Return the median of finite values; NaN of none."""
    return _middle(sorted(values))


class LogTrail:
    """A positive series in logarithms: its baseline, the jump over it, and the noise of such jumps.

    With x = log max(value, floor), the baseline is the median of the last `BASE` x before this one and
    the residual is x less that. The noise of one x is 1.4826 median |x - x before| / sqrt 2 over the last
    `LATELY` rows, which a trend hardly changes; it is found anew every `RENEWED` values and never from
    the last one.
    """

    floor: ClassVar[float] = 1e-12

    def __init__(self) -> None:
        self.n = 0
        """Finite values so far."""
        self.step = 0
        self.last = math.nan
        self.base = math.nan
        """The baseline before the last value, as a logarithm."""
        self.residual = math.nan
        self.noise = LEAST_NOISE
        self._before = RunningMedian(BASE)
        self._residuals: deque[float] = deque(maxlen=LATELY)
        self._changes: deque[float] = deque(maxlen=LATELY)
        self._x = math.nan

    def add(self, step: int, value: float) -> None:
        """Take in the next value; one that is not finite leaves baseline and noise as they are."""
        self.step, self.last = step, value
        self.base = self._before.value
        self.residual = math.nan
        if math.isfinite(value):
            self._take(math.log(value if value > self.floor else self.floor))

    def residuals(self, rows: int) -> list[float]:
        """The last `rows` residuals at most."""
        return list(self._residuals)[-rows:]

    def tail(self) -> float:
        """The size of jump that is usual lately: the second largest residual, the last `BASE` aside.

        The largest may have been a jump of its own; it counts while `FEW` or fewer are known. 0 without any.
        """
        known = sorted(list(self._residuals)[:-BASE])
        largest = known[-2:-1] if len(known) > FEW else known[-1:]
        return max(0.0, *largest) if largest else 0.0

    def _take(self, x: float) -> None:
        if self.n:
            if self.n <= RENEWED or self.n % RENEWED == 0:
                found = NORMAL * median(self._changes) / math.sqrt(2)
                self.noise = found if found > LEAST_NOISE else LEAST_NOISE
            self.residual = x - self.base
            self._residuals.append(self.residual)
            self._changes.append(abs(x - self._x))
        self._before.add(x)
        self._x = x
        self.n += 1


class GradientTrail(LogTrail):
    """The norm of the gradients."""


class LossTrail(LogTrail):
    """A training loss: also its level (running median), the lowest one, and means of its logarithm."""

    floor: ClassVar[float] = 1e-3

    def __init__(self) -> None:
        super().__init__()
        self.level = math.nan
        """Median of the last `LEVEL` values, from the third value on."""
        self.best = math.inf
        """The lowest level so far."""
        self.best_step = self.left_step = 0
        """Where the lowest level was, and where the level was last near it."""
        self.levels: deque[float] = deque(maxlen=IN_A_ROW)
        self.values: deque[float] = deque(maxlen=IN_A_ROW)
        """The last finite values themselves."""
        self._levels = RunningMedian(LEVEL)
        self._best_of = LEVEL
        self._sums = array("d", [0.0])

    def add(self, step: int, value: float) -> None:
        """Take in the loss of a step."""
        super().add(step, value)
        if not math.isfinite(value):
            return
        self._levels.add(value)
        self.values.append(value)
        if self.n < 3:
            return
        self.level = self._levels.value
        self.levels.append(self.level)
        if self.level < self.best:
            self.best, self.best_step, self._best_of = self.level, step, len(self._levels)
        if self.level <= NEAR * self.best:
            self.left_step = step

    @property
    def stray(self) -> float:
        """How far, in logarithms, levels of pure noise may lie apart: noise * sqrt(2 log rows).

        More while the lowest level is a median of m < `LEVEL` rows, whose variance is as 1 / m.
        """
        wider = (1 + LEVEL / self._best_of) / 2
        return self.noise * math.sqrt(2 * math.log(self.n) * wider)

    @property
    def near_zero(self) -> bool:
        """Whether the baseline is so small that ratios to it say nothing."""
        return self.base <= NEAR_ZERO

    def mean(self, start: int, stop: int) -> float:
        """The mean log loss of the finite values from number `start` up to `stop`, 0-based."""
        return (self._sums[stop] - self._sums[start]) / (stop - start)

    def _take(self, x: float) -> None:
        super()._take(x)
        self._sums.append(self._sums[-1] + x)


def _middle(ordered: list[float]) -> float:
    if not ordered:
        return math.nan
    half, odd = divmod(len(ordered), 2)
    return ordered[half] if odd else (ordered[half - 1] + ordered[half]) / 2
