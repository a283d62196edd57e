"""One JSON-ready picture of a run: everything a view shows except the curves."""

from __future__ import annotations

from typing import Any

import msgspec

from heldout.derive.depth import depth_sentence, top_layers
from heldout.derive.flips import latest_flips
from heldout.derive.history import History
from heldout.derive.patterns import matrix
from heldout.derive.progress import fixed_eval
from heldout.records import SCHEMA, Verdict

SILENT = ("no-data", "error")
SHOWN_FIRST = ("escalated", "open", "pending")


def snapshot(history: History) -> dict[str, Any]:
    """Return the picture; numbers that are not finite stay floats until `records.encode`."""
    run = msgspec.to_builtins(history.run) if history.run else None
    decision = msgspec.to_builtins(history.decision) if history.decision else None
    return {
        "schema": SCHEMA,
        "run": run,
        "state": history.state,
        "step": history.step,
        "time": history.time,
        "metrics": {name: msgspec.to_builtins(m) for name, m in history.metrics.items()},
        "latest": {name: series.last for name, series in history.columns.series.items()},
        **contract(history),
        "evals": [msgspec.to_builtins(result) for result in history.evals],
        "flips": history.remember("flips", lambda: latest_flips(history)),
        "lora": lora(history),
        "alerts": alerts(history),
        "not_checked": not_checked(history),
        "decision": decision,
        "advice": decision["advice"] if decision else [],
        "checkpoints": [msgspec.to_builtins(saved) for saved in history.checkpoints],
        "notes": [msgspec.to_builtins(note) for note in history.notes],
    }


def contract(history: History) -> dict[str, Any]:
    """The fields that `status.json` promises, by their promised names."""
    columns = history.columns
    layers = history.layers[-1].layers if history.layers else []
    return {
        "fixed_eval": fixed_eval(history),
        "bucket_matrix": bucket_matrix(history),
        "lora_layer_deltas": [msgspec.to_builtins(layer) for layer in layers],
        "streaming_ce": _last(history, "loss/streaming"),
        "current_entropy": _last(history, "entropy/train"),
        "throughput": {
            key: columns.get(name).last
            for key, name in (
                ("tokens_per_sec", "throughput/tokens_per_second"),
                ("tokens_per_step", "throughput/tokens_per_step"),
                ("total_tokens", "throughput/total_tokens"),
                ("label_tokens", "throughput/label_tokens"),
                ("step_seconds", "time/step"),
            )
            if len(columns.get(name))
        },
        "smart_alerts": [alert for alert in alerts(history) if alert["state"] in SHOWN_FIRST],
    }


def bucket_matrix(history: History) -> dict[str, Any]:
    """The pattern x length matrix of the latest evaluation; {} before the first."""
    if not history.evals:
        return {}
    cells = history.remember("matrix", lambda: matrix(history.last_items))
    return {**cells, "step": history.evals[-1].step}


def lora(history: History) -> dict[str, Any]:
    """The latest reading of the layers, the five that moved most, and what it says in words."""
    if not history.layers:
        return {"step": 0, "note": "not read yet", "layers": [], "top": [], "sentence": ""}
    reading = history.layers[-1]
    return {
        "step": reading.step,
        "note": reading.note,
        "layers": [msgspec.to_builtins(layer) for layer in reading.layers],
        "top": [msgspec.to_builtins(layer) for layer in top_layers(reading)],
        "sentence": depth_sentence(history.layers),
    }


def alerts(history: History) -> list[dict[str, Any]]:
    """Every alert that ever opened, open ones first, then the latest."""
    shown = [v for v in history.alerts.values() if v.state not in (*SILENT, "closed")]
    shown.sort(key=lambda v: (v.state not in SHOWN_FIRST, -v.step, v.rule))
    return [_plain(verdict) for verdict in shown]


def not_checked(history: History) -> list[dict[str, str]]:
    """The rules that could not run, with the reason."""
    silent = [v for v in history.alerts.values() if v.state in SILENT]
    return [{"rule": verdict.rule, "reason": verdict.message} for verdict in silent]


def _plain(verdict: Verdict) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(verdict)
    del fields["type"]
    return fields


def _last(history: History, name: str) -> float | None:
    series = history.columns.get(name)
    return series.last if len(series) else None
