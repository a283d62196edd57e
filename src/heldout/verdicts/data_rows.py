"""What the rules about the training data share: was it looked for, in which rows, in what share."""

from __future__ import annotations

from heldout.derive.history import History
from heldout.records import Data, Rows
from heldout.verdicts.rule import NotChecked

SHOWN = 8
"""Rows named in a message; the record lists more."""
NONE = Rows(n=0, rows=[])


def looked_for(history: History, *kinds: str) -> Data | NotChecked:
    """The facts of the training data if these kinds were looked for, else why they were not."""
    data = history.data
    if data is None:
        return NotChecked("the training data was not looked at")
    if any(kind not in data.found for kind in kinds):
        return NotChecked("; ".join(data.remarks) or "the training data was not looked at for it")
    return data


def of(data: Data, *kinds: str) -> Rows:
    """The rows of these kinds together."""
    each = [data.found.get(kind, NONE) for kind in kinds]
    return Rows(n=sum(x.n for x in each), rows=sorted(row for x in each for row in x.rows))


def places(data: Data, rows: Rows) -> str:
    """The first of the rows, as lines of the file where there is one."""
    first = list(dict.fromkeys(rows.rows))[:SHOWN]
    more = f" and {rows.n - SHOWN:,} more" if rows.n > SHOWN else ""
    what = "line" if data.path else "row"
    return f"{what}{'s' * (len(first) > 1)} {', '.join(map(str, first))}{more}"


def counted(data: Data, rows: Rows, among: int) -> str:
    """So many of so many rows, their share, and which they are."""
    return f"{rows.n:,} of {among:,} rows ({share(rows.n, among):.1%}; {places(data, rows)})"


def share(n: int, among: int) -> float:
    """`n` of `among`; 0 where there is nothing."""
    return n / among if among else 0.0


def compared(data: Data) -> int:
    """The rows whose texts were compared: the whole file, or those whose tokens were looked at."""
    return data.rows if data.path else data.looked_at
