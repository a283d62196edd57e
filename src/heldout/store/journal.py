"""The journal: append-only JSON Lines, one writer, any number of readers, nothing lost.

Every record goes out in one `write()` of whole lines straight to the file, so a process killed
at any moment has lost nothing that was recorded: the page cache outlives it. `fsync` runs on a
timer and when the caller asks (after evaluations and checkpoints), against a machine that dies.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from heldout.errors import JournalBusy, JournalError
from heldout.records import AnyRecord, Note, decode, encode

FILE_NAME = "journal.jsonl"
FSYNC_SECONDS = 15.0


class Journal:
    """The one writer of a run's journal.

    Opening cuts a torn last line, and raises `JournalBusy` if another process is writing the file
    and `JournalError` if it cannot be opened. `append` never raises: rows the disk refuses are
    counted in `lost` and reported by a `Note` as soon as the disk takes rows again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Never at the end of a link: whoever may write in this folder would choose what is changed.
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
            self._file = os.open(path, flags, 0o644)
        except OSError as error:
            raise JournalError(f"{path}: cannot be opened for writing: {error}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise JournalBusy(
                f"{path}: another process is writing this journal. "
                "Wait for it to end, or choose another run name (output.run)."
            ) from None
        except OSError:
            pass  # a file system without locks (some NFS): the run name is the only guard there
        self._size = _cut_torn_line(self._file)
        self._torn = False
        self._synced = time.monotonic()

    def append(self, records: Sequence[AnyRecord], *, durable: bool = False) -> Sequence[AnyRecord]:
        """Write `records` in one call and return what is in the file now; nothing if it was refused.

        After a refusal the next success also writes, first, a `Note` of how many rows were lost.
        `durable` waits for the disk. A partial write is undone, so a reader never meets half a
        line that a later record would be glued to.
        """
        if not records:
            return ()
        if self.lost:
            records = [self._note_of_loss(records[-1]), *records]
        if not self._write(records):
            self.lost += len(records) - bool(self.lost)
            return ()
        self.lost = 0
        if durable or time.monotonic() - self._synced > FSYNC_SECONDS:
            self.sync()
        return records

    def sync(self) -> None:
        """Wait until everything appended is on the disk."""
        self._synced = time.monotonic()
        if self._file < 0:
            return
        with suppress(OSError):  # the next append meets the same trouble and counts it
            os.fsync(self._file)

    def close(self) -> None:
        """Flush to disk and release the file."""
        self.sync()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _note_of_loss(self, near: AnyRecord) -> Note:
        text = f"{self.lost} records could not be written (disk full or unreachable)"
        step, when = getattr(near, "step", 0), getattr(near, "time", 0.0)
        return Note(step=step, time=when, topic="lost", text=text)

    def _write(self, records: Sequence[AnyRecord]) -> bool:
        try:
            data = b"".join(encode(record) + b"\n" for record in records)
            if self._torn:
                os.ftruncate(self._file, self._size)
            self._torn = True
            whole = os.write(self._file, data) == len(data)
        except (OSError, RecursionError, TypeError, ValueError):
            whole = False
        if whole:
            self._size += len(data)
            self._torn = False
            return True
        with suppress(OSError):
            os.ftruncate(self._file, self._size)
            self._torn = False
        return False


def read(path: Path, offset: int = 0, limit: int | None = None) -> tuple[list[AnyRecord], int]:
    """Read the whole lines of the journal at `path` from byte `offset` on, about `limit` bytes of them.

    Returns the records and the offset to continue from; a line still being written is left for
    the next call. A line that is no record (a newer writer's kind, damage) is passed over, since
    one bad line must not hide a run. Raises `OSError` when the file cannot be read.
    """
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(limit)
        if limit is not None:
            data += file.readline()
    end = data.rfind(b"\n") + 1
    return list(decode_lines(data[:end])), offset + end


def decode_lines(data: bytes, passed_over: tuple[bytes, ...] = ()) -> Iterator[AnyRecord]:
    """Yield what whole lines hold, but for lines that begin as one of `passed_over` or are no record."""
    for line in data.splitlines():
        if line.startswith(passed_over):
            continue
        try:
            yield decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue


def _cut_torn_line(file: int) -> int:
    """Truncate after the last line break; returns the size kept."""
    size = os.fstat(file).st_size
    position, tail = size, b""
    while position and b"\n" not in tail:
        start = max(0, position - 65536)
        tail = os.pread(file, position - start, start)
        position = start
    keep = position + tail.rfind(b"\n") + 1 if tail else 0
    if keep != size:
        os.ftruncate(file, keep)
    return keep
