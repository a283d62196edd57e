"""The verdict as data: the JSON contract of `heldout report --json`."""

from __future__ import annotations

from typing import Any

from heldout.derive.history import History
from heldout.records import SCHEMA
from heldout.views.snapshot import SHOWN_FIRST, snapshot

EVAL_FIELDS = ("em", "token_em", "ce", "ece", "entropy", "token_accuracy")
ALERT_FIELDS = ("rule", "scope", "level", "state", "step", "message", "action", "evidence")
EXIT_CODES = {"info": 0, "warning": 1, "error": 2, "critical": 2}


def report(history: History) -> dict[str, Any]:
    """Return `{schema, run, metrics, alerts, decision, advice, not_checked}`.

    `metrics` maps each name to its latest value, its step and unit; rates carry n and interval.
    """
    now = snapshot(history)
    decision = now["decision"] or {"action": "none", "checkpoint": None, "tied": [], "reason": ""}
    return {
        "schema": SCHEMA,
        "run": {
            **(now["run"] or {}),
            "state": now["state"],
            "step": now["step"],
            "checkpoints": [saved["path"] for saved in now["checkpoints"]],
        },
        "metrics": _metrics(history),
        "alerts": [{key: alert[key] for key in ALERT_FIELDS} for alert in now["alerts"]],
        "decision": {key: decision[key] for key in ("action", "checkpoint", "tied", "reason")},
        "advice": now["advice"],
        "not_checked": now["not_checked"],
    }


def exit_code(history: History) -> int:
    """0 when no alert above info is open, 1 for warnings, 2 for errors and critical ones."""
    levels = [v.level for v in history.alerts.values() if v.state in SHOWN_FIRST]
    return max((EXIT_CODES[level] for level in levels), default=0)


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
