"""`annotations.jsonl` beside a journal: what people say of a run and of its alerts.

The journal has one writer, the trainer, so what people add stands in a file of its own: one line a
change, appended whole under a lock. Of the tags and the note the last line counts; an opening of an
alert is acknowledged until a later line withdraws that.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from heldout.errors import DataError, HeldoutError
from heldout.records import Verdict

FILE_NAME = "annotations.jsonl"
MOST_TAGS = 20
MOST_TAG = 40
MOST_NOTE = 4000
MOST_NAME = 1000
"""Characters of a rule's name and of its scope together."""
TAIL_BYTES = 1 << 22
"""The end of the file that is read; far more than the longest line, whatever it is escaped to."""


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """One opening or escalation of an alert: a later one is another and was not acknowledged."""

    rule: str
    scope: str
    state: str
    step: int
    opened: float

    @classmethod
    def of(cls, verdict: Verdict) -> Opening:
        """The one that a verdict tells of."""
        return cls(
            rule=verdict.rule,
            scope=verdict.scope,
            state=verdict.state,
            step=verdict.step,
            opened=verdict.time,
        )


class _Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One change: the tags and the note together, or one opening."""

    time: float = 0.0
    tags: list[str] | None = None
    note: str | None = None
    acknowledged: Opening | None = None
    withdrawn: Opening | None = None


class Annotation(msgspec.Struct, frozen=True, kw_only=True):
    """What people say of a run."""

    tags: list[str] = []
    note: str = ""
    acknowledged: dict[Opening, float] = {}
    """By hand, and when."""


def read_annotation(folder: Path) -> Annotation:
    """Return what stands for the run in `folder`; an empty one where nobody said anything."""
    try:
        with (folder / FILE_NAME).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            lines = file.read().split(b"\n")[:-1]
    except OSError:
        return Annotation()
    tags: list[str] = []
    note = ""
    acknowledged: dict[Opening, float] = {}
    for text in lines:
        try:
            line = msgspec.json.decode(text, type=_Line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if line.acknowledged is not None:
            acknowledged[line.acknowledged] = line.time
        elif line.withdrawn is not None:
            acknowledged.pop(line.withdrawn, None)
        elif line.tags is not None or line.note is not None:
            tags, note = line.tags or [], line.note or ""
    return Annotation(tags=tags, note=note, acknowledged=acknowledged)


def annotate(folder: Path, tags: list[str], note: str) -> Annotation:
    """Append the tags and the note to the file in `folder` and return what stands now.

    Raises `DataError` for too much of either, `HeldoutError` where the file cannot be written.
    """
    note = note.strip()
    if len(note) > MOST_NOTE:
        raise DataError(f"the note has {len(note):,} characters; at most {MOST_NOTE:,} fit")
    _append(folder, _Line(time=time.time(), tags=_clean(tags), note=note))
    return read_annotation(folder)


def acknowledge(folder: Path, opening: Opening, *, withdraw: bool = False) -> Annotation:
    """Append that `opening` was seen by a person, or no more so, and return what stands now.

    Nothing is written where it stands so already. Raises as `annotate` does.
    """
    if len(opening.rule) + len(opening.scope) > MOST_NAME:
        raise DataError(f"the alert's name has more than {MOST_NAME:,} characters")
    stands = read_annotation(folder)
    if (opening in stands.acknowledged) is not withdraw:
        return stands
    now = time.time()
    line = _Line(time=now, withdrawn=opening) if withdraw else _Line(time=now, acknowledged=opening)
    _append(folder, line)
    return read_annotation(folder)


def _append(folder: Path, line: _Line) -> None:
    try:
        text = msgspec.json.encode(line) + b"\n"
    except UnicodeEncodeError:
        raise DataError("the text holds half a character, which no text may") from None
    try:
        _write(folder / FILE_NAME, text)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "no reason given"
        raise HeldoutError(f"{FILE_NAME} of this run cannot be written: {reason}") from error


def _write(path: Path, line: bytes) -> None:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(path, flags, 0o644)
    with closing(os.fdopen(file, "rb", buffering=0)):
        with suppress(OSError):  # without locks (some NFS) one write of a short line is whole too
            fcntl.flock(file, fcntl.LOCK_EX)
        size = os.fstat(file).st_size
        torn = size and os.pread(file, 1, size - 1) != b"\n"
        os.write(file, b"\n" + line if torn else line)


def _clean(tags: list[str]) -> list[str]:
    """The tags without surrounding space, each once; raises `DataError` for too many or too long."""
    found = list(dict.fromkeys(" ".join(tag.split()) for tag in tags if tag.strip()))
    if len(found) > MOST_TAGS:
        raise DataError(f"{len(found)} tags; at most {MOST_TAGS} fit")
    long = next((tag for tag in found if len(tag) > MOST_TAG), None)
    if long is not None:
        raise DataError(f"the tag {long[:MOST_TAG]!r}... is longer than {MOST_TAG} characters")
    return found
