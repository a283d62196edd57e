"""Logs that heldout did not write; one reader a file, each with one constant `READER`."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from heldout.errors import DataError
from heldout.folder import load
from heldout.records import AnyRecord, decode
from heldout.store.heartbeat import standing
from heldout.store.journal import FILE_NAME, read
from heldout.store.reader import Reader
from heldout.store.runs import list_runs, open_run
from heldout.store.translate import records_of

READERS: list[Reader] = sorted(
    load(sys.modules[__name__], "READER"), key=lambda reader: reader.rank
)
SNIFFED_BYTES = 1 << 16
GZIP = b"\x1f\x8b"


def open_any(path: Path) -> list[AnyRecord]:
    """Return the records of the run at `path`, heldout's own or a foreign log.

    A journal, a run folder or a folder of runs (the latest) is read as it is; anything else by the
    first reader that accepts it. Raises `DataError` when there is nothing to read, saying what is.
    """
    try:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
        if is_journal(path):
            journal = open_run(path)
            records, end = read(journal)
            return [*records, *standing(journal, end)]
        reader = next((reader for reader in READERS if reader.accepts(path)), None)
        if reader is None:
            raise DataError(f"{path}: {_found(path)}. What can be read: {_known()}")
        return records_of(reader.read(path), reader.name)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def is_journal(path: Path) -> bool:
    """Whether heldout wrote what is at `path`: a journal, a run folder, or a folder of runs."""
    if path.is_dir():
        return bool(list_runs(path))
    if path.name == FILE_NAME:
        return True
    with path.open("rb") as file:
        lines = file.read(SNIFFED_BYTES).splitlines()
    return any(map(_is_record, lines[:10]))


def _is_record(line: bytes) -> bool:
    try:
        decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _found(path: Path) -> str:
    if path.is_dir():
        names = sorted(entry.name for entry in path.iterdir())
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        return f"no run in this folder, which holds {shown or 'nothing'}"
    with path.open("rb") as file:
        start = file.read(40)
    if start.startswith(GZIP):
        return "packed by gzip: unpack it first (gunzip)"
    return f"no log that heldout knows; it starts with {start!r}" if start else "the file is empty"


def _known() -> str:
    return "; ".join(["a heldout run", *(reader.what for reader in READERS)])
