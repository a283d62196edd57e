"""`annotations.jsonl` beside a journal: the tags and the note that a person gave a run.

The journal has one writer, the trainer, so what people add stands in a file of its own: one line a
change, appended whole under a lock, the last line counts.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from heldout.errors import DataError, HeldoutError

FILE_NAME = "annotations.jsonl"
MOST_TAGS = 20
MOST_TAG = 40
MOST_NOTE = 4000
TAIL_BYTES = 1 << 17
"""More than the longest line takes, whatever its characters are escaped to."""


class Annotation(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says of a run."""

    time: float = 0.0
    tags: list[str] = []
    note: str = ""


def read_annotation(folder: Path) -> Annotation:
    """Return what stands for the run in `folder`; an empty one where nobody said anything."""
    try:
        with (folder / FILE_NAME).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            lines = file.read().split(b"\n")[:-1]
    except OSError:
        return Annotation()
    for line in reversed(lines):
        try:
            return msgspec.json.decode(line, type=Annotation)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return Annotation()


def annotate(folder: Path, tags: list[str], note: str) -> Annotation:
    """Append the tags and the note to the file in `folder` and return them as they stand now.

    Raises `DataError` for too much of either, `HeldoutError` where the file cannot be written.
    """
    said = Annotation(time=time.time(), tags=_clean(tags), note=note.strip())
    if len(said.note) > MOST_NOTE:
        raise DataError(f"the note has {len(said.note):,} characters; at most {MOST_NOTE:,} fit")
    try:
        line = msgspec.json.encode(said) + b"\n"
    except UnicodeEncodeError:
        raise DataError("the text holds half a character, which no text may") from None
    try:
        _append(folder / FILE_NAME, line)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "no reason given"
        raise HeldoutError(f"{FILE_NAME} of this run cannot be written: {reason}") from error
    return said


def _append(path: Path, line: bytes) -> None:
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
