"""Evaluations made after a run, put among those the run made itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from heldout.derive.history import History
from heldout.records import EvalResult, Item

SAME_CE = 1e-3
"""Relative difference of cross-entropy that other batches, kernels or autocast may make."""

Scored = tuple[Sequence[Item], EvalResult]


def merge(history: History, scored: Mapping[int, Scored]) -> list[str]:
    """Add evaluations by step to `history` where it has none; returns what to say about each.

    Where both have one, the run's stays and they are compared example by example. All must be of the
    run's own set.
    """
    own: dict[int, Scored] = {r.step: (history.items.get(r.step, []), r) for r in history.evals}
    said = [_compared(step, own[step], scored[step]) for step in sorted(own.keys() & scored.keys())]
    added = sorted(scored.keys() - own.keys())
    if added:
        _fold(history, {**scored, **own}, added[0])
        said.append(f"added: step {', '.join(f'{step:,}' for step in added)}")
    return said


def _fold(history: History, all_: Mapping[int, Scored], since: int) -> None:
    """Feed the evaluations from step `since` on again, in order: each supersedes what came later."""
    for step in sorted(step for step in all_ if step >= since):
        items, result = all_[step]
        for item in items:
            history.add(item)
        history.add(result)


def _compared(step: int, own: Scored, new: Scored) -> str:
    there = {item.id: item for item in own[0]}
    pairs = [(there[item.id], item) for item in new[0] if item.id in there]
    other = [(a, b) for a, b in pairs if a.correct != b.correct]
    ties = sum(a.near_tie or b.near_tie for a, b in other)
    ce, ce_now = own[1].ce, new[1].ce
    if not other and abs(ce - ce_now) <= SAME_CE * abs(ce):
        return f"step {step:,}: as the run itself found, on all {len(pairs)} examples"
    return (
        f"step {step:,} DIFFERS from what the run found: {len(other)} of {len(pairs)} answers "
        f"({ties} near-ties), CE {ce:.4f} in the run and {ce_now:.4f} now"
    )
