"""The examples in the report file: what its Examples page shows.

They hold what the fixed set says, which not every run's owner may pass on, so they are put in only
when asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heldout.derive.history import History
from heldout.records import encode
from heldout.views.web.examples import Query, in_full, page
from heldout.views.web.set_file import SetFile

MOST_BYTES = 8_000_000
"""Most that the examples may take in the file; of more, the wrong ones of highest CE come first."""


def examples_data(history: History, beside: Path) -> dict[str, Any] | None:
    """Return the rows as the server would send them, and by id each example in full; None without any.

    `beside` is the run's folder, from where the fixed set's file is looked for.
    """
    if not history.last_items:
        return None
    file = SetFile()
    found = page(history, Query(limit=len(history.last_items)), file, beside)
    whole = in_full(history, [row["id"] for row in found["rows"]], file, beside)
    held, size = [], 0
    for row in sorted(found["rows"], key=_order):
        size += len(encode(row)) + len(encode(whole[row["id"]]))
        if size > MOST_BYTES:
            break
        held.append(row)
    if len(held) < len(found["rows"]):
        left_out = (
            f"this file holds {len(held):,} of {len(found['rows']):,} examples, the wrong ones first; "
            "heldout ui shows all"
        )
        found["missing"] = "; ".join(filter(None, (left_out, found["missing"])))
    return {"page": found | {"rows": held}, "whole": {row["id"]: whole[row["id"]] for row in held}}


def _order(row: Mapping[str, Any]) -> tuple[bool, float, int]:
    ce = row["ce"]
    return row["correct"], -ce if ce == ce else float("-inf"), row["line"]
