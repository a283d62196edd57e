"""Where the time between two optimizer steps goes."""

from __future__ import annotations

import time
from collections.abc import Callable

OF_THE_STEP = ("data", "forward_backward", "optimizer", "other")
"""The phases that are the step itself; evaluation, saving and the monitor's own work are not."""


class Laps:
    """A stopwatch with named laps: the time since the last call belongs to the phase named now.

    Host time. A device that computes on its own is waited for where the step's numbers are brought
    to the host, and by the Trainer's own check for NaN after each backward pass.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._last = clock()
        self._seconds: dict[str, float] = {}

    def lap(self, phase: str) -> None:
        """Count the time since the last lap to `phase`, in seconds."""
        now = self._clock()
        self._seconds[phase] = self._seconds.get(phase, 0.0) + now - self._last
        self._last = now

    def take(self) -> dict[str, float]:
        """Hand over the seconds by phase and start anew."""
        taken, self._seconds = self._seconds, {}
        return taken
