"""Which rows a person should look at first, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from heldout.derive.history import History
from heldout.records import Item

LEAST = 3
"""Evaluations an example must be wrong in, all of them after the first, to be called persistent."""
OUTLIER = 3.0
"""Robust deviations above its pattern's median cross-entropy: as a wrong label looks."""
MOST = 200
"""Rows listed of each kind."""
KINDS = {
    "suspicious": "wrong at every evaluation with a cross-entropy far above its pattern's: the golden "
    "answer may be wrong",
    "persistent": "wrong at every evaluation since the first",
    "forgotten": "right before, wrong now",
    "duplicate": "the training set holds it before",
    "leaked": "the held-out set holds it too",
}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row to look at. `line` counts the held-out set's lines from 1, the training set's rows from 0."""

    why: str
    set: str
    """"eval" or "train"."""
    line: int
    partner: int | None = None
    """The row it repeats, or the line of the held-out set it is found on."""
    id: str = ""
    pattern: str = ""
    ce: float | None = None
    """Cross-entropy of the golden answer now, nats per token."""


def rows_to_look_at(history: History) -> list[Row]:
    """Return the rows worth a look, the most telling kind first; `KINDS` says what each kind is.

    At most `MOST` of each kind; `strange_examples` has all of the held-out set's.
    """
    return history.remember("rows to look at", lambda: _rows(history))


def strange_examples(history: History) -> dict[str, list[Item]]:
    """Return every held-out example worth a look by kind: suspicious, persistent, forgotten."""
    return history.remember("strange examples", lambda: _wrong(history) | _forgotten(history))


def counts(history: History, pattern: str) -> dict[str, Any]:
    """How many held-out examples of `pattern` there are of each kind, with the lines of the first."""
    found = [row for row in rows_to_look_at(history) if row.pattern == pattern]
    kinds = dict.fromkeys(row.why for row in found)
    return {why: [row.line for row in found if row.why == why][:10] for why in kinds}


def _rows(history: History) -> list[Row]:
    strange = strange_examples(history)
    rows = [_row(why, item) for why, items in strange.items() for item in items[:MOST]]
    for why in ("duplicate", "leaked"):
        found = history.data.found.get(why) if history.data else None
        if found:
            partners: Sequence[int | None] = found.partners or [None] * len(found.rows)
            rows += [
                Row(why=why, set="train", line=line, partner=partner)
                for line, partner in zip(found.rows[:MOST], partners, strict=False)
            ]
    return rows


def _wrong(history: History) -> dict[str, list[Item]]:
    later = [result.step for result in history.evals if result.step > history.evals[0].step]
    if len(later) < LEAST:
        return {"suspicious": [], "persistent": []}
    ever = {item.id for step in later for item in history.items.get(step, []) if item.correct}
    now = history.last_items
    stuck = [item for item in now if item.id not in ever and not item.correct]
    stuck.sort(key=lambda item: -item.ce)
    limits = {pattern: _limit(now, pattern) for pattern in {item.pattern for item in stuck}}
    suspicious = [item for item in stuck if item.ce > limits[item.pattern]]
    strange = {item.id for item in suspicious}
    rest = [item for item in stuck if item.id not in strange]
    return {"suspicious": suspicious, "persistent": rest}


def _limit(items: Sequence[Item], pattern: str) -> float:
    """The cross-entropy above which an example of `pattern` stands out."""
    ce = np.array([item.ce for item in items if item.pattern == pattern and np.isfinite(item.ce)])
    if not len(ce):
        return float("inf")
    middle = float(np.median(ce))
    return middle + OUTLIER * 1.4826 * float(np.median(np.abs(ce - middle)))


def _forgotten(history: History) -> dict[str, list[Item]]:
    before = [result.step for result in history.evals[:-1]]
    once = {item.id for step in before for item in history.items.get(step, []) if item.correct}
    lost = [item for item in history.last_items if item.id in once and not item.correct]
    return {"forgotten": lost}


def _row(why: str, item: Item) -> Row:
    return Row(why=why, set="eval", line=item.line, id=item.id, pattern=item.pattern, ce=item.ce)
