"""Several evaluations of one fixed set side by side: each against the first and the one before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heldout.derive.history import History
from heldout.derive.progress import fixed_eval
from heldout.records import EvalResult, Item
from heldout.stats.groups import Groups, independent_share, number_groups
from heldout.stats.intervals import CONFIDENCE, wilson
from heldout.stats.paired import paired


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """What changed since another evaluation, example by example."""

    n: int
    em_change: float
    em_change_low: float
    em_change_high: float
    """Bonett-Price's interval at `confidence`."""
    confidence: float
    p: float | None
    """McNemar's exact p; None where groups make the examples dependent."""
    learned: int
    forgotten: int
    detectable: float
    """The smallest change that a test at `confidence` would see with 80 % power."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compared:
    """One evaluation beside the others; the changes are None for the first."""

    name: str
    result: EvalResult
    token_em: tuple[float, float]
    """The 95 % interval of token exact match (Wilson, on as many examples as groups are worth)."""
    since_first: Since | None
    since_previous: Since | None
    tied: bool
    """Whether no other is better by more than chance."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """All evaluations beside each other, and what they say together."""

    rows: list[Compared]
    facts: dict[str, Any]
    """The contract's `fixed_eval` of the last evaluation: best, tied set, trend and slope."""
    detectable: float | None
    """Between the one to keep and those tied with it (or all, if none is): the largest difference
    that would have to be true for this set to show it in 80 % of cases; None for one evaluation."""


def compare(history: History) -> Comparison | None:
    """Compare the evaluations of `history`, which are all of the same examples; None without one.

    Each has a `Checkpoint` that names it. The paired tests are each at its own 95 %, while the tied
    set pays for comparing all with all.
    """
    if not history.evals:
        return None
    names = {saved.step: saved.path for saved in history.checkpoints}
    facts = fixed_eval(history)
    items_KN = [history.items[result.step] for result in history.evals]
    correct_KN = np.array([[item.correct for item in items] for items in items_KN], dtype=bool)
    token_KN = np.array([[item.token_correct for item in items] for items in items_KN], dtype=bool)
    groups_N = number_groups([item.group for item in items_KN[0]])
    rows = [
        Compared(
            name=names[result.step],
            result=result,
            token_em=_interval(token_KN[i], groups_N),
            since_first=_since(correct_KN[0], correct_KN[i], groups_N) if i else None,
            since_previous=_since(correct_KN[i - 1], correct_KN[i], groups_N) if i else None,
            tied=names[result.step] in facts["tied"],
        )
        for i, result in enumerate(history.evals)
    ]
    seen = _detectable(rows, facts["best_ckpt"], correct_KN, groups_N)
    return Comparison(rows=rows, facts=facts, detectable=seen)


def between(then: Iterable[Item], now: Iterable[Item]) -> Since | None:
    """Compare two evaluations of the same examples, matched by id; None where they share none.

    They may be of two runs: `learned` are right only in `now`, `forgotten` only in `then`.
    """
    before = {item.id: item.correct for item in then}
    shared = [item for item in now if item.id in before]
    if not shared:
        return None
    return _since(
        np.array([before[item.id] for item in shared], dtype=bool),
        np.array([item.correct for item in shared], dtype=bool),
        number_groups([item.group for item in shared]),
    )


def _since(then_N: NDArray[np.bool_], now_N: NDArray[np.bool_], groups_N: Groups) -> Since:
    pair = paired(then_N, now_N, groups_N)
    low, high = pair.interval(CONFIDENCE)
    return Since(
        n=pair.n,
        em_change=pair.change,
        em_change_low=low,
        em_change_high=high,
        confidence=CONFIDENCE,
        p=pair.p,
        learned=pair.learned,
        forgotten=pair.forgotten,
        detectable=pair.detectable(CONFIDENCE),
    )


def _interval(right_N: NDArray[np.bool_], groups_N: Groups) -> tuple[float, float]:
    share = independent_share(right_N.astype(np.float64), groups_N)
    return wilson(share * int(right_N.sum()), share * len(right_N))


def _detectable(
    rows: list[Compared], keep: str | None, correct_KN: NDArray[np.bool_], groups_N: Groups
) -> float | None:
    kept = next((i for i, row in enumerate(rows) if row.name == keep), None)
    if kept is None or len(rows) < 2:
        return None
    others = [i for i in range(len(rows)) if i != kept]
    rivals = [i for i in others if rows[i].tied] or others
    return max(paired(correct_KN[kept], correct_KN[i], groups_N).detectable() for i in rivals)
