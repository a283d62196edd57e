"""The rows of a log in the order of their steps, each step once, as the last attempt left them."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from heldout.store.reader import Row

CLOCKS = ("epoch", "train/epoch")
"""Numbers that say where a row is; rows of training and of evaluation both hold them."""


class Timeline:
    """Takes rows as they were logged; rows of one step become one.

    A row that goes back to say a number again, differently, is a resume: what was logged from its
    step on is forgotten, as `History` does. Where it goes back to the first step it is another run, written
    behind the first, and the last run stands. One that goes back with numbers nothing contradicts is
    late (all evaluations at the end of a file, another process's numbers) and takes its place.
    """

    def __init__(self) -> None:
        self.resumes: list[tuple[int, int]] = []
        """The last step before each resume, and the first one after it."""
        self.runs = 1
        """How many runs the rows are of; the last one stands."""
        self._rows: dict[int, tuple[float | None, dict[str, float]]] = {}
        self._steps: list[int] = []
        self._by_name: dict[str, list[int]] = {}

    def add(self, row: Row) -> None:
        """Take in the next row."""
        last = self._steps[-1] if self._steps else row.step
        if row.step < last and any(self._contradicts(row, name) for name in row.values):
            if row.step <= self._steps[0]:
                self.runs += 1
                self.resumes.clear()
            else:
                self.resumes.append((last, row.step))
            self._cut(row.step)
        if row.step not in self._rows:
            self._rows[row.step] = row.time, {}
            insort(self._steps, row.step)
        values = self._rows[row.step][1]
        for name in row.values.keys() - values.keys():
            insort(self._by_name.setdefault(name, []), row.step)
        values.update(row.values)

    def rows(self) -> Iterator[Row]:
        """The rows that stand, by step; the time never falls where it is known."""
        latest: float | None = None
        for step in self._steps:
            time, values = self._rows[step]
            if time is not None:
                latest = time if latest is None else max(latest, time)
            yield Row(step, values, latest)

    def _contradicts(self, row: Row, name: str) -> bool:
        steps = self._by_name.get(name)
        if name in CLOCKS or not steps or steps[-1] < row.step:
            return False
        here = self._rows.get(row.step, (None, {}))[1].get(name)
        new = row.values[name]
        return here is None or not (here == new or (here != here and new != new))

    def _cut(self, step: int) -> None:
        at = bisect_left(self._steps, step)
        for gone in self._steps[at:]:
            del self._rows[gone]
        del self._steps[at:]
        for steps in self._by_name.values():
            del steps[bisect_left(steps, step) :]
