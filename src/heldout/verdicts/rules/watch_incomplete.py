"""heldout itself missed something: rows were lost, or a part of it failed and was switched off.

Checks: notes of lost rows (the disk was full or unreachable) and of failures (a signal, an evaluation,
the held-out set) in this run. It resolves `quiet` steps after the last one.

Why: what was not recorded cannot raise an alert, so silence would look like health.

What to do: free disk space, or mend what the message names; training itself goes on untouched.

When it is wrong: never about the gap itself; a single failed evaluation may not matter to you.

Source: the notes in the run's journal.
"""

from __future__ import annotations

from dataclasses import dataclass

from heldout.derive.history import History
from heldout.records import Note, Sample
from heldout.verdicts.rule import Finding, NotChecked, Rule


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    quiet: int = 100
    """Steps after the last gap until the alert resolves."""


ACTIONS = {
    "lost": "Free disk space; training goes on and what comes next is recorded.",
    "failure": "Mend what the message names before the next run; training goes on.",
}


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find gaps in what was watched; one finding for each kind."""
    since = history.run.time if history.run else 0.0
    findings = []
    for topic, action in ACTIONS.items():
        gaps = [note for note in history.notes if note.topic == topic and note.time >= since]
        if gaps and history.step - gaps[-1].step <= limits.quiet:
            evidence = {"times": len(gaps), "first_step": gaps[0].step}
            findings.append(
                Finding(
                    level="warning",
                    message=gaps[-1].text,
                    action=action,
                    evidence=evidence,
                    scope=topic,
                )
            )
    return findings


RULE = Rule(name="watch-incomplete", check=check, limits=Limits(), on=(Note, Sample))
