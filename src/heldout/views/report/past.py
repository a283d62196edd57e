"""The alerts of a run that are over: what a verdict at the end alone would not tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from heldout.records import AnyRecord, Run, Verdict
from heldout.views.snapshot import ACTIVE


@dataclass(frozen=True, slots=True)
class Past:
    """An alert that was open and is no more."""

    last: Verdict
    """How it ended."""
    opened: int
    """The step it opened at, the last time."""
    times: int = 1
    """How often it opened."""


def past_alerts(records: Iterable[AnyRecord]) -> list[Past]:
    """The alerts among `records`, in the order they last changed, that opened and are not open."""
    found: dict[tuple[str, str], Past] = {}
    for record in records:
        if isinstance(record, Run) and not record.step:
            found.clear()
        if not isinstance(record, Verdict):
            continue
        key = record.rule, record.scope
        before = found.get(key)
        if record.state == "open":
            found[key] = Past(record, record.step, before.times + 1 if before else 1)
        elif before and record.state in ("escalated", "resolved"):
            found[key] = replace(before, last=record)
    over = [past for past in found.values() if past.last.state not in ACTIVE]
    return sorted(over, key=lambda past: (past.last.step, past.last.rule))


def past_lines(past: Sequence[Past]) -> list[str]:
    """One line an alert: what it said, and from which step to which it was open."""
    return [
        f"was open: {each.last.level.upper()} {each.last.message} "
        f"(step {each.opened:,} to {each.last.step:,}"
        + (f", opened {each.times} times)" if each.times > 1 else ")")
        for each in past
    ]
