"""Parse a file into rows: JSON Lines, JSON, CSV, TSV and Parquet, each also with gzip.

What cannot be read is a `DataError` that names the file and the remedy; what is wrong with one row is a
`ValueError` in its place, so that the others count.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

from heldout.errors import DataError
from heldout.evals.rows.json_text import parsed_json

Parsed = Iterator[tuple[int, object]]
MOST_UNPACKED = 1 << 33
"""Bytes that a compressed file may unpack to: 8 GiB."""
HEAD = 4096
"""Bytes by which an encoding is told."""
ZEROS = 0.2
"""Share of zero bytes from which text is no UTF-8: UTF-16 has about half, UTF-32 three quarters."""
FOREIGN = {
    b"PK\x03\x04": "it is a zip archive or an Excel sheet. Unpack it, or save it as CSV.",
    b"\x28\xb5\x2f\xfd": "it is compressed with zstd. Unpack it: zstd -d FILE",
    b"BZh": "it is compressed with bzip2. Unpack it: bunzip2 FILE",
    b"\xfd7zXZ": "it is compressed with xz. Unpack it: unxz FILE",
    b"ARROW1": "it is an Arrow file. Save it as Parquet or JSON Lines: Dataset.to_json(NAME)",
    b"version https://git-lfs": "it is a Git LFS pointer; the rows are not here. Fetch them: git lfs pull",
    b"%PDF": "it is a PDF.",
}
"""How files begin that hold no rows as text."""
PAGES = (b"<!doctype", b"<html", b"<?xml")
ENCODINGS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
"""Marks at the beginning; UTF-32's little-endian one begins with UTF-16's."""


def parsed(path: Path, most_bytes: int = MOST_UNPACKED) -> Parsed:
    """Each row of a file with its number; gzip may unpack to `most_bytes`."""
    data = _unpacked(path, _bytes(path), most_bytes)
    names = path.name.lower().removesuffix(".gz")
    if data.startswith(b"PAR1"):
        return _parquet(path, data)
    _refuse_foreign(path, data)
    data = data.removeprefix(codecs.BOM_UTF8)
    if names.endswith((".csv", ".tsv", ".tab")):
        return _table(path, data, tabs=not names.endswith(".csv"))
    return parsed_json(data)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a name that no file can have
        raise DataError(f"{path}: cannot be read: {error}") from error


def _unpacked(path: Path, data: bytes, most_bytes: int) -> bytes:
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        with gzip.open(io.BytesIO(data)) as packed:
            found = packed.read(most_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: its gzip data is damaged: {error}") from error
    if len(found) > most_bytes:
        raise DataError(f"{path}: it unpacks to more than {most_bytes:,} bytes. Unpack it.")
    return found


def _refuse_foreign(path: Path, data: bytes) -> None:
    for begin, said in FOREIGN.items():
        if data.startswith(begin):
            raise DataError(f"{path}: {said}")
    if data[:HEAD].lstrip().lower().startswith(PAGES):
        raise DataError(
            f"{path}: it is a web page or XML, not data; perhaps a download went wrong. Fetch it again."
        )
    found = next((name for mark, name in ENCODINGS if data.startswith(mark)), "")
    head = data[:HEAD]
    if not found and head and head.count(0) > ZEROS * len(head):
        found = "UTF-32" if head.count(0) > 0.6 * len(head) else "UTF-16"
        little = head[1:2] == b"\0"
        found += ("LE" if little else "BE") if b"\0" in head[:2] else ""
    if found:
        remedy = f"iconv -f {found} -t UTF-8 OLD > NEW"
        raise DataError(f"{path}: it is {found[:6]}. Save it as UTF-8. ({remedy})")


def _table(path: Path, data: bytes, tabs: bool) -> Parsed:
    """The rows of a CSV or TSV file, whose first line names the columns; every cell is text."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: not UTF-8. Save the file as UTF-8.") from None
    first = text.split("\n", 1)[0]
    marks = ["\t"] if tabs else [mark for mark in (",", ";", "\t") if mark in first]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=(marks or [","])[0], strict=True)
    before = csv.field_size_limit(sys.maxsize)  # a document may be one cell
    try:
        yield from _cells(path, reader)
    finally:
        csv.field_size_limit(before)


def _cells(path: Path, reader: Iterator[list[str]]) -> Parsed:
    number, names = 1, None
    try:
        for cells in reader:
            line, number = number, reader.line_num + 1  # type: ignore[attr-defined]
            if not any(cells):
                continue
            if names is None:
                names = [cell.strip() for cell in cells]
                twice = next((name for name in names if names.count(name) > 1), None)
                if twice is not None:
                    raise DataError(f"{path}:{line}: two columns are called {twice!r}")
            elif len(cells) != len(names):
                yield line, ValueError(f"{len(cells)} cells under {len(names)} columns")
            else:
                yield line, {n: cell or None for n, cell in zip(names, cells, strict=True)}
    except csv.Error as error:
        text = f"not CSV: {error}; the rows from here on are not read"
        yield number, ValueError(text)


def _parquet(path: Path, data: bytes) -> Parsed:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise DataError(f"{path}: reading Parquet takes pyarrow: pip install pyarrow") from None
    try:
        table = parquet.ParquetFile(io.BytesIO(data))
        rows = [row for batch in table.iter_batches() for row in batch.to_pylist()]
    except (ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: it cannot be read as Parquet: {error}") from error
    return enumerate(rows, start=1)
