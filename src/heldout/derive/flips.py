"""Which examples were learned and which forgotten between two evaluations of one set."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from heldout.derive.history import History
from heldout.derive.progress import judge
from heldout.records import Item

MOST_SHOWN = 50
"""Examples listed of each kind; the counts are always whole."""


def flips(then: Iterable[Item], now: Iterable[Item]) -> tuple[list[Item], list[Item]]:
    """Return the examples learned (wrong, then right) and forgotten, as they are now.

    Examples are matched by id; one that is in one evaluation only is left out.
    """
    before = {item.id: item.correct for item in then}
    shared = [item for item in now if item.id in before]
    learned = [item for item in shared if item.correct and not before[item.id]]
    forgotten = [item for item in shared if not item.correct and before[item.id]]
    return learned, forgotten


def latest_flips(history: History) -> dict[str, Any]:
    """The flips since the evaluation that the trend compares with; {} before the second one.

    `{since, learned, forgotten, learned_items, forgotten_items}`; an item is `{id, line, pattern,
    text}` with what is answered now where it is wrong.
    """
    found = judge(history)
    if found is None or len(history.evals) < 2:
        return {}
    since = history.evals[found.change.reference].step
    learned, forgotten = flips(history.items.get(since, []), history.last_items)
    return {
        "since": since,
        "learned": len(learned),
        "forgotten": len(forgotten),
        "learned_items": [_shown(item) for item in learned[:MOST_SHOWN]],
        "forgotten_items": [_shown(item) for item in forgotten[:MOST_SHOWN]],
    }


def _shown(item: Item) -> dict[str, Any]:
    return {"id": item.id, "line": item.line, "pattern": item.pattern, "text": item.text}
