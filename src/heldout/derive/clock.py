"""How long a run has trained when it took a step; pauses between attempts do not count."""

from __future__ import annotations

from heldout.derive.columns import Series
from heldout.records import AnyRecord, Run, Sample


class Clock:
    """The seconds of training by step."""

    def __init__(self) -> None:
        self.seconds = Series()
        self._step = -1
        self._last: float | None = None
        """When the last record of this attempt was made."""

    def add(self, record: AnyRecord) -> None:
        """Fold in one record; records come in journal order."""
        match record:
            case Run():
                self._cut(record.step + 1 if record.step else 0)
                self._last = record.time
            case Sample():
                if record.step <= self._step:
                    self._cut(record.step)
                passed = 0.0 if self._last is None else max(0.0, record.time - self._last)
                so_far = self.seconds.last if len(self.seconds) else 0.0
                self.seconds.append(record.step, so_far + passed)
                self._step, self._last = record.step, record.time

    def _cut(self, step: int) -> None:
        self.seconds.cut(step)
        self._step = min(self._step, step - 1)
