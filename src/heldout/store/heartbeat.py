"""`heartbeat.jsonl` beside a journal: what viewers found of a trainer's life.

The journal has one writer, the trainer; whether that one is alive can only be said by others. They
write here, one at a time, in the journal's own encoding.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from heldout.records import HEARTBEAT, Note, Verdict
from heldout.store.journal import read

FILE_NAME = "heartbeat.jsonl"
SEEN = "seen"
"""Topic of a note of the journal's length, for the next look at a trainer on another host."""
TOLD = "told"
"""Topic of a note that somebody was notified of the verdict before it."""


def last_verdict(path: Path) -> Verdict | None:
    """Return the last verdict of the heartbeat file at `path`; None without one."""
    found = [record for record in _records(path) if isinstance(record, Verdict)]
    return found[-1] if found else None


def untold(path: Path) -> Verdict | None:
    """Return the last verdict of the file at `path` if nobody was notified of it; else None.

    That an alert is over is nothing to tell where its opening was not told.
    """
    verdict, told = None, ""
    for record in _records(path):
        if isinstance(record, Verdict):
            verdict = record
        elif record.topic == TOLD:
            verdict, told = None, record.text
    if verdict is None or (verdict.state == "resolved" and told in ("", "resolved")):
        return None
    return verdict


def last_seen(path: Path) -> tuple[int, float] | None:
    """Return the journal's length at the last look that noted it, and when it was first so long."""
    notes = [record for record in _records(path) if isinstance(record, Note)]
    found = [note for note in notes if note.topic == SEEN and note.text.isdecimal()]
    return (int(found[-1].text), found[-1].time) if found else None


def standing(journal: Path, offset: int) -> list[Verdict]:
    """Return the heartbeat's verdict as it stands for a journal of `offset` bytes; [] without one.

    What was found of a shorter journal no longer holds: the trainer has written since.
    """
    last = last_verdict(journal.with_name(FILE_NAME))
    if last is None:
        return []
    if last.state == "resolved" or last.evidence.get("bytes") == offset:
        return [last]
    return [msgspec.structs.replace(last, state="resolved")]


def _records(path: Path) -> list[Verdict | Note]:
    try:
        records, _ = read(path)
    except OSError:
        return []
    return [
        record
        for record in records
        if isinstance(record, Note) or (isinstance(record, Verdict) and record.rule == HEARTBEAT)
    ]
