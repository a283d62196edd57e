"""JSON Lines of the rows to look at before the next run: one object a row, the most telling first.

`why` is suspicious, persistent, forgotten, duplicate or leaked (see `heldout.derive.attention.KINDS`);
`set` says which file the row is of: lines of the held-out set ("eval") count from 1, rows of the
training set ("train") from 0.
"""

from __future__ import annotations

from heldout.derive.attention import rows_to_look_at
from heldout.derive.history import History
from heldout.records import encode
from heldout.views.exporter import Exporter


def write(history: History) -> bytes:
    """Return the rows as UTF-8 JSON Lines; empty where there is nothing to look at."""
    return b"".join(encode(row) + b"\n" for row in rows_to_look_at(history))


EXPORTER = Exporter(
    name="rows", suffix=".rows.jsonl", media_type="application/x-ndjson", write=write
)
