"""Long journals read fast: samples become columns where they are decoded, on every core there is.

Almost all of a long journal is samples, and almost all of the time it takes to read them goes into
objects that a fold takes apart at once. So lines that hold the same names are decoded by a type made
for them, straight into columns. What is long is decoded in parts by processes of their own
(`python -m heldout.store.bulk JOURNAL START END`), which leaves this one free to answer.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from array import array
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise
from operator import lt
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from heldout.records import AnyRecord, Sample, Samples, Table, decode
from heldout.store import journal

SAMPLE = b'{"type":"sample"'
"""How the journal's own writer begins the line of a sample."""
FEW_BYTES = 1 << 20
"""Less than this is read record by record: a live page is told each one."""
PART_BYTES = 1 << 16
"""Lines decoded at once; more would leave the processor's cache."""
MANY_BYTES = 1 << 26
"""From here on other processes pay for their start."""
MOST_SHAPES = 8
"""Types tried on a line: each one in vain costs a quarter of a decoding."""

Found = list[AnyRecord | Samples]

_fields = msgspec.structs.astuple


def read(path: Path, offset: int = 0, limit: int | None = None) -> tuple[Found, int]:
    """Read as `heldout.store.journal.read` does, with `Samples` for samples where there are many."""
    size = path.stat().st_size - offset
    if limit is not None:
        size = min(size, limit)
    if size <= FEW_BYTES:
        records, offset = journal.read(path, offset, limit)
        return list(records), offset
    parts = _parts(path, offset, offset + size, _workers(size))
    if len(parts) == 1:
        return decoded(path, *parts[0]), parts[0][1]
    with ThreadPoolExecutor(len(parts)) as pool:  # each thread waits for a process
        found = list(pool.map(lambda part: _elsewhere(path, *part), parts))
    return list(chain.from_iterable(found)), parts[-1][1]


def decode_lines(data: bytes, passed_over: tuple[bytes, ...] = ()) -> Found:
    """Return what whole lines hold, but for lines that begin as one of `passed_over`."""
    gather = _Gather(passed_over)
    gather.add(data)
    return gather.end()


def decoded(path: Path, start: int, end: int) -> Found:
    """Return what the lines from byte `start` to `end`, each the begin of a line, hold. Raises `OSError`."""
    gather = _Gather()
    with path.open("rb") as file:
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
    """A type for the lines of samples that hold exactly `names`, and the table it fills."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        fields = [f"n{i}" for i in range(len(names))]
        values = msgspec.defstruct(
            "Values",
            [(field, float) for field in fields],
            rename=dict(zip(fields, names, strict=True)),
            forbid_unknown_fields=True,
            gc=False,
        )
        row = msgspec.defstruct(
            "Row",
            [("step", int), ("time", float), ("values", values)],
            tag_field="type",
            tag="sample",
            gc=False,
        )
        decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(row, strict=False)
        self.decode, self.decode_lines = decoder.decode, decoder.decode_lines
        self.clear()

    def clear(self) -> None:
        self.steps = array("q")
        self.values = array("d")
        self.step = -1

    def table(self) -> Table:
        width = len(self.names)
        return Table(self.names, self.steps, tuple(self.values[i::width] for i in range(width)))


class _Gather:
    """Lines in order; samples that follow one another are gathered into `Samples`."""

    def __init__(self, passed_over: tuple[bytes, ...] = ()) -> None:
        self._passed_over = passed_over
        self._found: Found = []
        self._shapes: list[_Shape] = []
        self._open: list[_Shape] = []
        """The shapes that hold rows of the samples being gathered."""
        self._last: _Shape
        self._steps: array[int]
        self._times: array[float]
        self._step: int
        self._clear()

    def add(self, data: bytes) -> None:
        """Take in whole lines."""
        if self._open:  # most often all are samples such as the last
            try:
                self._take(self._last, self._last.decode_lines(data))
                return
            except msgspec.DecodeError:
                pass
        for line in data.splitlines():
            if line.startswith(SAMPLE):
                self._sample(line)
            else:
                self._other(line)

    def end(self) -> Found:
        """Return everything that was taken in."""
        self._flush()
        return self._found

    def _sample(self, line: bytes) -> None:
        for shape in self._shapes:
            try:
                row = shape.decode(line)
            except msgspec.DecodeError:
                continue
            self._take(shape, [row])
            return
        self._other(line)

    def _take(self, shape: _Shape, rows: Sequence[Any]) -> None:
        if not rows:
            return
        steps = [row.step for row in rows]
        if not all(map(lt, steps, steps[1:])):
            for row in rows:
                self._take(shape, [row])
            return
        if steps[0] <= shape.step or steps[0] < self._step:
            self._flush()
        if not shape.steps:
            if any(not set(shape.names).isdisjoint(other.names) for other in self._open):
                self._flush()  # two tables of the same samples may not share a name
            self._open.append(shape)
        for row in rows:
            shape.values.extend(_fields(row.values))
        shape.steps.extend(steps)
        shape.step = self._step = steps[-1]
        self._steps.extend(steps)
        self._times.extend([row.time for row in rows])
        self._last = shape

    def _other(self, line: bytes) -> None:
        if line.startswith(self._passed_over):
            return
        try:
            record = decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return  # one bad line must not hide a run
        if isinstance(record, Sample) and self._learn(record, line):
            self._sample(line)
            return
        self._flush()
        self._found.append(record)

    def _learn(self, record: Sample, line: bytes) -> bool:
        """Make a type for samples such as this one; False where none can be made."""
        if not record.values or len(self._shapes) == MOST_SHAPES or not line.startswith(SAMPLE):
            return False
        try:
            shape = _Shape(tuple(record.values))
            shape.decode(line)
        except (ValueError, msgspec.DecodeError):  # a name that no field may have
            return False
        self._shapes.append(shape)
        return True

    def _flush(self) -> None:
        if not self._open:
            return
        tables = tuple(shape.table() for shape in self._open)
        last = dict(zip(self._last.names, self._last.values[-len(self._last.names) :], strict=True))
        self._found.append(Samples(self._steps, self._times, tables, last))
        for shape in self._open:
            shape.clear()
        self._open = []
        self._clear()

    def _clear(self) -> None:
        self._steps, self._times, self._step = array("q"), array("d"), -1


def _workers(size: int) -> int:
    return max(1, min(_cores(), 2 * size // MANY_BYTES))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _parts(path: Path, start: int, end: int, count: int) -> list[tuple[int, int]]:
    """Cut the whole lines from byte `start` to about `end` into `count` parts at most, one at least.

    The line in which `end` lies belongs to them, unless it is still being written.
    """
    with path.open("rb") as file:
        cuts = [start]
        for i in range(1, count + 1):
            file.seek(max(cuts[-1], start + (end - start) * i // count - 1))
            file.readline()
            cuts.append(file.tell())
        cuts[-1] = _last_break(file, cuts[-2], cuts[-1])
    parts = [part for part in pairwise(cuts) if part[0] < part[1]]
    return parts or [(start, start)]


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
    """`decoded` by a process of its own; by this one where none can be started."""
    command = [sys.executable, "-m", __name__, str(path), str(start), str(end)]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
        )
        found: Found = pickle.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, pickle.UnpicklingError, EOFError):
        return decoded(path, start, end)
    return found


if __name__ == "__main__":
    pickle.dump(
        decoded(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])), sys.stdout.buffer, 5
    )
