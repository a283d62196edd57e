"""What other rules have told lately, which a rule's own finding may be part of."""

from __future__ import annotations

from heldout.derive.history import History
from heldout.verdicts.life import ACTIVE


def told_lately(history: History, rule: str, steps: int) -> bool:
    """Whether an alert of `rule` is open, or was resolved within the last `steps` of this attempt."""
    start, since = (history.run.step, history.run.time) if history.run else (0, 0.0)
    for verdict in history.alerts_of.get(rule, {}).values():
        if verdict.state in ACTIVE:
            return True
        superseded = verdict.step > start and verdict.time < since
        lately = 0 <= history.step - verdict.step <= steps
        if verdict.state == "resolved" and lately and not superseded:
            return True
    return False
