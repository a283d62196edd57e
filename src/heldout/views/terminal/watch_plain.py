"""What happens in a run as lines for a log: no escape code, one line each.

A line is the time (UTC), the step, and an evaluation, a change of an alert, a decision, or how an
attempt began or ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from heldout.records import AnyRecord, Decision, EvalResult, Note, Run, Samples, Verdict
from heldout.views.terminal.watch_text import clean

TOLD_STATES = ("open", "escalated", "resolved")
TOLD_NOTES = ("failure", "failed", "lost", "resume", "scope", "finished")


def plain_lines(records: Iterable[AnyRecord | Samples]) -> Iterator[str]:
    """Yield a line for each record that a log should tell."""
    for record in records:
        said = _said(record)
        if said:
            yield f"{_when(record)}  step {getattr(record, 'step', 0):>6}  {clean(said)}"


def _said(record: AnyRecord | Samples) -> str:
    match record:
        case Run():
            begun = f"resumed from step {record.step}" if record.step else "started"
            return f"{begun}: {record.model}, {record.total_steps:,} steps to go to"
        case EvalResult():
            return (
                f"EM {record.em:.1%} [{record.em_low:.1%}, {record.em_high:.1%}] of {record.n}, "
                f"CE {record.ce:.3f} [{record.ce_low:.3f}, {record.ce_high:.3f}], "
                f"ECE {record.ece:.3f} [{record.ece_low:.3f}, {record.ece_high:.3f}]"
            )
        case Verdict() if record.state == "resolved":
            return f"resolved {record.rule}: {record.message}"
        case Verdict() if record.state in TOLD_STATES:
            return f"{record.level.upper()} {record.rule}: {record.message} -> {record.action}"
        case Decision():
            keep = f", use {record.checkpoint}" if record.checkpoint else ""
            return f"decision: {record.action}{keep}: {record.reason}"
        case Note() if record.topic in TOLD_NOTES:
            return f"{record.topic}: {record.text}" if record.text else record.topic
    return ""


def _when(record: AnyRecord | Samples) -> str:
    """The record's time as UTC; a time that no calendar holds as a question mark."""
    try:
        when = datetime.fromtimestamp(getattr(record, "time", 0.0), UTC)
    except (OverflowError, OSError, ValueError):
        return "?"
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
