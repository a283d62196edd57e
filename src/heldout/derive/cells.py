"""What changed in each cell of the pattern x length matrix since an earlier evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from heldout.derive.history import History
from heldout.derive.patterns import ENOUGH
from heldout.derive.progress import judge
from heldout.records import Item
from heldout.stats.groups import number_groups
from heldout.stats.paired import paired


def changes(history: History) -> dict[str, Any]:
    """Return `{previous, best}`: the cells' changes since each of those evaluations.

    `best` is the evaluation with the highest score; None where it is the latest one, and `previous`
    is None at the first.
    """
    return history.remember("changes of cells", lambda: _changes(history))


def _changes(history: History) -> dict[str, Any]:
    evals = history.evals
    found = judge(history)
    best = evals[found.best.index].step if found and found.best else None
    return {
        "previous": _since(history, evals[-2].step) if len(evals) > 1 else None,
        "best": _since(history, best) if best is not None and best != evals[-1].step else None,
    }


def _since(history: History, step: int) -> dict[str, Any]:
    then = {item.id: item for item in history.items.get(step, [])}
    shared = [item for item in history.last_items if item.id in then]
    keys: dict[tuple[str, str | None], list[Item]] = {}
    for item in shared:
        keys.setdefault((item.pattern, item.bin), []).append(item)
        keys.setdefault((item.pattern, None), []).append(item)
    return {
        "since": step,
        "cells": [_change(*key, items, then) for key, items in sorted(keys.items(), key=_place)],
    }


def _change(
    pattern: str, bin_name: str | None, now: Sequence[Item], then: dict[str, Item]
) -> dict[str, Any]:
    found = paired(
        _correct(then[item.id] for item in now),
        _correct(now),
        number_groups([item.group for item in now]),
    )
    low, high = found.interval()
    return {
        "pattern": pattern,
        "bin": bin_name,
        "n": found.n,
        "learned": found.learned,
        "forgotten": found.forgotten,
        "change": found.change,
        "low": low,
        "high": high,
        "known": found.n >= ENOUGH,
    }


def _correct(items: Iterable[Item]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.array([item.correct for item in items], dtype=bool)


def _place(entry: tuple[tuple[str, str | None], list[Item]]) -> tuple[str, bool, str]:
    (pattern, bin_name), _ = entry
    return pattern, bin_name is None, bin_name or ""
