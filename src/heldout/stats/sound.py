"""Whether a series is made of proper numbers."""

from __future__ import annotations

import math


class Soundness:
    """How long ago a value was not finite, and how many of the last ones are exactly 0."""

    def __init__(self) -> None:
        self.step = 0
        """The step of the last value."""
        self.finite = 0
        self.first_bad = 0
        """The step of the first value that was not finite."""
        self.since_bad = math.inf
        """Values since the last one that was not finite: 0 where it is the last."""
        self.bad_in_a_row = 0
        self.zeros = 0
        """Values of exactly 0 at the end."""
        self.nonzero_step = 0
        """The last step whose value was not 0."""

    def add(self, step: int, value: float) -> None:
        """Take in the next value."""
        self.step = step
        if value != 0:
            self.nonzero_step = step
        if math.isfinite(value):
            self.finite += 1
            self.since_bad += 1
            self.bad_in_a_row = 0
            self.zeros = 0 if value else self.zeros + 1
            return
        if self.since_bad == math.inf:
            self.first_bad = step
        self.since_bad = self.zeros = 0
        self.bad_in_a_row += 1
