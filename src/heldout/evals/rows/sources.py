"""Where rows come from: a file, or lists, dicts and datasets in memory. Each row has a number and a place.

Rows are numbered from 1: by their line in JSON Lines and CSV, by their place in the list elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heldout.errors import DataError
from heldout.evals.rows.fields import MESSAGE_KEYS, PROMPT_KEYS, RESPONSE_KEYS
from heldout.evals.rows.files import MOST_UNPACKED, parsed

Source = str | Path | Sequence[Mapping[str, Any]] | Mapping[str, Any] | Any
"""A path; a list of dicts; a `datasets.Dataset`; a dict of columns, or of one split's rows."""
Records = Iterator[tuple[int, object]]
"""Number and value of each row; a `ValueError` says what is wrong with one that cannot be parsed."""
OWN = {*MESSAGE_KEYS, *PROMPT_KEYS, *RESPONSE_KEYS, "chosen", "rejected"}
WANTED = "a path, a list of dicts, a datasets.Dataset or a dict of columns"


@dataclass(frozen=True, slots=True)
class Place:
    """What a source is called: the path as given, "" for rows in memory."""

    shown: str

    @property
    def absolute(self) -> str:
        """The path from any folder."""
        return str(Path(self.shown).absolute()) if self.shown else ""

    def at(self, number: int) -> str:
        """Where a row stands."""
        return f"{self.shown}:{number}" if self.shown else f"row {number}"


def records(source: Source, most_bytes: int = MOST_UNPACKED) -> tuple[Place, Records]:
    """Open a source; raises `DataError` where it cannot be read at all."""
    if isinstance(source, str | Path):
        place, found = str(source), parsed(Path(source), most_bytes)
        rows = _of_file(place, found)
        first = [next(rows, None)]  # what is wrong with the whole file is told now
        return Place(place), (each for part in (first, rows) for each in part if each is not None)
    return Place(""), enumerate(_in_memory(source), start=1)


def _of_file(place: str, found: Iterable[tuple[int, object]]) -> Records:
    """The rows; where the file holds one object alone, that may be a whole table of them."""
    found = iter(found)
    first, second = next(found, None), next(found, None)
    if first is None:
        return
    if second is None and isinstance(first[1], Mapping):
        rows = _table(first[1], place)
        yield from enumerate(rows, start=1) if rows is not None else [first]
        return
    yield first
    if second is not None:
        yield second
    yield from found


def _in_memory(source: Any) -> Iterable[object]:
    if isinstance(source, Mapping):
        rows = _table(source, "the rows given")
        if rows is None:
            raise DataError(f"the rows given are one dict: give {WANTED}")
        return rows
    if not hasattr(source, "__len__") and hasattr(source, "column_names"):
        raise DataError(
            "the rows given are a stream: take as many as you need, list(stream.take(2000))"
        )
    if isinstance(source, bytes) or not hasattr(source, "__len__") or hasattr(source, "iloc"):
        hint = (
            ": give Dataset.from_pandas(frame)" if hasattr(source, "iloc") else f": give {WANTED}"
        )
        raise DataError(f"rows cannot be read from a {type(source).__name__}{hint}")
    rows = source
    return rows if isinstance(rows, Iterable) else [rows[i] for i in range(len(rows))]


def _table(value: Mapping[str, Any], name: str) -> Iterable[object] | None:
    """The rows of a dict of columns, or of the one split that it holds; None where it is a row itself."""
    splits = {
        str(key): held
        for key, held in value.items()
        if key not in OWN and (_is_rows(held) or hasattr(held, "column_names"))
    }
    if isinstance(value.get("data"), list | tuple) and "data" in splits:
        return list(value["data"])
    if splits and len(splits) == len(value):
        if len(splits) > 1:
            raise DataError(
                f"{name}: it holds the splits {', '.join(splits)}. Give one of them "
                "(in memory: rows['NAME']; as a file: its rows in a file of their own)."
            )
        found: Iterable[object] = next(iter(splits.values()))
        return found
    columns = list(value.values())
    if not columns or not all(isinstance(column, list | tuple) and column for column in columns):
        return None
    if any(_is_turns(key, value[key]) for key in OWN if key in value):
        return None
    sizes = {str(key): len(column) for key, column in value.items()}
    if len(set(sizes.values())) > 1:
        shown = ", ".join(f"{key} {size}" for key, size in list(sizes.items())[:6])
        raise DataError(f"{name}: its columns are not of one length: {shown}")
    return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]


def _is_rows(value: object) -> bool:
    several = isinstance(value, list | tuple) and bool(value)
    return several and all(isinstance(row, Mapping) for row in value)  # type: ignore[attr-defined]


def _is_turns(key: str, value: Sequence[object]) -> bool:
    """Whether a field holds one row's messages and not a column of them."""
    if key in MESSAGE_KEYS:
        return not all(isinstance(each, list | tuple) for each in value)
    return _is_rows(value)
