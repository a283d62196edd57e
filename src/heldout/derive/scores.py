"""What the evaluations of a history gave for each example, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heldout.derive.history import History
from heldout.stats.groups import Groups, number_groups


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """The examples that all K evaluations share, N of them, the same in each row."""

    correct_KN: NDArray[np.bool_]
    ce_KN: NDArray[np.float64]
    groups_N: Groups


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """One evaluation's examples, sorted by id."""

    ids: tuple[str, ...]
    correct_N: NDArray[np.bool_]
    ce_N: NDArray[np.float64]
    groups: tuple[str, ...]


def scores(history: History) -> Scores:
    """Return the scores of all evaluations; each one's items are read once, when it is the latest."""
    rows = [_row(history, result.step) for result in history.evals]
    if any(row.ids != rows[-1].ids for row in rows):
        shared = set.intersection(*(set(row.ids) for row in rows))
        rows = [_only(row, shared) for row in rows]
    size = len(rows[-1].ids)
    return Scores(
        np.array([row.correct_N for row in rows], dtype=bool).reshape(len(rows), size),
        np.array([row.ce_N for row in rows], dtype=np.float64).reshape(len(rows), size),
        number_groups(rows[-1].groups),
    )


def _row(history: History, step: int) -> _Row:
    def read() -> _Row:
        items = {item.id: item for item in history.items.get(step, [])}
        ids = tuple(sorted(items))
        found = [items[key] for key in ids]
        return _Row(
            ids,
            np.array([item.correct for item in found], dtype=bool),
            np.array([item.ce for item in found], dtype=np.float64),
            tuple(item.group for item in found),
        )

    return history.of_evaluation("scores", step, read)


def _only(row: _Row, shared: set[str]) -> _Row:
    at = [i for i, key in enumerate(row.ids) if key in shared]
    ids = tuple(row.ids[i] for i in at)
    return _Row(ids, row.correct_N[at], row.ce_N[at], tuple(row.groups[i] for i in at))
