"""No sign of life from the trainer: it died, or it hangs.

Checks: seen from outside by whoever looks at the run, since a dead trainer cannot judge itself. Died:
its process is gone from this machine, or the machine was started again since. Stalled: the journal
has not grown for 5 minutes or ten steps' time, whichever is longer; where an evaluation or a save may
be under way (before the first step, and at their steps) for half an hour or twice the longest pause so far.

Why: a killed or hanging run costs hours before somebody looks.

What to do: read the trainer's log, and go on from the last checkpoint as the alert says.

When it is wrong: a long pause at a step where none was foreseen; two machines of one name that share
the folder. Either is resolved when the journal grows. A viewer in another container than the trainer
sees no processes of it, and goes by the journal alone.

Source: the heartbeats of cluster schedulers; the limits are this project's choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from heldout.derive.history import History
from heldout.derive.interruption import how_to_go_on
from heldout.records import HEARTBEAT, Run, Verdict
from heldout.verdicts.life import Standing, judge_rule
from heldout.verdicts.rule import Finding, Rule


@dataclass(frozen=True, slots=True)
class Limits:
    """When silence is too long."""

    quiet_seconds: float = 300.0
    """Seconds without a new record that are never too long."""
    steps: float = 10.0
    """Nor are as many steps' time."""
    long_seconds: float = 1800.0
    """Seconds that may pass where an evaluation or a save may be under way."""
    pauses: float = 2.0
    """Nor is so many times the longest pause so far too long there."""
    gone_seconds: float = 60.0
    """Seconds without a new record after which a process that is gone is believed to be, where its record
    does not tell it from a later one of the same number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What a viewer sees of a trainer from outside, besides its journal's records."""

    quiet_seconds: float
    """Since the journal last grew."""
    step_seconds: float
    """Between two recorded steps, usually."""
    longest_pause: float
    """Seconds between two records of this attempt, at most."""
    bytes: int
    """The journal's length in whole lines."""
    alive: bool | None = None
    """Whether the trainer's process is there; None where that cannot be seen."""
    rebooted: bool | None = None
    """Whether the machine was started again since the last record; None where that cannot be seen."""


def judge_heartbeat(history: History, signs: Signs, now: float, limits: Limits) -> list[Verdict]:
    """Return the change of the heartbeat's alert; [] while it stands as it did.

    `history.alerts` holds the last verdict. An alert stands for as long as the journal does not grow.
    """

    def check(history: History, limits: Limits) -> list[Finding]:
        return find(history, signs, limits)

    rule = Rule(name=HEARTBEAT, check=check, limits=limits)
    before = history.alerts.get((HEARTBEAT, ""))
    stands = before is not None and before.evidence.get("bytes") == signs.bytes
    return [
        msgspec.structs.replace(
            verdict, time=now, evidence=verdict.evidence | {"bytes": signs.bytes}
        )
        for verdict in judge_rule(rule, history, Standing.of(history))
        if not (stands and verdict.state == "resolved")
    ]


def find(history: History, signs: Signs, limits: Limits) -> list[Finding]:
    """Return what is wrong with the trainer of a run that has not ended; [] if nothing is."""
    run = history.run
    if run is None or history.ended or run.source:
        return []
    where = f"process {run.pid} on {run.host}" if run.host else "the trainer"
    # a process that is known by its start is surely gone; another may be one of the same number
    known = signs.alive is False and "start" in run.process
    if known or not signs.quiet_seconds < limits.gone_seconds:
        reason = _gone(run, history, signs)
        if reason:
            return [_died(history, signs, reason)]
    limit = _limit(run, history, signs, limits)
    if not signs.quiet_seconds <= limit:
        quiet = duration(signs.quiet_seconds)
        message = f"no new record for {quiet}, where {duration(limit)} would be usual at most"
        action = (
            f"See what {where} waits for (data, disk, another process); if it hangs, end it and "
            "start the same command again."
        )
        evidence = _evidence(history, signs, "stalled") | {"limit_seconds": limit}
        return [Finding(level="warning", message=message, action=action, evidence=evidence)]
    return []


def duration(seconds: float) -> str:
    """A length of time in its largest fitting unit: 40 s, 12 min, 5.5 h, 3 days."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds:.0f} s"


def _died(history: History, signs: Signs, reason: str) -> Finding:
    return Finding(
        level="error",
        message=f"the training died at step {history.step:,}: {reason}",
        action="Read its log for the cause (out of memory, killed, a crash), then "
        f"{how_to_go_on(history)}.",
        evidence=_evidence(history, signs, "died") | {"reason": reason},
    )


def _gone(run: Run, history: History, signs: Signs) -> str:
    if signs.rebooted:
        return f"{run.host} was started again since its last record"
    if signs.alive is False:
        return f"process {run.pid} on {run.host} is gone, and it never said that it ended"
    return ""


def _limit(run: Run, history: History, signs: Signs, limits: Limits) -> float:
    usual = max(limits.quiet_seconds, limits.steps * signs.step_seconds)
    if not _may_pause(run, history.step):
        return usual
    return max(usual, limits.long_seconds, limits.pauses * signs.longest_pause)


def _may_pause(run: Run, step: int) -> bool:
    """Whether an evaluation or a save may be under way after `step`."""
    settings = run.config.get("eval") or {}
    periods = [
        settings.get("every"),
        run.training.get("eval_steps"),
        run.training.get("save_steps"),
    ]
    known = [period for period in periods if isinstance(period, int) and period > 0]
    ends = step in (0, run.step, run.total_steps)
    return ends or any(step % period == 0 for period in known)


def _evidence(history: History, signs: Signs, state: str) -> dict[str, Any]:
    run = history.run
    assert run is not None
    return {
        "state": state,
        "quiet_seconds": signs.quiet_seconds,
        "step_seconds": signs.step_seconds,
        "host": run.host,
        "pid": run.pid,
    }
