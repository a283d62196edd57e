"""Whether steps have become slower than they used to be."""

from __future__ import annotations

import math
from collections import deque

from heldout.stats.robust import RunningMedian

FIRST = 5
"""Steps left out at the start: they warm up and compile."""
REFERENCE, ENOUGH = 500, 20
"""Steps the present is compared with: the latest that were not slow, at most and at least."""
WINDOW = 25
"""Steps that are the present: more than half of them must be slow to move their median."""
SLOW = 1.1
"""While the window's median is above this times the reference's, steps do not enter the reference."""


class Pace:
    """Seconds a step: the median of the last `WINDOW` against a reference of earlier ones.

    `evidence` is a log e-value: each step's rank among the reference is a conformal p-value (ties
    against us), bet on with e = 1 / (2 sqrt p), and the bets of the window are multiplied. If steps are
    as they were, it reaches log(1 / alpha) with probability alpha at most at any one step. Source:
    Vovk, Gammerman and Shafer 2005, chapter 7; the power bet is theirs.
    """

    def __init__(self) -> None:
        self.evidence = 0.0
        self.ratio = math.nan
        """How much longer a step takes than it used to; NaN before there is enough to compare."""
        self.since = 0
        """The step at which the window became slow; 0 while it is not."""
        self._seen = 0
        self._reference = RunningMedian(REFERENCE)
        self._window = RunningMedian(WINDOW)
        self._waiting: deque[float] = deque()
        self._bets: deque[float] = deque(maxlen=WINDOW)

    @property
    def now(self) -> float:
        """The median of the window, seconds."""
        return self._window.value

    @property
    def usual(self) -> float:
        """The median of the reference, seconds; NaN before there is one."""
        return self._reference.value

    def add(self, step: int, value: float) -> None:
        """Take in the seconds of a step; what is not finite is left out."""
        self._seen += 1
        if self._seen <= FIRST or not math.isfinite(value):
            return
        bet = self._bet(value) if len(self._reference) >= ENOUGH else 0.0
        gone = self._bets[0] if len(self._bets) == WINDOW else 0.0
        self.evidence += bet - gone
        self._bets.append(bet)
        self._window.add(value)
        self._waiting.append(value)
        if len(self._waiting) > WINDOW:
            self._compare(step, self._waiting.popleft())

    def _compare(self, step: int, earlier: float) -> None:
        if len(self._reference) >= ENOUGH:
            usual = self.usual
            self.ratio = self.now / usual if usual > 0 else math.nan
            if self.ratio > SLOW:
                self.since = self.since or step
                return
            self.since = 0
        self._reference.add(earlier)

    def _bet(self, value: float) -> float:
        size = len(self._reference)
        p = (self._reference.at_least(value) + 1) / (size + 1)
        return -0.5 * math.log(4 * p)
