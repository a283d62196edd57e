"""What to add to the training set next, read off the patterns of the fixed set.

The first advice is the headline: which pattern needs more examples. The others say what cannot be known
yet, and which rows to look at before any are added.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from heldout.derive.attention import counts, rows_to_look_at
from heldout.derive.history import History
from heldout.derive.patterns import ENOUGH, UNMATCHED, matrix
from heldout.records import Advice
from heldout.stats.intervals import wilson
from heldout.stats.learning import Learning, learning

KNOWN = 30
"""Held-out examples from which on a pattern's interval is narrow enough to steer by (+-18 points)."""
LARGE = 0.05
"""Share of the training rows from which on a pattern without held-out examples is a gap."""


def advise(history: History) -> list[Advice]:
    """Return what to do for the next run, the most useful first.

    A pattern is named when it has enough examples and the upper end of its interval lies below the
    lower end of all others' pooled one. Its share of the training set, where known, says whether
    it is starved or hard, and its own learning curve what more of it would bring.
    """
    rows = [row for row in matrix(history.last_items)["rows"] if row["seen"]]
    weak = [row for row in rows if row["known"] and _below_the_rest(row, rows)]
    trained = history.run.train_patterns if history.run else {}
    found = [_add(row, rows, history) for row in sorted(weak, key=lambda row: float(row["em"]))]
    return [*found, *_unmeasured(rows, trained), *_look_at(history)]


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
    pattern = row["pattern"]
    (correct, n), _ = _rest(row, rows)
    text = (
        f"need more '{pattern}' examples: EM {row['em']:.0%} "
        f"[{row['em_low']:.0%}, {row['em_high']:.0%}] of {row['seen']}, "
        f"the others {correct / n:.0%} of {n}"
    )
    evidence = {key: row[key] for key in ("pattern", "seen", "correct", "em", "em_low", "em_high")}
    trained = history.run.train_patterns if history.run else {}
    if trained:
        share = trained.get(pattern, 0) / sum(trained.values())
        text += f"; {share:.1%} of the training rows"
        evidence["train_share"] = share
    have, more = trained.get(pattern, 0), _how_many(pattern, trained)
    if more:
        text += f". Add about {more:,}"
        evidence |= {"train_rows": have, "add": more}
        curve = _curve(history, pattern)
        if curve and have:
            gain, low, high = curve.gain((have + more) / have)
            text += f": {gain:+.0%} EM expected [{low:+.0%}, {high:+.0%}] by its own learning curve"
            evidence |= {"gain": gain, "gain_low": low, "gain_high": high}
    return Advice(
        topic="data", message=text, evidence=evidence | {"look_at": counts(history, pattern)}
    )


def _how_many(pattern: str, trained: Mapping[str, int]) -> int:
    """As many as bring it to the mean of the other patterns; where it has as many, as many again."""
    others = [n for name, n in trained.items() if name not in (pattern, UNMATCHED)]
    have = trained.get(pattern, 0)
    return max(round(sum(others) / len(others)) - have, 0) or have if others else have


def _curve(history: History, pattern: str) -> Learning | None:
    """The learning curve of one pattern over the evaluations after training began."""
    counted = [
        (
            result.step,
            Counter(i.correct for i in history.items[result.step] if i.pattern == pattern),
        )
        for result in history.evals
        if result.step > 0
    ]
    sizes = {found.total() for _, found in counted}
    if len(sizes) != 1:
        return None
    return learning([step for step, _ in counted], [c[False] for _, c in counted], sizes.pop())


def _unmeasured(rows: Sequence[dict[str, Any]], trained: Mapping[str, int]) -> list[Advice]:
    """What is trained on and hardly measured: nobody can say how good the model is at it."""
    seen = {row["pattern"]: row["seen"] for row in rows}
    total = sum(trained.values())
    found = []
    for pattern, n in trained.items() if seen else ():
        if pattern == UNMATCHED or seen.get(pattern, 0) >= ENOUGH or n < LARGE * total:
            continue
        have = seen.get(pattern, 0)
        text = (
            f"the held-out set has {have or 'no'} '{pattern}' examples, which are {n / total:.0%} of the "
            f"training rows: add {KNOWN - have} to know how good the model is at them"
        )
        evidence = {"pattern": pattern, "seen": have, "train_rows": n, "add": KNOWN - have}
        found.append(Advice(topic="coverage", message=text, evidence=evidence))
    return found


def _look_at(history: History) -> list[Advice]:
    """The held-out examples that look mislabelled."""
    rows = [row for row in rows_to_look_at(history) if row.why == "suspicious"]
    if not rows:
        return []
    lines = [row.line for row in rows]
    shown = ", ".join(map(str, lines[:5])) + (", ..." if len(lines) > 5 else "")
    text = (
        f"look at {len(lines)} held-out {'example' if len(lines) == 1 else 'examples'} first (lines "
        f"{shown}): never right, and a cross-entropy far above their pattern's, as wrong labels have"
    )
    return [Advice(topic="labels", message=text, evidence={"lines": lines, "n": len(lines)})]
