"""The fold of a journal that says whether its trainer lives; small however long the run is."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import islice
from statistics import median

import msgspec
import numpy as np

from heldout.derive.history import History
from heldout.records import AnyRecord, Checkpoint, Item, Metric, Note, Run, Sample, Samples

WINDOW = 64
"""Recorded steps that the usual time between them is taken from."""
MOST_TOGETHER = 4096


class Pulse:
    """What of a run tells life from silence: how it stands in `history`, and its pace.

    `history` has the run's facts, steps, notes and checkpoints, and none of its numbers.
    """

    def __init__(self) -> None:
        self.history = History()
        self.longest_pause = 0.0
        """Seconds between two records of this attempt, at most: an evaluation or a save took them."""
        self._together = 1
        self._times: deque[float] = deque(maxlen=WINDOW)

    def add(self, record: AnyRecord | Samples) -> None:
        """Fold in one record, or many samples at once; they come in journal order."""
        history = self.history
        time = getattr(record, "time", 0.0)
        match record:
            case Run():
                history.add(record)
                self._start(record)
                return
            case Samples():
                self._samples(record)
                return
            case Sample():
                if record.step != history.step:
                    self._times.append(time)
                thin: AnyRecord = msgspec.structs.replace(record, values={})
            case Note() | Checkpoint():
                thin = record
            case Item() | Metric():
                return
            case _:
                thin = Sample(step=history.step, time=time, values={})
        if history.run and time > history.time:
            self.longest_pause = max(self.longest_pause, time - history.time)
        history.add(thin)

    @property
    def step_seconds(self) -> float:
        """Median time from one record of a step to the next, in seconds; 0 before the second.

        Steps that are recorded together count as one.
        """
        gaps = [
            later - time
            for time, later in zip(
                self._times, islice(self._times, self._together, None), strict=False
            )
        ]
        return median(gaps) if gaps else 0.0

    def _samples(self, record: Samples) -> None:
        history, times = self.history, np.array(record.times)
        taken = np.diff(record.steps, prepend=history.step) != 0
        self._times.extend(times[taken][-WINDOW - MOST_TOGETHER :].tolist())
        if history.run:
            latest = np.fmax.accumulate(np.append(history.time, times))
            self.longest_pause = max(self.longest_pause, float(np.diff(latest).max()))
        history.add(replace(record, tables=(), last={}))

    def _start(self, run: Run) -> None:
        together = (run.config.get("signals") or {}).get("every", 1)
        self._together = min(together, MOST_TOGETHER) if isinstance(together, int) else 1
        self._times = deque(maxlen=WINDOW + self._together)
        self.longest_pause = 0.0
