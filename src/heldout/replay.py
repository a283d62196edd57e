"""Judge a stored run again, or a foreign log for the first time, by the rules of today."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heldout.derive.history import History
from heldout.guard import seen
from heldout.records import AnyRecord, Decision, Run, Verdict
from heldout.store.foreign import open_any
from heldout.verdicts.judge import Judge
from heldout.verdicts.rule import Rule


@dataclass(frozen=True, slots=True)
class Replay:
    """A run as it was judged."""

    history: History
    records: Sequence[AnyRecord]
    """Every fact, each followed by the verdicts and decisions it caused."""


def rejudge(path: Path, more: Sequence[Rule[Any]] = ()) -> Replay:
    """Judge the run at `path` from its facts alone; nothing is written.

    `more` are rules from a user's file. Verdicts that a journal holds are passed over. Raises
    `HeldoutError` where there is nothing to read.
    """
    records = open_any(path)
    return _as_seen(path, _judged(records, more))


def as_recorded(path: Path) -> Replay:
    """The run at `path` with the verdicts that its journal holds; a foreign log is judged now.

    Whether the trainer of a run that has not ended still lives is looked at, as `rejudge` does too.
    """
    records = open_any(path)
    if any(isinstance(record, Run) and record.source for record in records):
        return _judged(records)
    return _as_seen(path, Replay(History.of(records), records))


def _as_seen(path: Path, found: Replay) -> Replay:
    """The run with what is seen of its trainer now, which a killed one cannot have written."""
    if found.history.run and not found.history.ended:
        verdict = seen(path)
        if verdict is not None:
            found.history.add(verdict)
    return found


def _judged(records: Sequence[AnyRecord], more: Sequence[Rule[Any]] = ()) -> Replay:
    judge = Judge(more=more)
    found: list[AnyRecord] = []
    for record in records:
        if not isinstance(record, Verdict | Decision):
            found += [record, *judge.feed(record)]
    return Replay(judge.history, found)
