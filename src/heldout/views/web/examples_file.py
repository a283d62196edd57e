"""The examples as a file: every row that fits the filters of the page, with whole texts and exact numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from heldout.derive.examples import Example
from heldout.derive.history import History
from heldout.records import encode, spelled
from heldout.views.web.examples import Other, Query, choose
from heldout.views.web.set_file import SetFile, Texts

FORMULA = tuple("=+-@\t\r")
"""A text that begins so is a formula to a spreadsheet; in a CSV it gets an apostrophe in front."""

Rows = list[dict[str, Any]]


def rows(
    history: History, query: Query, file: SetFile, beside: Path, other: Other | None = None
) -> Rows:
    """Return a row an example that fits `query`, in its order; its offset and limit do not count.

    `step N` says how each evaluation went: 1 right, 0 wrong, None not scored.
    """
    chosen = choose(history, query, file, beside, other)
    steps = [f"step {result.step}" for result in history.evals]
    return [_row(each, kinds, chosen.texts, other, steps) for each, kinds in chosen.rows]


def _row(
    example: Example, kinds: frozenset[str], texts: Texts, other: Other | None, steps: list[str]
) -> dict[str, Any]:
    item = example.item
    text = texts.found.get(item.id)
    row: dict[str, Any] = {
        "line": item.line,
        "id": item.id,
        "pattern": item.pattern,
        "bin": item.bin,
        "tokens": item.tokens,
        "correct": item.correct,
        "token_correct": item.token_correct,
        "ce": item.ce,
        "entropy": item.entropy,
        "divergence": item.divergence,
        "kinds": " ".join(sorted(kinds)),
        "group": item.group,
        "prompt": text.prompt if text else None,
        "golden": text.golden if text else None,
        "model": text.golden if text and item.text is None and item.token_correct else item.text,
    }
    if other:
        there = other.items.get(item.id)
        row["other"] = other.id
        row["other_correct"] = there.correct if there else None
        row["other_ce"] = there.ce if there else None
        row["other_model"] = there.text if there else None
    went = {"1": 1, "0": 0}
    return row | {step: went.get(sign) for step, sign in zip(steps, example.went, strict=True)}


def to_json(found: Rows) -> bytes:
    """A list of objects; a number that is not finite is its name."""
    return encode(found)


def to_csv(found: Rows) -> bytes:
    """A header and a line a row, UTF-8; an empty field is what is not known."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if found:
        writer.writerow(found[0])
    writer.writerows([_cell(value) for value in row.values()] for row in found)
    # Half a character, which a journal of another tool may hold, has no place in UTF-8.
    return out.getvalue().encode("utf-8", "replace")


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return spelled(value)
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA) else value
    return "" if value is None else value


KINDS: dict[str, tuple[str, Callable[[Rows], bytes]]] = {
    "csv": ("text/csv; charset=utf-8", to_csv),
    "json": ("application/json", to_json),
}
"""By the suffix of the file: its type, and what makes it of the rows."""
