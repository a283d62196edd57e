"""What to add to the training set next, read off the patterns of the fixed set.

The first advice is the headline: which pattern is behind. The others say what cannot be known yet, and which
rows to look at before any are added. Nothing is promised: no way to foretell what more rows would bring
had an interval that held what it said (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from heldout.derive.attention import counts, rows_to_look_at
from heldout.derive.history import History
from heldout.derive.patterns import ENOUGH, UNMATCHED, matrix
from heldout.derive.progress import flat_since
from heldout.records import Advice, EvalResult
from heldout.stats.groups import number_groups
from heldout.stats.intervals import wilson
from heldout.stats.paired import paired

KNOWN = 30
"""Held-out examples from which on a pattern's interval is narrow enough to steer by (+-18 points)."""
LARGE = 0.05
"""Share of the training rows from which on a pattern without held-out examples is a gap."""


LOOKS = 3
"""Evaluations after the start that a run which goes on must have: one early look says who learns last."""
FAR = 2 / 3
"""The share of its steps that it must have made: before, a pattern that is learned late looks like one that
lacks data (`benchmarks/alerts/advice.py`)."""
LATEST = 1 / 3
"""The share of the steps made that tells how fast a pattern rises now."""
SHOWN = 5
"""Lines of examples that were never right named in the sentence."""


def advise(history: History) -> list[Advice]:
    """Return what to do for the next run, the most useful first.

    A pattern is named when it has enough examples, the upper end of its interval lies below the lower
    end of all others' pooled one, and it would stay there: see `_stays_behind`. Its share of the
    training set, where known, says whether it is starved or hard.
    """
    rows = [row for row in matrix(history.last_items)["rows"] if row["seen"]]
    weak = [
        row
        for row in rows
        if row["known"] and _below_the_rest(row, rows) and _stays_behind(row, rows, history)
    ]
    trained = history.run.train_patterns if history.run else {}
    found = [_behind(row, rows, history) for row in sorted(weak, key=lambda row: float(row["em"]))]
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


def _stays_behind(row: dict[str, Any], rows: Sequence[dict[str, Any]], history: History) -> bool:
    """Whether a pattern would still be below the others if it went on rising as fast as it may be now.

    Its pace is the upper end of the paired change over the latest evaluations; it is drawn out to
    the planned end, and by as much again as it was read over where the run has finished. The others
    are taken to stay where they are. One that rises with the others only learns later than they do.
    A run that goes on must have `LOOKS` evaluations and be `FAR` on, or flat; so one that was cut short.
    """
    looks = [result for result in history.evals if result.step > history.evals[0].step]
    total = history.run.total_steps if history.run else 0
    done = history.ended == "finished"
    late = history.step >= FAR * total or flat_since(history) is not None
    if len(looks) < LOOKS or not (done or late):
        return done
    last, since = looks[-1], _since(looks)
    then = {item.id: item for item in history.items.get(since.step, [])}
    now = [x for x in history.last_items if x.pattern == row["pattern"] and x.id in then]
    if not now:
        return done
    _, fastest = paired(
        np.array([then[item.id].correct for item in now]),
        np.array([item.correct for item in now]),
        number_groups([item.group for item in now]),
    ).interval()
    left = 0 if done else total - last.step if total else last.step
    spans = max(1.0, left / (last.step - since.step))
    return float(row["em"]) + spans * max(0.0, fastest) < _rest(row, rows)[1][0]


def _since(looks: Sequence[EvalResult]) -> EvalResult:
    """The evaluation that the latest pace is read from: some looks back, and a share of the steps."""
    far = [x for x in looks[: 1 - LOOKS] if x.step <= (1 - LATEST) * looks[-1].step]
    return far[-1] if far else looks[0]


def _behind(row: dict[str, Any], rows: Sequence[dict[str, Any]], history: History) -> Advice:
    pattern = row["pattern"]
    (correct, n), _ = _rest(row, rows)
    score = (
        f"EM {row['em']:.0%} [{row['em_low']:.0%}, {row['em_high']:.0%}] of {row['seen']}, "
        f"the others {correct / n:.0%} of {n}"
    )
    evidence = {key: row[key] for key in ("pattern", "seen", "correct", "em", "em_low", "em_high")}
    text = f"need more '{pattern}' examples: {score}"
    trained = history.run.train_patterns if history.run else {}
    if trained:
        have, mean = trained.get(pattern, 0), _mean_of_others(pattern, trained)
        share = have / sum(trained.values())
        evidence |= {"train_rows": have, "train_share": share, "others_train_rows": mean}
        if mean is not None and have >= mean:
            text = f"look at the '{pattern}' rows before you add more: {score}"
        text += f"; {share:.1%} of the training rows are of it ({have:,}"
        text += ")" if mean is None else f"; the other patterns have {mean:,.0f} on average)"
    found = counts(history, pattern)
    lines = [line for why in ("suspicious", "persistent") for line in found.get(why, [])]
    if lines:
        more = ", ..." if len(lines) > SHOWN else ""
        text += f"; never right: lines {', '.join(map(str, lines[:SHOWN]))}{more}"
    return Advice(topic="data", message=text, evidence=evidence | {"look_at": found})


def _mean_of_others(pattern: str, trained: Mapping[str, int]) -> float | None:
    """Training rows that the other patterns have on average; None where there is no other."""
    others = [n for name, n in trained.items() if name not in (pattern, UNMATCHED)]
    return sum(others) / len(others) if others else None


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
