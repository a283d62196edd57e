"""Long journals read fast: samples become columns where they are decoded, on every core there is.

Almost all of a long journal is samples, and almost all of the time it takes to read them goes into
objects that a fold takes apart at once. So lines that hold the same names are decoded by a type made
for them, straight into columns. What is long is decoded in parts by processes of their own
(`python -m heldout.store.bulk JOURNAL START END`), which leaves this one free to answer.
"""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise
from operator import lt
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from heldout.records import AnyRecord, Sample, Samples, Step, Table, decode
from heldout.store import journal

SAMPLE = b'{"type":"sample"'
"""How the journal's own writer begins the line of a sample."""
FEW_BYTES = 1 << 20
"""Less than this is read record by record: a live page is told each one."""
PART_BYTES = 1 << 16
"""Lines decoded at once; more would leave the processor's cache."""
MANY_BYTES = 1 << 26
"""From here on other processes pay for their start."""
START_SECONDS, SLOW_BYTES = 30.0, 1 << 20
"""Another process is waited for so long, and a second more for so many bytes."""
FEW_ROWS = 16
"""Fewer samples between two other records are cheaper to fold one by one."""
MOST_NAMES = 1000
MOST_SHAPES = 8
"""Types tried on a line: each one in vain costs a quarter of a decoding."""

NO_RECORD = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

Found = list[AnyRecord | Samples]

_log = logging.getLogger(__name__)

_fields = msgspec.structs.astuple


def read(
    path: Path, offset: int = 0, limit: int | None = None, *, bare: bool = False
) -> tuple[Found, int]:
    """Read as `heldout.store.journal.read` does, with `Samples` for samples where there are many.

    With `bare` those may hold steps and times and no values, which takes a third of the time.
    """
    size = path.stat().st_size - offset
    if limit is not None:
        size = min(size, limit)
    if size <= FEW_BYTES:
        records, offset = journal.read(path, offset, limit)
        return list(records), offset
    parts = _parts(path, offset, offset + size, _workers(size))
    if len(parts) == 1:
        return decoded(path, *parts[0], bare=bare), parts[0][1]
    with ThreadPoolExecutor(len(parts)) as pool:  # each thread waits for a process
        found = list(pool.map(lambda part: _elsewhere(path, *part), parts))
    return list(chain.from_iterable(found)), parts[-1][1]


def decoded(path: Path, start: int, end: int, *, bare: bool = False) -> Found:
    """Return what the lines from byte `start` to `end`, each the begin of a line, hold. Raises `OSError`."""
    with path.open("rb") as file:
        return gathered(file, start, end, bare=bare)


def gathered(
    file: BinaryIO,
    start: int,
    end: int,
    passed_over: tuple[bytes, ...] = (),
    *,
    bare: bool = False,
) -> Found:
    """Return the same of an open file, but for lines that begin as one of `passed_over`."""
    gather = _Gather(passed_over, [_Shape(())] if bare else [])
    file.seek(start)
    while start < end:
        data = file.read(min(PART_BYTES, end - start))
        if not data:
            break  # the file became shorter meanwhile
        start += len(data)
        if start < end:
            data += (rest := file.readline())
            start += len(rest)
        gather.add(data)
    return gather.end()


class _Shape:
    """A type for the lines of samples that hold exactly `names`, and the table it fills.

    Without names it takes any sample, and nothing of it but step and time.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = frozenset(names)
        self._names = names
        fields = [f"n{i}" for i in range(len(names))]
        values = msgspec.defstruct(
            "Values",
            [(field, float) for field in fields],
            rename=dict(zip(fields, names, strict=True)),
            forbid_unknown_fields=bool(names),
            gc=False,
        )
        row = msgspec.defstruct(
            "Row",
            [("step", Step), ("time", float), ("values", values)],
            tag_field="type",
            tag="sample",
            gc=False,
        )
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(row, strict=False)
        self._decode, self._decode_lines = decoder.decode, decoder.decode_lines
        self.clear()

    def clear(self) -> None:
        self.steps = array("q")
        self._values = array("d")

    def row(self, line: bytes) -> Any:
        """What the line holds; None where it is no sample with these names."""
        try:
            return self._decode(line)
        except NO_RECORD:
            return None

    def rows(self, data: bytes) -> list[Any] | None:
        """What each of the lines holds; None where some is no sample with these names."""
        try:
            rows = self._decode_lines(data)
        except NO_RECORD:
            return None
        # The decoder takes an object over two lines, too, and two on one.
        return rows if len(rows) == data.count(b"\n") and b"\r" not in data else None

    def extend(self, rows: Sequence[Any], steps: Sequence[int]) -> None:
        for row in rows:
            self._values.extend(_fields(row.values))
        self.steps.extend(steps)

    @property
    def last(self) -> dict[str, float]:
        """The values of the last row."""
        return dict(zip(self._names, self._values[-len(self._names) :], strict=True))

    def dicts(self) -> Iterator[dict[str, float]]:
        """The values of each row."""
        width = len(self._names)
        for i in range(len(self.steps)):
            yield dict(zip(self._names, self._values[i * width : (i + 1) * width], strict=True))

    def table(self) -> Table:
        width = len(self._names)
        columns = tuple(self._values[i::width] for i in range(width))
        return Table(self._names, self.steps, columns)


class _Gather:
    """Lines in order; samples that follow one another are gathered into `Samples`."""

    def __init__(self, passed_over: tuple[bytes, ...], shapes: list[_Shape]) -> None:
        self._passed_over = passed_over
        self._found: Found = []
        self._shapes = shapes
        self._last: _Shape | None = None
        """The shape of the latest row."""
        self._clear()

    def add(self, data: bytes) -> None:
        """Take in whole lines."""
        shape = self._last
        if shape is not None:  # most often all are samples such as the last
            found = shape.rows(data)
            if found is not None:
                self._take(shape, found)
                return
        rows: list[Any] = []
        for line in data.splitlines():
            row = shape.row(line) if shape is not None else None
            if row is None:
                if shape is not None:
                    self._take(shape, rows)
                rows = []
                found_in = self._find(line)
                if found_in is None:
                    continue
                shape, row = found_in
            rows.append(row)
        if shape is not None:
            self._take(shape, rows)

    def end(self) -> Found:
        """Return everything that was taken in."""
        self._flush()
        return self._found

    def _find(self, line: bytes) -> tuple[_Shape, Any] | None:
        """The shape that a line has, one made for it if need be; any other record is taken in."""
        if line.startswith(self._passed_over):
            return None
        is_sample = line.startswith(SAMPLE)
        if is_sample:
            for shape in self._shapes:
                row = shape.row(line)
                if row is not None:
                    return shape, row
        try:
            record = decode(line)
        except NO_RECORD:
            return None  # one bad line must not hide a run
        if is_sample and isinstance(record, Sample) and len(self._shapes) < MOST_SHAPES:
            made = _made(tuple(record.values))
            row = made.row(line) if made else None
            if made and row is not None:
                self._shapes.append(made)
                return made, row
        self._flush()
        self._found.append(record)
        return None

    def _take(self, shape: _Shape, rows: Sequence[Any]) -> None:
        if not rows:
            return
        steps = [row.step for row in rows]
        if not all(map(lt, steps, steps[1:])):
            for row in rows:
                self._take(shape, [row])
            return
        if self._steps and (steps[0] < self._steps[-1] or self._holds(shape, steps[0])):
            self._flush()
        shape.extend(rows, steps)
        if shape not in self._open:
            self._open.append(shape)
        if len(self._order) < FEW_ROWS:
            self._order += [shape] * min(len(rows), FEW_ROWS)
        self._steps.extend(steps)
        self._times.extend([row.time for row in rows])
        self._last = shape

    def _holds(self, shape: _Shape, step: int) -> bool:
        """Whether a value of one of its names is there for the step already."""
        return any(
            step <= other.steps[-1] and not shape.names.isdisjoint(other.names)
            for other in self._open
        )

    def _flush(self) -> None:
        if self._last is None or not self._steps:
            return
        if len(self._steps) < FEW_ROWS:
            self._found.extend(self._one_by_one())
        else:
            tables = tuple(shape.table() for shape in self._open)
            self._found.append(Samples(self._steps, self._times, tables, self._last.last))
        for shape in self._open:
            shape.clear()
        self._clear()

    def _one_by_one(self) -> Iterator[Sample]:
        rows = {shape: shape.dicts() for shape in self._open}
        for shape, step, time in zip(self._order, self._steps, self._times, strict=True):
            yield Sample(step=step, time=time, values=next(rows[shape]))

    def _clear(self) -> None:
        self._order: list[_Shape] = []
        """The shape of each row, of the first ones."""
        self._open: list[_Shape] = []
        """The shapes that hold rows of the samples being gathered."""
        self._steps, self._times = array("q"), array("d")


def _made(names: tuple[str, ...]) -> _Shape | None:
    """A shape of these names; None where they are too many, or one is such that no field may have it."""
    if not 0 < len(names) <= MOST_NAMES:
        return None
    try:
        return _Shape(names)
    except ValueError:
        return None


def _workers(size: int) -> int:
    return max(1, min(_cores(), 2 * size // MANY_BYTES))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _parts(path: Path, start: int, end: int, count: int) -> list[tuple[int, int]]:
    """Cut the whole lines from byte `start` to about `end` into `count` parts at most, one at least.

    The line in which `end` lies belongs to them, unless it is still being written.
    """
    with path.open("rb") as file:
        end = _last_break(file, start, _line_end(file, end))
        cuts = [start]
        for i in range(1, count):
            cuts.append(_line_end(file, max(cuts[-1], start + (end - start) * i // count)))
    parts = [part for part in pairwise([*cuts, end]) if part[0] < part[1]]
    return parts or [(start, start)]


def _line_end(file: BinaryIO, offset: int) -> int:
    """Where the line ends that the byte before `offset` stands in."""
    file.seek(max(0, offset - 1))
    file.readline()
    return file.tell()


def _last_break(file: BinaryIO, start: int, end: int) -> int:
    """Where the last whole line between the two ends; `start` where there is none."""
    while start < end:
        begin = max(start, end - FEW_BYTES)
        file.seek(begin)
        found = file.read(end - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return start


def _elsewhere(path: Path, start: int, end: int) -> Found:
    """`decoded` by a process of its own; by this one where that fails, or takes very long."""
    # -P: nothing in the folder that this was started in may stand for a module.
    command = [sys.executable, "-P", "-m", __name__, str(path), str(start), str(end)]
    patience = START_SECONDS + (end - start) / SLOW_BYTES
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, timeout=patience
        )
        found: Found = pickle.loads(done.stdout)
        if isinstance(found, list):
            return found
    except Exception as error:  # a strange Python, no process left, a start-up file that prints
        _log.info("%s is read by one process only: %s", path, error)
    return decoded(path, start, end)


if __name__ == "__main__":
    pickle.dump(
        decoded(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])), sys.stdout.buffer, 5
    )
