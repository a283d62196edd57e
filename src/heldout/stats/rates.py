"""The learning rate followed step by step: its peak, its fall, and the ways it goes wrong."""

from __future__ import annotations

import math

SETTLED = 10
"""Values in a row without a rise that end a warm-up: float16's scaler may skip the first few steps."""
FALLEN = 0.9
"""Share of the peak below which the rate has begun to fall."""
RISE, SUDDEN = 1.05, 1.5
"""From one value to the next: a smaller rise is rounding, a larger one no part of a smooth schedule."""


class RateTrail:
    """A learning rate and where it stands in its schedule. Steps are 0 for what never happened."""

    def __init__(self) -> None:
        self.last = math.nan
        self.peak = 0.0
        self.peak_step = 0
        """The last step at the peak."""
        self.zeros = 0
        """Values of 0 in a row at the end."""
        self.zero_step = 0
        """Where the rate last became 0."""
        self.jump, self.jump_from, self.jump_step = 1.0, math.inf, 0
        """The latest rise above a settled peak: over that peak, the peak, and where."""
        self.sudden, self.sudden_step = 1.0, 0
        """The latest rise by more than `SUDDEN` from one value to the next, after the rate had fallen."""
        self.rise_step = 0
        """Where the rate last rose smoothly after it had fallen."""
        self._low = math.inf
        self._still = 0

    def add(self, step: int, value: float) -> None:
        """Take in the rate of a step; one that is not finite is only the last one."""
        before, self.last = self.last, value
        if not math.isfinite(value):
            return
        self.zeros = 0 if value > 0 else self.zeros + 1
        if self.zeros == 1:
            self.zero_step = step
        if value > before * RISE:
            self._rose(step, value, before)
            self._still = 0
        else:
            self._still += 1
        if value >= self.peak:
            self.peak, self.peak_step, self._low = value, step, value
        elif value < self._low:
            self._low = value

    def _rose(self, step: int, value: float, before: float) -> None:
        if self._still >= SETTLED and value > self.peak * SUDDEN > 0:
            self.jump, self.jump_from, self.jump_step = value / self.peak, self.peak, step
        elif self._low < FALLEN * self.peak:
            if value > before * SUDDEN and self._still:
                self.sudden, self.sudden_step = value / before if before > 0 else math.inf, step
            else:
                self.rise_step = step
