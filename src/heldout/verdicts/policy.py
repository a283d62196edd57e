"""From open alerts and evaluations to one decision: go on, stop, roll back, and which checkpoint."""

from __future__ import annotations

from typing import Any

from heldout.derive.advice import advise
from heldout.derive.history import History
from heldout.derive.progress import fixed_eval
from heldout.records import Action, Decision, Verdict
from heldout.verdicts.life import ACTIVE, LEVELS

ENDING = ("loss-not-finite", "regression", "plateau")
"""Rules whose open alert ends a run; the others advise."""


def decide(history: History) -> Decision:
    """Decide from everything known; `reason` is one sentence with the numbers behind it."""
    now = fixed_eval(history)
    action, cause = _action(history, now.get("best_ckpt"))
    return Decision(
        step=history.step,
        time=history.time,
        action=action,
        checkpoint=now.get("best_ckpt"),
        tied=now.get("tied", []),
        reason=cause.message if cause else _reason(history, now),
        advice=advise(history),
    )


def _action(history: History, best: str | None) -> tuple[Action, Verdict | None]:
    active = [v for v in history.alerts.values() if v.state in ACTIVE and v.rule in ENDING]
    worst = max(active, key=lambda verdict: LEVELS.index(verdict.level), default=None)
    if worst is None:
        return ("none" if history.ended else "continue"), None
    if worst.rule == "plateau":
        return ("none" if history.ended else "stop"), worst
    return ("roll-back" if best else "stop"), worst


def _reason(history: History, now: dict[str, Any]) -> str:
    if not now:
        return "nothing has been evaluated yet"
    score = f"EM {now['em']:.1%} [{now['em_low']:.1%}, {now['em_high']:.1%}] of {now['n']}"
    change = f"{now['em_change']:+.1%} since step {now['em_reference']}"
    match now["em_trend"]:
        case "improving" if history.ended:
            return f"{score}, still improving at the end ({change}): a longer run may gain more"
        case "improving":
            return f"{score}, improving ({change})"
        case "plateau":
            return f"{score}, flat ({change}), but the learning rate is still high"
        case _ if len(history.evals) == 1:
            return f"{score}: the base to compare with"
        case trend:
            seen = f"{now['n']} examples show changes from {now['detectable']:.1%} on"
            return f"{score}, {trend} ({change}; {seen})"
