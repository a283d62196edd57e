"""The verdict as data: the JSON contract of `heldout report --json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from heldout.derive.checked import unchecked
from heldout.derive.history import History
from heldout.derive.interruption import CUT_SHORT
from heldout.records import SCHEMA
from heldout.views.report.past import Past
from heldout.views.snapshot import ACTIVE, snapshot

EVAL_FIELDS = ("em", "token_em", "ce", "ece", "entropy", "token_accuracy")
ALERT_FIELDS = ("rule", "scope", "level", "state", "step", "message", "action", "evidence")
NOTHING_CHECKED = 3
EXIT_CODES = {"info": 0, "warning": 1, "error": 2, "critical": 2}


def report(history: History, past: Sequence[Past] = ()) -> dict[str, Any]:
    """Return `{schema, run, metrics, alerts, decision, advice, not_checked}`.

    `metrics` maps each name to its latest value, its step and unit; rates carry n and interval.
    `alerts` end with those of `past` that the end of the run closed.
    """
    now = snapshot(history)
    alerts = [*now["alerts"], *_closed(now["alerts"], past)]
    decision = now["decision"] or {"action": "none", "checkpoint": None, "tied": [], "reason": ""}
    empty = unchecked(history)
    if empty:
        decision = {**decision, "reason": f"Nothing could be checked: {empty}"}
    return {
        "schema": SCHEMA,
        "run": {
            **(now["run"] or {}),
            "state": now["state"],
            "step": now["step"],
            "checkpoints": [saved["path"] for saved in now["checkpoints"]],
            "remarks": [note["text"] for note in now["notes"] if note["topic"] == "data"],
        },
        "metrics": _metrics(history),
        "alerts": [{key: alert[key] for key in ALERT_FIELDS} for alert in alerts],
        "decision": {key: decision[key] for key in ("action", "checkpoint", "tied", "reason")},
        "advice": now["advice"],
        "not_checked": now["not_checked"],
    }


def exit_code(history: History) -> int:
    """0 when no alert above info is open, 1 for warnings, 2 for errors, critical ones and a run cut short.

    3 when nothing could be checked.
    """
    if history.state in CUT_SHORT:
        return 2
    levels = [v.level for v in history.alerts.values() if v.state in ACTIVE]
    code = max((EXIT_CODES[level] for level in levels), default=0)
    return code or (NOTHING_CHECKED if unchecked(history) else 0)


def _closed(alerts: Sequence[dict[str, Any]], past: Sequence[Past]) -> list[dict[str, Any]]:
    """The alerts of `past` that are not among `alerts`; their step is the one they resolved at."""
    listed = {(alert["rule"], alert["scope"]) for alert in alerts}
    over = [each.last for each in past if (each.last.rule, each.last.scope) not in listed]
    return [msgspec.to_builtins(verdict) | {"state": "closed"} for verdict in over]


def _metrics(history: History) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, series in history.columns.series.items():
        found[name] = {"value": series.last, "step": int(series.steps[-1])}
    if history.evals:
        last = history.evals[-1]
        for field in EVAL_FIELDS:
            found[f"eval/{field}"] = {"value": getattr(last, field), "step": last.step}
        found["eval/em"] |= {"n": last.n, "low": last.em_low, "high": last.em_high}
    for name, entry in found.items():
        if name in history.metrics:
            entry["unit"] = history.metrics[name].unit
    return found
