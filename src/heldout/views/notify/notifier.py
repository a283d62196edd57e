"""The listener that tells of alerts: one notification for each change that matters."""

from __future__ import annotations

import atexit
import time
from collections.abc import Sequence
from functools import partial

from heldout.derive.history import ENDS, History
from heldout.derive.recommended import named
from heldout.records import AnyRecord, Note, Run, Verdict
from heldout.views.notify.channel import channels
from heldout.views.notify.message import Change, Message, render
from heldout.views.notify.options import LEVELS, NotifyOptions
from heldout.views.notify.outbox import Outbox, Pace
from heldout.views.report.text import capital, headline

CLOSE_SECONDS = 5.0
"""What the end of the process waits for messages at most."""
WORDS = {"open": "opened", "escalated": "escalated", "resolved": "resolved"}
STANDING = ("open", "escalated")
"""States of an alert whose end is to be told."""


class Notifier:
    """Call it with the records just written and their history, as the watch and the guard do.

    It tells of alerts at `level` and above that opened, escalated or were resolved (where their opening
    was told, by it or by the process before it in a resumed run), and of the end of a run with the
    decision. It returns at once: each address has a queue and a thread of its own. Raises `ConfigError`
    for addresses that cannot be used.
    """

    def __init__(self, options: NotifyOptions, pace: Pace | None = None) -> None:
        self._least = LEVELS.index(options.level)
        self._told: set[tuple[str, str, str]] = set()
        write = partial(_render, options.link)
        self._outboxes = [Outbox(name, send, write, pace) for name, send in channels(options)]
        atexit.register(self.close)

    def __call__(self, records: Sequence[AnyRecord], history: History) -> None:
        """Leave what changed to be sent."""
        for outbox in self._outboxes:
            outbox.start()
        for record in records:
            change = None
            if isinstance(record, Verdict):
                change = self._alert(record, history)
            elif isinstance(record, Note) and record.topic in ENDS:
                change = _end(record, history)
            elif isinstance(record, Run):
                for verdict in _standing_before(records, history):
                    self.remember(history, verdict)
            for outbox in self._outboxes if change else ():
                assert change is not None
                outbox.put(change)

    def remember(self, history: History, verdict: Verdict) -> None:
        """Take an alert as told of by another process, so that its resolution is told."""
        self._told.add(_key(history, verdict))

    def drain(self, seconds: float) -> None:
        """Wait until everything is sent or given up, for `seconds` at most."""
        deadline = time.monotonic() + seconds
        for outbox in self._outboxes:
            outbox.drain(deadline - time.monotonic())

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Send what waits, for `seconds` at most."""
        atexit.unregister(self.close)
        deadline = time.monotonic() + seconds
        for outbox in self._outboxes:
            outbox.close(0.0)
        for outbox in self._outboxes:
            outbox.close(deadline - time.monotonic())

    def _alert(self, verdict: Verdict, history: History) -> Change | None:
        if verdict.state not in WORDS or LEVELS.index(verdict.level) < self._least:
            return None
        key = _key(history, verdict)
        if verdict.state == "resolved" and key not in self._told:
            return None
        if verdict.state == "resolved":
            self._told.discard(key)
        else:
            self._told.add(key)
        about = f"{verdict.rule} ({verdict.scope})" if verdict.scope else verdict.rule
        resolved = verdict.state == "resolved"
        return Change(
            run=_run_id(history),
            level="info" if resolved else verdict.level,
            head=f"{about} {WORDS[verdict.state]} at {_where(verdict.step, history)}",
            text=f"It was: {verdict.message}" if resolved else verdict.message,
            action="" if resolved else named(verdict.action, _best(history)),
            evidence={} if resolved else verdict.evidence,
        )


def _best(history: History) -> str | None:
    return history.decision.checkpoint if history.decision else None


def _standing_before(records: Sequence[AnyRecord], history: History) -> list[Verdict]:
    """The alerts that stood before `records`, the last ones of `history`."""
    new = sum(isinstance(record, Verdict) for record in records)
    known = history.verdicts[: len(history.verdicts) - new]
    last = {(verdict.rule, verdict.scope): verdict for verdict in known}
    return [verdict for verdict in last.values() if verdict.state in STANDING]


def _end(note: Note, history: History) -> Change:
    decision = history.decision
    text = note.text or "nothing was decided"
    if decision is not None:
        lead = headline(decision.action, decision.checkpoint, decision.evidence)
        verdict = f"{lead} {capital(decision.reason)}"
        text = verdict if note.text in verdict else f"{note.text}. {verdict}"
    return Change(
        run=_run_id(history),
        level="error" if note.topic == "failed" else "info",
        head=f"{history.state} at {_where(note.step, history)}",
        text=text,
    )


def _render(link: str | None, changes: Sequence[Change], untold: int) -> Message:
    return render(changes, untold, link)


def _where(step: int, history: History) -> str:
    total = history.run.total_steps if history.run else 0
    return f"step {step:,}" + (f" of {total:,}" if total > 0 else "")


def _run_id(history: History) -> str:
    return history.run.id if history.run else "a run"


def _key(history: History, verdict: Verdict) -> tuple[str, str, str]:
    return _run_id(history), verdict.rule, verdict.scope
