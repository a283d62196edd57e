"""Another tool's log as it grows: read and judged anew whenever its files have changed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol

from heldout.derive.history import History
from heldout.records import AnyRecord
from heldout.views.follow import News

MOST_FILES = 5000
"""Files of a folder whose size and time are looked at; beyond them a change may go unseen."""
LEAST_SECONDS = 2.0
REST = 5.0
"""After a reading nothing is read for this many times as long as it took."""


class Judged(Protocol):
    """A run as it was read and judged."""

    @property
    def history(self) -> History:
        """The run, folded."""

    @property
    def records(self) -> Sequence[AnyRecord]:
        """Every fact, each followed by the verdicts and decisions it caused."""


Read = Callable[[Path], Judged]


class LogFollower:
    """What `Follower` is for a journal, for a log that only a whole reading can tell of."""

    def __init__(self, path: Path, read: Read) -> None:
        self.path = path
        self.history = History()
        self.offset = 0
        """Readings so far."""
        self._read = read
        self._stamp: tuple[tuple[str, int, int], ...] = ()
        self._due = 0.0

    def advance(self, limit: int | None = None) -> News:
        """Read the log if it has changed, and say everything that it tells. `limit` means nothing here.

        Raises `HeldoutError` and `OSError`; it is read again by the next call then, when that is due.
        """
        start, now = self.offset, time.monotonic()
        nothing = News([], start, start, [], replaced=False, behind=False)
        if now < self._due:
            return nothing
        self._due = now + LEAST_SECONDS
        stamp = tuple(_stamps(self.path))
        if stamp == self._stamp:
            return nothing
        found = self._read(self.path)
        self._due = time.monotonic() + max(LEAST_SECONDS, REST * (time.monotonic() - now))
        self._stamp, self.history, self.offset = stamp, found.history, start + 1
        return News(list(found.records), start, self.offset, [], replaced=False, behind=False)


def _stamps(path: Path) -> Iterator[tuple[str, int, int]]:
    """Name, size and time of the file, or of the files in the folder."""
    files = [path] if path.is_file() else islice(_files(path), MOST_FILES)
    for file in files:
        try:
            status = file.stat()
        except OSError:
            continue  # removed meanwhile, as old checkpoints are
        yield os.fspath(file), status.st_size, status.st_mtime_ns


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(parent, name) for name in sorted(names))
