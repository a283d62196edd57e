"""One shared fold a run: however many tabs look, each byte of a journal is read and folded once.

A tail is polled only while someone is connected. Its position is a byte offset that always lies
after a line break; that offset is the cursor a page resumes from.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from starlette.concurrency import run_in_threadpool

from heldout.derive.clock import Clock
from heldout.derive.history import History
from heldout.records import AnyRecord, Run, Sample, Samples, encode
from heldout.store import journal
from heldout.store.annotations import FILE_NAME as ANNOTATIONS
from heldout.store.bulk import FEW_BYTES
from heldout.store.heartbeat import FILE_NAME as HEARTBEAT
from heldout.store.runs import find_run, stamp
from heldout.views.exporter import Exporter
from heldout.views.follow import Follower
from heldout.views.series import is_thinned, thinned
from heldout.views.snapshot import live, snapshot
from heldout.views.web.waiting import Waiting, may_be_news

_log = logging.getLogger(__name__)

T = TypeVar("T")

POLL_SECONDS = 0.25
RECENT_BATCHES = 64
IDLE_TAILS = 16


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What a page gets for the bytes from `start` to `end` of the journal."""

    start: int
    end: int
    data: bytes
    """JSON: {samples, live, snapshot or null, reload, now}."""


class Tail:
    """A journal folded up to `offset`, and the events that brought it there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = Clock()
        self.closing = False
        self.beats = 0
        """How often another journal took this one's place, or what stands beside it changed: the heartbeat's
        verdict or what people say. A page is told of that without new bytes."""
        self._follower = Follower(path)
        self._recent: deque[Event] = deque(maxlen=RECENT_BATCHES)
        self._files = (path, path.parent / HEARTBEAT, path.parent / ANNOTATIONS)
        self._seen: list[tuple[int, int]] = []
        """How these files stood at the last look; most looks find them unchanged, and end there."""
        self._lock = asyncio.Lock()
        self._waiting = Waiting(self._poll)

    @property
    def history(self) -> History:
        """What the journal says up to `offset`."""
        return self._follower.history

    @property
    def offset(self) -> int:
        """Bytes folded so far."""
        return self._follower.offset

    @property
    def watched(self) -> bool:
        """Whether someone is connected."""
        return bool(self._waiting)

    async def page(self) -> dict[str, Any]:
        """Fold to the end of the file and return what a page needs to draw itself."""
        async with self._lock:
            return await run_in_threadpool(self._page)

    async def ask(self, question: Callable[[History], T]) -> T:
        """Fold to the end of the file and return what `question` makes of the history, in a thread."""
        async with self._lock:
            await run_in_threadpool(self._advance)
            return await run_in_threadpool(question, self.history)

    async def export(self, exporter: Exporter) -> bytes:
        """Fold to the end of the file and return what `exporter` makes of it."""
        return await self.ask(exporter.write)

    async def events(self, cursor: int) -> AsyncIterator[Event | None]:
        """Yield every event after `cursor` as it happens, and None when nothing has for a while."""
        with self._waiting.joined() as wake:
            beats = self.beats
            while not self.closing:
                wake.clear()
                for event in await self._since(cursor):
                    yield event
                    cursor = event.end
                if beats != self.beats:
                    beats = self.beats
                    yield await self._load_anew(cursor)
                if not await may_be_news(wake):
                    yield None

    async def _poll(self) -> None:
        told = -1, 0  # not the offset before this fold: a page that loads folds too
        while not self.closing:
            async with self._lock:
                try:
                    await run_in_threadpool(self._advance)
                except Exception:  # a file system that is away comes back; the page shows the age
                    _log.exception("cannot follow %s", self.path)
            if (self.offset, self.beats) != told:
                told = self.offset, self.beats
                self._waiting.wake()
            await asyncio.sleep(POLL_SECONDS)
        self._waiting.wake()

    async def _load_anew(self, cursor: int) -> Event:
        async with self._lock:
            return await run_in_threadpool(lambda: self._event(cursor, cursor, [], reload=True))

    async def _since(self, cursor: int) -> list[Event]:
        async with self._lock:
            return await run_in_threadpool(self._events_since, cursor)

    def _events_since(self, cursor: int) -> list[Event]:
        """The events from `cursor` to the present; one that says "load anew" for a wrong cursor."""
        if not self.offset:
            self._advance()
        if cursor == self.offset:
            return []
        recent = [event for event in self._recent if event.start >= cursor]
        if recent and recent[0].start == cursor:
            return recent
        start = cursor
        if self.offset - cursor > FEW_BYTES or not self._is_line_start(cursor):
            return [self._event(start, self.offset, [], reload=True)]
        records: list[AnyRecord | Samples] = []
        while cursor != self.offset:  # the file may grow between the two reads
            more, cursor = journal.read(self.path, cursor)
            records += more
            self._advance()
            if cursor > self.offset:  # another file took its place meanwhile
                return [self._event(start, self.offset, [], reload=True)]
        reload = _supersedes(records, self._step_before(start))
        return [self._event(start, cursor, records, reload=reload)]

    def _advance(self) -> None:
        """Fold what was appended; start over when another file took its place."""
        seen, before = [stamp(file) for file in self._files], self._seen
        if seen == before:
            return
        last_step = self.history.step if self.history.latest else None
        news = self._follower.advance()
        if news.replaced:
            self.clock, last_step = Clock(), None
            self._recent.clear()
        for record in news.records:
            self.clock.add(record)
        self.beats += news.replaced + bool(news.heartbeat)
        self.beats += bool(before and seen[-1] != before[-1])
        self._seen = seen
        if news.end != news.start and self._waiting:
            reload = _supersedes(news.records, last_step)
            self._recent.append(self._event(news.start, news.end, news.records, reload=reload))

    def _event(
        self, start: int, end: int, records: list[AnyRecord | Samples], *, reload: bool
    ) -> Event:
        samples = [record for record in records if isinstance(record, Sample)]
        reload = reload or any(isinstance(record, Samples) for record in records)
        told_by_live = reload or len(samples) == len(records)
        data = {
            "samples": [{"step": s.step, "values": s.values} for s in samples if not reload],
            "live": live(self.history),
            "snapshot": None if told_by_live else snapshot(self.history),
            "reload": reload,
            "now": time.time(),
        }
        return Event(start=start, end=end, data=encode(data))

    def _page(self) -> dict[str, Any]:
        self._advance()
        return {
            "snapshot": snapshot(self.history),
            "series": thinned(self.history),
            "thinned": is_thinned(self.history),
            "cursor": self.offset,
            "now": time.time(),
        }

    def _step_before(self, cursor: int) -> int | None:
        """The step of the last sample before `cursor`, if it is near: what a page there has drawn to."""
        begin = max(0, cursor - FEW_BYTES)
        with self.path.open("rb") as file:
            file.seek(begin)
            data = file.read(cursor - begin)
        lines = data[data.find(b"\n") + 1 :] if begin else data
        steps = [
            record.step for record in journal.decode_lines(lines) if isinstance(record, Sample)
        ]
        return steps[-1] if steps else None

    def _is_line_start(self, cursor: int) -> bool:
        if cursor == 0:
            return True
        if not 0 < cursor <= self.offset:
            return False
        with self.path.open("rb") as file:
            file.seek(cursor - 1)
            return file.read(1) == b"\n"


class Tails:
    """The tails of all runs in a folder; those nobody watches are dropped, oldest first."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self._tails: dict[Path, Tail] = {}

    async def find(self, run_id: str) -> Tail:
        """Return the tail of the run called `run_id`. Raises `RunNotFound`."""
        return self._tail(await run_in_threadpool(find_run, self.root, run_id))

    def close(self) -> None:
        """Let every connected page go, so that the server can end."""
        for tail in self._tails.values():
            tail.closing = True

    def _tail(self, folder: Path) -> Tail:
        tail = self._tails.pop(folder, None) or Tail(folder / journal.FILE_NAME)
        self._tails[folder] = tail  # last used, last in the order
        idle = [key for key, other in self._tails.items() if not other.watched and other != tail]
        for key in idle[: max(0, len(idle) - IDLE_TAILS)]:
            del self._tails[key]
        return tail


def _supersedes(records: list[AnyRecord | Samples], last_step: int | None) -> bool:
    """Tell whether `records` take back steps that a page already draws (a resume)."""
    for record in records:
        if isinstance(record, Run):  # a later attempt: it starts over, or from a checkpoint
            return True
        if isinstance(record, Sample):
            if last_step is not None and record.step < last_step:
                return True
            last_step = record.step
    return False
