"""A table of numbers with a header line: comma, semicolon, tab or bar separated."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from heldout.errors import DataError
from heldout.store.exports import known_export, with_value_named
from heldout.store.numbers import SHOWN, Numbers, step_of
from heldout.store.reader import Log, Reader, Row

SUFFIXES = (".csv", ".tsv")
DELIMITERS = ",;\t|"
STEPS = (
    *("step", "global_step", "train/global_step", "trainer/global_step", "train/step"),
    *("steps", "iteration", "iterations", "iter", "_step"),
)
TIMES = ("time", "wall_time", "wall time", "timestamp", "_timestamp")
EPOCHS = ("epoch", "epochs", "train/epoch")
EPOCH_2001 = 1e9
"""Unix seconds are beyond it; smaller times are counted from the start."""


def accepts(path: Path) -> bool:
    """A file by its suffix, or by a first line that names a step and something else."""
    if path.is_dir():
        return False
    if path.suffix.lower() in SUFFIXES:
        return True
    with path.open("rb") as file:
        first = file.readline(4096).decode("utf-8-sig", "replace")
    names = [_key(cell) for cell in next(csv.reader([first], delimiter=_delimiter(first)), [])]
    return len(names) > 1 and any(name in STEPS for name in names)


def read(path: Path) -> Log:
    """Read every row that has a step and a number; cells that are none are told by line and column."""
    text = path.read_bytes().decode("utf-8-sig", "replace").replace("\0", "")
    delimiter = _delimiter(text.split("\n", 1)[0])
    table = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    lines = ((table.line_num, _numerals(cells, delimiter)) for cells in table if any(cells))
    try:
        header = next(lines, (1, []))[1]
        _check(path, header)
        exported = known_export(header, path.stem)
        table_rows = list(lines)
        found = _Rows(exported.header, table_rows)
        for line, cells in table_rows:
            found.add(line, cells)
    except csv.Error as error:
        raise DataError(f"{path}:{table.line_num}: no table: {error}") from error
    rows = found.rows
    if not rows:
        raise DataError(
            f"{path}: {found.seen} rows under the header {', '.join(header)[:200]}, "
            "and none with a step and a number. Write one row a step, numbers with a decimal point"
        )
    if len(rows) > 2 and all(a.step > b.step for a, b in itertools.pairwise(rows)):
        rows = rows[::-1]
    rows, said = with_value_named(rows)
    return Log(id=path.stem, rows=rows, remarks=[*exported.remarks, *found.remarks(), *said])


class _Rows:
    """The rows of a table with this header, and what is wrong with it."""

    def __init__(
        self, header: Sequence[str | None], lines: Sequence[tuple[int, Sequence[str]]]
    ) -> None:
        self.rows: list[Row] = []
        self.seen = 0
        self._header = header
        self._step = _place(header, STEPS)
        self._epochs = False
        if self._step is None and _are_steps(lines, _place(header, EPOCHS)):
            self._step, self._epochs = _place(header, EPOCHS), True
        self._time = _place(header, TIMES)
        self._numbers = Numbers()
        self._strange: list[str] = []

    def add(self, line: int, cells: Sequence[str]) -> None:
        self.seen += 1
        step = self.seen if self._step is None else step_of(_cell(cells, self._step))
        if step is None:
            self._strange.append(f"line {line} (step {_cell(cells, self._step)[:SHOWN]!r})")
            return
        values = {}
        for i, (name, cell) in enumerate(zip(self._header, cells, strict=False)):
            counted = i == self._time or (i == self._step and not self._epochs)
            if name and cell and not counted:
                value = self._numbers.of(name, cell, f"line {line}")
                if value is not None:
                    values[name] = value
        if values:
            self.rows.append(Row(step, values, self._wall(cells)))

    def remarks(self) -> list[str]:
        said = []
        if self._epochs:
            said.append("no column of steps: one row an epoch, so steps are epochs here")
        if self._step is None:
            said.append(
                f"no column of steps ({', '.join(STEPS[:3])}, ...): rows are counted instead"
            )
        if self._strange:
            said.append(f"{len(self._strange):,} rows left out: {', '.join(self._strange[:3])}")
        return [*said, *self._numbers.remarks(texts=False)]

    def _wall(self, cells: Sequence[str]) -> float | None:
        time = _number(_cell(cells, self._time))
        return time if time is not None and EPOCH_2001 < time < float("inf") else None


def _check(path: Path, header: Sequence[str]) -> None:
    if not any(header):
        raise DataError(
            f"{path}: the file is empty. The first line names the columns: step,loss,..."
        )
    if not any(re.search(r"[A-Za-z]", cell) and _number(cell) is None for cell in header):
        shown = ", ".join(header)[:SHOWN]
        raise DataError(
            f"{path}:1: no header: the first line is {shown!r}. Name the columns in it: step,loss,..."
        )


def _delimiter(line: str) -> str:
    return max(DELIMITERS, key=line.count)


def _key(name: str) -> str:
    return name.strip().strip('"').lower()


def _are_steps(lines: Sequence[tuple[int, Sequence[str]]], at: int | None) -> bool:
    """Whether the epochs in a column are whole and ascend, but where another run begins."""
    cells = [_cell(cells, at) for _, cells in lines]
    epochs = [epoch for cell in cells if (epoch := step_of(cell)) is not None]
    if at is None or not epochs or len(epochs) < len([cell for cell in cells if cell]):
        return False
    return all(a < b or b == epochs[0] < a for a, b in itertools.pairwise(epochs))


def _place(header: Sequence[str | None], names: Sequence[str]) -> int | None:
    """The column called by the first of `names` that one is called by."""
    keys = [_key(cell or "") for cell in header]
    return next((keys.index(name) for name in names if name in keys), None)


def _numerals(cells: Sequence[str], delimiter: str) -> list[str]:
    """Cells without the space around them; between semicolons a comma may be the decimal point."""
    bare = [cell.strip() for cell in cells]
    if delimiter != ";":
        return bare
    return [re.sub(r"^([-+]?\d*),(\d+(?:[eE][-+]?\d+)?)$", r"\1.\2", cell) for cell in bare]


def _cell(cells: Sequence[str], at: int | None) -> str:
    """The cell at `at`; "" where the row has none."""
    return cells[at] if at is not None and at < len(cells) else ""


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


READER = Reader(
    name="csv",
    what="a CSV or TSV file with a header (step, loss, ...)",
    accepts=accepts,
    read=read,
    rank=4,
)
