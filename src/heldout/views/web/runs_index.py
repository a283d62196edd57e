"""The list of runs, kept up to date without reading a journal twice.

Each run is folded once into an `Overview`; what was appended is folded on. A first look has a budget
of time: journals it does not reach are known by their first and last part until a thread has read the
rest. Every change has a number, by which a page that was away gets what it missed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, BinaryIO

from starlette.concurrency import run_in_threadpool

from heldout.derive.overview import Overview
from heldout.records import AnyRecord, Samples, encode
from heldout.store.annotations import FILE_NAME as ANNOTATIONS
from heldout.store.annotations import read_annotation
from heldout.store.bulk import gathered
from heldout.store.heartbeat import FILE_NAME as HEARTBEAT
from heldout.store.heartbeat import standing
from heldout.store.identity import Identity
from heldout.store.journal import FILE_NAME as JOURNAL
from heldout.store.journal import decode_lines
from heldout.store.runs import is_real, stamp
from heldout.views.web.waiting import Waiting, may_be_news

_log = logging.getLogger(__name__)

POLL_SECONDS = 2.0
FIRST_LOOK_SECONDS = 0.15
"""Time the first answer may take for whole journals; the others are shown by their two ends."""
HEAD_BYTES = 1 << 14
TAIL_BYTES = 1 << 15
PAUSE_SECONDS = 0.01
"""Between two parts read in the background, for the requests that come meanwhile."""
PART_BYTES = 1 << 22
"""A journal is read in parts of this size, so that a long one is not in memory at once."""
MUCH_BYTES = 1 << 18
"""From here on it pays to read samples as columns."""
BESIDE = (HEARTBEAT, ANNOTATIONS)
PASSED_OVER = (b'{"type":"item"', b'{"type":"layers"', b'{"type":"metric"')
"""Most of a journal's bytes, and nothing that the list shows."""


class Entry:
    """One run as the list knows it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.overview = Overview()
        self.offset = 0
        self._identity = Identity()
        self.is_read = False
        """Whether every whole line of the journal is folded."""
        self.version = 0
        self.seen: tuple[tuple[int, int], ...] = ()
        """Size and time of the files that the line was made from."""
        self.line: dict[str, Any] = {}

    def look(self, *, read: bool) -> bool:
        """Take in what was appended, one part at most; returns whether the line has changed.

        A journal that is not read to its end yet is shown by its two ends; without `read` it is left
        at that. Raises `OSError`.
        """
        journal = self.folder / JOURNAL
        seen = (stamp(journal), *(stamp(self.folder / name) for name in BESIDE))
        if seen == self.seen and (self.is_read or not read):
            return False
        size = seen[0][0]
        if not self._identity.holds(journal):
            self.overview, self.offset, self.is_read = Overview(), 0, False
            self._identity = Identity()
        if read or self.is_read or size <= HEAD_BYTES + TAIL_BYTES:
            self._read_on(journal)
        overview = self.overview if self.is_read else _by_its_ends(journal, size)
        self._judge_heartbeat(journal, overview, self.offset if self.is_read else size)
        self.seen = seen
        line = self._line(overview)
        changed = line != self.line
        self.line = line
        return changed

    def _read_on(self, journal: Path) -> None:
        with journal.open("rb") as file:
            file.seek(self.offset)
            data = file.read(PART_BYTES)
            if len(data) == PART_BYTES:
                data += file.readline()
            end = data.rfind(b"\n") + 1
            for record in self._decoded(file, data[:end]):
                self.overview.add(record)
            self.offset += end
            self._identity.remember(journal, self.offset)
            self.is_read = len(data) < PART_BYTES

    def _decoded(self, file: BinaryIO, lines: bytes) -> Iterable[AnyRecord | Samples]:
        if len(lines) < MUCH_BYTES:
            return decode_lines(lines, PASSED_OVER)
        return gathered(file, self.offset, self.offset + len(lines), PASSED_OVER)

    def _judge_heartbeat(self, journal: Path, overview: Overview, offset: int) -> None:
        for verdict in standing(journal, offset):
            overview.history.add(verdict)

    def _line(self, overview: Overview) -> dict[str, Any]:
        said = read_annotation(self.folder)
        return {
            "id": self.folder.name,
            **overview.summary(),
            "partial": not self.is_read,
            "tags": said.tags,
            "note": said.note,
        }


class RunsIndex:
    """The lines of all runs in a folder, and who waits for them to change."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.closing = False
        self.version = 0
        self.name = secrets.token_hex(4)
        """Names this index: numbers of changes mean nothing to another one."""
        self._entries: dict[str, Entry] = {}
        self._gone: dict[str, int] = {}
        self._lock = threading.Lock()
        self._waiting = Waiting(self._poll)
        self._reader: threading.Thread | None = None

    async def lines(self, *, complete: bool = True) -> dict[str, Any]:
        """Return every run, newest first, within about the first look's time.

        With `complete` a thread then reads the journals that were too long for that.
        """
        found = await run_in_threadpool(self._lines)
        behind = any(line["partial"] for line in found["runs"])
        if complete and behind and not (self._reader and self._reader.is_alive()):
            self._reader = threading.Thread(target=self._read_the_rest, daemon=True)
            self._reader.start()
        return found

    async def events(self, since: str) -> AsyncIterator[tuple[str, bytes] | None]:
        """Yield `(id, data)` for every change after `since`, and None when nothing is new for a while."""
        name, _, number = since.partition("-")
        known = name == self.name and re.fullmatch(r"\d{1,18}", number, re.ASCII)
        version = int(number) if known else -1
        with self._waiting.joined() as wake:
            while not self.closing:
                wake.clear()
                if version < self.version:
                    version, data = await run_in_threadpool(self._since, version)
                    yield f"{self.name}-{version}", data
                if not await may_be_news(wake):
                    yield None

    async def look_now(self) -> None:
        """Take in what has just been written, and tell who waits."""
        await run_in_threadpool(self.look, FIRST_LOOK_SECONDS)
        self._waiting.wake()

    def close(self) -> None:
        """Let every connected page go, so that the server can end."""
        self.closing = True
        self._waiting.wake()

    async def _poll(self) -> None:
        told = -1
        while not self.closing:
            try:
                await run_in_threadpool(self.look, FIRST_LOOK_SECONDS)
            except Exception:  # a file system that is away comes back; the page shows the age
                _log.exception("cannot look at %s", self.root)
            if self.version != told:
                told = self.version
                self._waiting.wake()
            await asyncio.sleep(POLL_SECONDS)

    def look(self, budget: float) -> None:
        """Take in what has changed; journals not read yet as far as `budget` seconds go."""
        end = time.monotonic() + budget
        with self._lock:
            present = _folders(self.root)
            for name in self._entries.keys() - present.keys():
                self._forget(name)
            for name in present.keys() - self._entries.keys():
                self._entries[name] = Entry(present[name])
            for entry in self._newest_first():
                self._look(entry, read=time.monotonic() < end)

    def _look(self, entry: Entry, *, read: bool) -> bool:
        """Take in what is new of one run; False where its journal cannot be read (now)."""
        try:
            if entry.look(read=read):
                entry.version = self._next()
        except OSError as error:
            if entry.line and isinstance(error, FileNotFoundError):
                self._forget(entry.folder.name)
            return False
        except Exception:  # one run must not hide the others
            _log.exception("%s cannot be read", entry.folder)
            return False
        return True

    def _forget(self, name: str) -> None:
        del self._entries[name]
        self._gone[name] = self._next()

    def _next(self) -> int:
        self.version += 1
        return self.version

    def _lines(self) -> dict[str, Any]:
        self.look(FIRST_LOOK_SECONDS)
        with self._lock:
            runs = [entry.line for entry in self._newest_first() if entry.line]
            return {
                "runs": runs,
                "version": f"{self.name}-{self.version}",
                "single": is_real(self.root / JOURNAL),
                "now": time.time(),
            }

    def _read_the_rest(self) -> None:
        for entry in self._newest_first():
            while entry.line and not entry.is_read and not self.closing:
                with self._lock:
                    if entry.folder.name not in self._entries or not self._look(entry, read=True):
                        break
                time.sleep(PAUSE_SECONDS)

    def _since(self, version: int) -> tuple[int, bytes]:
        with self._lock:
            changed = [e.line for e in self._newest_first() if e.version > version and e.line]
            gone = [
                name
                for name, at in self._gone.items()
                if at > version and name not in self._entries
            ]
            whole = version < 0
            data = {"runs": changed, "gone": gone, "whole": whole, "now": time.time()}
            return self.version, encode(data)

    def _newest_first(self) -> list[Entry]:
        """The entries by the last write; those never looked at last, by name from the end."""
        entries = sorted(self._entries.values(), key=lambda entry: entry.folder.name, reverse=True)
        return sorted(entries, key=lambda entry: -entry.seen[0][1] if entry.seen else 1)


def _folders(root: Path) -> dict[str, Path]:
    """The run folders in `root` by name; `root` itself where it is one."""
    if is_real(root / JOURNAL):
        return {root.name: root}
    try:
        with os.scandir(root) as listing:
            found = [each.name for each in listing if each.is_dir(follow_symlinks=False)]
    except OSError:
        return {}
    return {name: root / name for name in found if is_real(root / name / JOURNAL)}


def _by_its_ends(journal: Path, size: int) -> Overview:
    """What the first and the last part of a journal say; what stands between them is not known yet."""
    overview = Overview()
    with journal.open("rb") as file:
        head = file.read(HEAD_BYTES)
        file.seek(size - TAIL_BYTES)
        tail = file.read(TAIL_BYTES)
    for data in (head[: head.rfind(b"\n") + 1], tail[tail.find(b"\n") + 1 : tail.rfind(b"\n") + 1]):
        for record in decode_lines(data, PASSED_OVER):
            overview.add(record)
    return overview
