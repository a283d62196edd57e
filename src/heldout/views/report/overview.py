"""Many runs, a row each: what is open in each and what to do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from heldout.derive.history import History
from heldout.views.report.data import NOTHING_CHECKED, exit_code
from heldout.views.report.past import Past
from heldout.views.report.text import reached
from heldout.views.snapshot import ACTIVE, snapshot

WORDS = ("healthy", "warnings", "errors", "unreadable")
"""What the exit codes mean."""


@dataclass(frozen=True, slots=True)
class Row:
    """One run, or what could not be read as one."""

    name: str
    code: int
    reached: str = ""
    alerts: str = ""
    past: str = ""
    decision: str = ""

    @property
    def word(self) -> str:
        """The exit code in a word."""
        read = self.code == NOTHING_CHECKED and self.reached
        return "nothing checked" if read else WORDS[self.code]


def short_names(paths: Sequence[Path]) -> list[str]:
    """The paths without the folder they share, as a table has them."""
    parents = [path.absolute().parent for path in paths]
    shared = os.path.commonpath(parents)
    return [str(path.absolute().relative_to(shared)) for path in paths]


def row(name: str, history: History, past: Sequence[Past]) -> Row:
    """Sum a judged run up; `name` is what the user calls it."""
    now = snapshot(history)
    alerts = [alert for alert in now["alerts"] if alert["state"] in ACTIVE]
    decision = now["decision"] or {"action": "none", "checkpoint": None}
    keep = f", keep {decision['checkpoint']}" if decision["checkpoint"] else ""
    return Row(
        name=name,
        code=exit_code(history),
        reached=reached(now),
        alerts=", ".join(f"{alert['rule']} ({alert['level']})" for alert in alerts),
        past=", ".join(dict.fromkeys(each.last.rule for each in past)),
        decision=decision["action"] + keep,
    )
