"""Whether a journal is the one that was read before, or another one that took its place.

A journal only grows, so what was read of it stands there unchanged. A run that was removed and made
again under the same name may be longer than the first; and its file may have the first one's inode,
which many file systems give away again at once. So bytes are compared, where the file has changed.
"""

from __future__ import annotations

from pathlib import Path

END_BYTES = 1 << 10
"""Compared of the begin, where the run's name and the time of its start stand, and before the offset."""


class Identity:
    """What a reader remembers of the journal that it has read up to an offset; nothing at first."""

    def __init__(self) -> None:
        self._offset = 0
        self._head = self._tail = b""

    def holds(self, path: Path) -> bool:
        """Whether the file still begins with what was read. Raises `OSError`."""
        if not self._offset:
            return True
        head, tail = self._ends(path, self._offset)
        return (head[: len(self._head)], tail) == (self._head, self._tail)

    def remember(self, path: Path, offset: int) -> None:
        """Take down that the file was read up to `offset`. Raises `OSError`."""
        if offset == self._offset:
            return
        head, self._tail = self._ends(path, offset)
        # The first one stays: a file that took its place during the reading is told by it next time.
        self._head = self._head or head
        self._offset = offset

    def _ends(self, path: Path, offset: int) -> tuple[bytes, bytes]:
        with path.open("rb") as file:
            head = file.read(min(END_BYTES, offset))
            file.seek(max(0, offset - END_BYTES))
            return head, file.read(min(END_BYTES, offset))
