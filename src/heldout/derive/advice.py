"""What to add to the training set next, read off the pattern rows of the latest evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from heldout.derive.history import History
from heldout.derive.patterns import UNMATCHED, matrix
from heldout.records import Advice
from heldout.stats.intervals import wilson


def advise(history: History) -> list[Advice]:
    """Name the patterns that are surely worse than the others together, the worst first.

    A pattern is named when it has enough examples and the upper end of its interval lies below the
    lower end of all others' pooled one. Its share of the training set, where known, says whether
    it is starved or hard.
    """
    rows = [row for row in matrix(history.last_items)["rows"] if row["seen"]]
    weak = [row for row in rows if row["known"] and _below_the_rest(row, rows)]
    return [_add(row, rows, history) for row in sorted(weak, key=lambda row: float(row["em"]))]


def _below_the_rest(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> bool:
    low, _ = _rest(row, rows)[1]
    return row["pattern"] != UNMATCHED and float(row["em_high"]) < low


def _rest(
    row: dict[str, Any], rows: Sequence[dict[str, Any]]
) -> tuple[tuple[int, int], tuple[float, float]]:
    others = [other for other in rows if other is not row]
    correct, n = sum(o["correct"] for o in others), sum(o["seen"] for o in others)
    return (correct, n), wilson(correct, n)


def _add(row: dict[str, Any], rows: Sequence[dict[str, Any]], history: History) -> Advice:
    (correct, n), _ = _rest(row, rows)
    trained = history.run.train_patterns if history.run else {}
    text = (
        f"need more '{row['pattern']}' examples: EM {row['em']:.0%} "
        f"[{row['em_low']:.0%}, {row['em_high']:.0%}] of {row['seen']}, "
        f"the others {correct / n:.0%} of {n}"
    )
    evidence = {key: row[key] for key in ("pattern", "seen", "correct", "em", "em_low", "em_high")}
    if trained:
        share = trained.get(row["pattern"], 0) / sum(trained.values())
        text += f"; {share:.1%} of the training rows"
        evidence["train_share"] = share
    return Advice(topic="data", message=text, evidence=evidence)
