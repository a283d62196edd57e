"""One JSON-ready picture of a run: everything a view shows except the curves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from heldout.derive.attention import rows_to_look_at
from heldout.derive.cells import changes
from heldout.derive.depth import (
    depth_sentence,
    is_relative,
    stack_names,
    top_impact,
    top_layers,
    top_moved,
)
from heldout.derive.flips import latest_flips
from heldout.derive.history import History
from heldout.derive.interruption import standing
from heldout.derive.layers import kinds, over_time, parts, states, troubles
from heldout.derive.patterns import matrix
from heldout.derive.progress import fixed_eval
from heldout.derive.recommended import named
from heldout.derive.speed import throughput
from heldout.derive.streaming import course
from heldout.records import SCHEMA, Data, Layer, Layers, Verdict

SILENT = ("no-data", "error")
ACTIVE = ("escalated", "open")
SHOWN_FIRST = (*ACTIVE, "pending")
_CHANGE = ("state", "level", "step", "time", "message")
MOST_CHANGES = 200
"""Changes of alerts that are told, the latest."""
MOST_ROWS = 20
"""Rows of the training set named of each kind that was found."""
NOT_COUNTED = {"train_rows": None, "train_share": None}
_FLAT = [field for field in Layer.__struct_fields__ if field != "parts"]


def snapshot(history: History) -> dict[str, Any]:
    """Return the picture; numbers that are not finite stay floats until `records.encode`."""
    run = msgspec.to_builtins(history.run) if history.run else None
    decision = msgspec.to_builtins(standing(history))
    return {
        "schema": SCHEMA,
        "run": run,
        "metrics": {name: msgspec.to_builtins(m) for name, m in history.metrics.items()},
        **contract(history),
        **live(history),
        "evals": [msgspec.to_builtins(result) for result in history.evals],
        "flips": history.remember("flips", lambda: latest_flips(history)),
        "lora": lora(history.layers),
        "alerts": alerts(history),
        "alert_history": alert_history(history),
        "not_checked": not_checked(history),
        "decision": decision,
        "advice": decision["advice"] if decision else [],
        "look_at": Counter(row.why for row in rows_to_look_at(history)),
        "data": data_facts(history.data) if history.data else None,
        "checkpoints": [msgspec.to_builtins(saved) for saved in history.checkpoints],
        "notes": [msgspec.to_builtins(note) for note in history.notes],
    }


def scope(now: Mapping[str, Any]) -> str:
    """What is watched of a model whose kind cannot be scored on a fixed set; "" of a language model."""
    said = [note["text"] for note in now["notes"] if note["topic"] == "scope"]
    return str(said[-1]) if said else ""


def live(history: History) -> dict[str, Any]:
    """The part of the picture that changes with every sample."""
    return {
        "state": history.state,
        "step": history.step,
        "time": history.time,
        "latest": {name: series.last for name, series in history.columns.series.items()},
        "streaming_course": course(history),
        **streams(history),
    }


def streams(history: History) -> dict[str, Any]:
    """The promised fields that every sample brings."""
    return {
        "streaming_ce": _last(history, "loss/streaming"),
        "current_entropy": _last(history, "entropy/train"),
        "throughput": throughput(history),
    }


def contract(history: History) -> dict[str, Any]:
    """The fields that `status.json` promises, by their promised names."""
    return {
        "fixed_eval": fixed_eval(history),
        "bucket_matrix": bucket_matrix(history),
        "lora_layer_deltas": lora_layer_deltas(history),
        **streams(history),
        "smart_alerts": [alert for alert in alerts(history) if alert["state"] in SHOWN_FIRST],
    }


def bucket_matrix(history: History) -> dict[str, Any]:
    """The pattern x length matrix of the latest evaluation; {} before the first."""
    if not history.evals:
        return {}
    cells = history.remember("matrix", lambda: _balanced(history))
    return {**cells, "step": history.evals[-1].step, "changes": changes(history)}


def _balanced(history: History) -> dict[str, Any]:
    """The matrix, each row with how much of the training set is of its pattern, where that is known."""
    found = matrix(history.last_items)
    trained = history.run.train_patterns if history.run else {}
    total = sum(trained.values())
    for row in found["rows"]:
        rows = trained.get(row["pattern"], 0)
        row |= {"train_rows": rows, "train_share": rows / total} if total else NOT_COUNTED
    return found


def lora_layer_deltas(history: History) -> list[dict[str, Any]]:
    """The latest reading, an entry a layer; without `parts`, as it is written every second.

    `qkv` and `mlp` are 0 where no such module is adapted: they are promised as numbers.
    """
    layers = history.layers[-1].layers if history.layers else []
    flat = [{field: getattr(layer, field) for field in _FLAT} for layer in layers]
    return [{**layer, "qkv": layer["qkv"] or 0.0, "mlp": layer["mlp"] or 0.0} for layer in flat]


def lora(readings: Sequence[Layers]) -> dict[str, Any]:
    """The latest of `readings` of the layers, what stands out in it, and what it says in words.

    `stacks` names each stack shortly. `movement` says which number of a layer compares with the
    others': "relative" or "norm". `top_moved` are the five that moved most by it, `top` by ||dW||;
    `top_impact` are the five the training loss depends on most, and `over_time` holds the curves of
    those. `troubles` are the worst 20 of the `num_troubles` modules that are not ok.
    """
    reading = readings[-1] if readings else Layers(step=0, time=0.0, layers=[], note="not read yet")
    moved, depended_on = top_moved(reading), top_impact(reading)
    return {
        "step": reading.step,
        "note": reading.note,
        "layers": [_layer(layer) for layer in reading.layers],
        "stacks": stack_names(reading.layers),
        "movement": "relative" if is_relative(reading.layers) else "norm",
        "top": [_layer(layer) for layer in top_layers(reading)],
        "top_moved": [_layer(layer) for layer in moved],
        "top_impact": [_layer(layer) for layer in depended_on],
        "sentence": depth_sentence(readings),
        "kinds": kinds(reading),
        "troubles": troubles(reading),
        "num_troubles": len(reading.troubles),
        "states": states(reading),
        "over_time": over_time(readings, [*moved, *depended_on]),
    }


def alerts(history: History) -> list[dict[str, Any]]:
    """Every alert that ever opened, open ones first, then the latest."""
    shown = [v for v in history.alerts.values() if v.state not in (*SILENT, "closed")]
    shown.sort(key=lambda v: (v.state not in SHOWN_FIRST, -v.step, v.rule))
    best = history.decision.checkpoint if history.decision else None
    return [{**_plain(v), "action": named(v.action, best)} for v in shown]


def alert_history(history: History) -> list[dict[str, Any]]:
    """What each alert went through, `{rule, scope, changes}`, the one that changed last first."""
    threads: dict[tuple[str, str], list[dict[str, Any]]] = {}
    told = [verdict for verdict in history.verdicts if verdict.state not in SILENT]
    for verdict in told[-MOST_CHANGES:]:
        changes = threads.pop((verdict.rule, verdict.scope), [])
        changes.append({field: getattr(verdict, field) for field in _CHANGE})
        threads[verdict.rule, verdict.scope] = changes
    return [
        {"rule": rule, "scope": scope, "changes": changes}
        for (rule, scope), changes in reversed(threads.items())
    ]


def data_facts(data: Data) -> dict[str, Any]:
    """What the training set was found to hold, with shares; of each kind the first rows."""
    fields: dict[str, Any] = msgspec.to_builtins(data)
    del fields["type"]
    fields["label_share"] = data.label_tokens / data.tokens if data.tokens else None
    fields["found"] = {
        kind: {
            "n": rows.n,
            "rows": rows.rows[:MOST_ROWS],
            "share": rows.n / data.looked_at if data.looked_at else 0.0,
        }
        for kind, rows in data.found.items()
        if rows.n
    }
    return fields


def not_checked(history: History) -> list[dict[str, str]]:
    """The rules that could not run, with the reason."""
    silent = [v for v in history.alerts.values() if v.state in SILENT]
    return [{"rule": verdict.rule, "reason": verdict.message} for verdict in silent]


def _layer(layer: Layer) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(layer)
    return {**fields, "parts": msgspec.to_builtins(parts(layer))}


def _plain(verdict: Verdict) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(verdict)
    del fields["type"]
    return fields


def _last(history: History, name: str) -> float | None:
    series = history.columns.get(name)
    return series.last if len(series) else None
