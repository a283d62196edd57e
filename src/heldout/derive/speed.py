"""How fast training goes, what it waits for, and when it will be done."""

from __future__ import annotations

import math
from typing import Any

from heldout.derive.columns import Columns
from heldout.derive.history import History

WINDOW = 200
"""Steps that the split of time and the share of padding are of: enough to hold some evaluations."""
PHASES = (
    *("data", "forward_backward", "optimizer", "other"),
    *("evaluation", "saving", "monitor"),
)
"""The step's own phases as they follow each other, then what stands between steps."""
LATEST = {
    "tokens_per_sec": "throughput/tokens_per_second",
    "label_tokens_per_sec": "throughput/label_tokens_per_second",
    "mean_tokens_per_sec": "throughput/mean_tokens_per_second",
    "tokens_per_step": "throughput/tokens_per_step",
    "total_tokens": "throughput/total_tokens",
    "label_tokens": "throughput/label_tokens",
    "step_seconds": "time/step",
    "mfu": "utilisation/mfu",
}


def throughput(history: History) -> dict[str, Any]:
    """Return the field `throughput` of `status.json`; what is not known is left out.

    `padding` is the mean share over the last `WINDOW` steps. `time` is the share of each phase in
    these steps, and `time_steps` how many they are. `eta_seconds` is there until the run has ended.
    """
    columns = history.columns
    found: dict[str, Any] = {
        key: columns.get(name).last for key, name in LATEST.items() if len(columns.get(name))
    }
    since = history.step - WINDOW + 1
    padding = _finite(columns, "throughput/padding", since)
    if padding:
        found["padding"] = sum(padding) / len(padding)
    left = columns.get("time/remaining").last
    if not history.ended and math.isfinite(left):
        found["eta_seconds"] = left
    return found | time_split(columns, since)


def time_split(columns: Columns, since: int) -> dict[str, Any]:
    """Return `time`, the share of each phase of the time from step `since` on, and `time_steps`.

    {} where no phase was timed.
    """
    laps = {phase: _finite(columns, f"time/{phase}", since) for phase in PHASES}
    total = sum(map(sum, laps.values()))
    if not total > 0:
        return {}
    shares = {phase: sum(seconds) / total for phase, seconds in laps.items() if seconds}
    return {"time": shares, "time_steps": max(map(len, laps.values()))}


def _finite(columns: Columns, name: str, since: int) -> list[float]:
    return [value for value in columns.get(name).since(since) if math.isfinite(value)]
