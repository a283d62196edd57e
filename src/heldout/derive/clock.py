"""How long a run has trained when it took a step; pauses between attempts do not count."""

from __future__ import annotations

from array import array

import numpy as np

from heldout.derive.columns import Floats, Ints, Series
from heldout.records import AnyRecord, Run, Sample, Samples


class Clock:
    """The seconds of training by step."""

    def __init__(self) -> None:
        self.seconds = Series()
        self._step = -1
        self._last: float | None = None
        """When the last record of this attempt was made."""

    def add(self, record: AnyRecord | Samples) -> None:
        """Fold in one record, or many samples at once; they come in journal order."""
        match record:
            case Run():
                self._cut(record.step + 1 if record.step else 0)
                self._last = record.time
            case Samples():
                self._extend(np.array(record.steps), np.array(record.times))
            case Sample():
                self._append(record.step, record.time)

    def _append(self, step: int, time: float) -> None:
        if step < self._step:
            self._cut(step)
        passed = 0.0 if self._last is None else max(0.0, time - self._last)
        so_far = self.seconds.last if len(self.seconds) else 0.0
        if step == self._step:  # a step may be recorded in parts
            self.seconds.cut(step)
        self.seconds.append(step, so_far + passed)
        self._step, self._last = step, time

    def _extend(self, steps: Ints, times: Floats) -> None:
        if steps[0] < self._step:
            self._cut(int(steps[0]))
        before = times[0] if self._last is None else self._last
        so_far = self.seconds.last if len(self.seconds) else 0.0
        seconds = so_far + np.cumsum(np.fmax(0.0, np.diff(times, prepend=before)))
        latest = np.append(steps[1:] != steps[:-1], True)
        if steps[0] == self._step:
            self.seconds.cut(self._step)
        self.seconds.extend(
            array("q", steps[latest].tobytes()), array("d", seconds[latest].tobytes())
        )
        self._step, self._last = int(steps[-1]), float(times[-1])

    def _cut(self, step: int) -> None:
        self.seconds.cut(step)
        self._step = min(self._step, step - 1)
