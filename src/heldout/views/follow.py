"""A journal as it grows, folded: what every live view of a run reads.

Each byte is read and folded once; the position lies always after a line break.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from heldout.derive.history import History
from heldout.records import AnyRecord, Samples, Verdict
from heldout.store import bulk
from heldout.store.heartbeat import standing
from heldout.store.identity import Identity


@dataclass(frozen=True, slots=True)
class News:
    """What one look at a journal brought."""

    records: list[AnyRecord | Samples]
    """What was appended, the heartbeat's verdicts not among them; `Samples` only where it is much."""
    start: int
    end: int
    """The bytes they stood in."""
    heartbeat: list[Verdict]
    """What viewers newly found of the trainer's life."""
    replaced: bool
    """Whether another file took its place, so that everything before was forgotten."""
    behind: bool
    """Whether there is more to read, because of the limit."""

    def __bool__(self) -> bool:
        """Whether anything is new."""
        return bool(self.end != self.start or self.heartbeat or self.replaced)


class Follower:
    """A journal folded up to `offset`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.history = History()
        self.offset = 0
        self._identity = Identity()
        self._heartbeat: list[Verdict] = []

    def advance(self, limit: int | None = None) -> News:
        """Fold what was appended, about `limit` bytes of it, and say what it was.

        A file that another one took the place of is begun anew. Raises `OSError`.
        """
        replaced = not self._identity.holds(self.path)
        if replaced:
            self.history, self.offset, self._heartbeat = History(), 0, []
            self._identity = Identity()
        start = self.offset
        records, self.offset = bulk.read(self.path, start, limit)
        self._identity.remember(self.path, self.offset)
        for record in records:
            self.history.add(record)
        behind = limit is not None and self.offset - start >= limit
        found = [] if behind else self._beat()
        return News(records, start, self.offset, found, replaced, behind)

    def _beat(self) -> list[Verdict]:
        """Fold the heartbeat's verdict if it changed."""
        found = standing(self.path, self.offset)
        if found == self._heartbeat:
            return []
        self._heartbeat = found
        for verdict in found:
            self.history.add(verdict)
        return found
