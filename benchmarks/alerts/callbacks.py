"""What training callbacks would have done on a log: early stopping, and two rules that watch the loss.

Re-implementations, since the originals run inside a Trainer only. Early stopping is transformers'
`EarlyStoppingCallback` with `load_best_model_at_end`; the spike rule is `SpikeDetection` of Lightning
Fabric with its defaults; the z-score is the kind of automation that W&B offers on a logged metric.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

SPIKE_WINDOW = 10
SPIKE_RATIO = 2.0
Z = 3.0
Z_WINDOW = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The logged training loss of a trainer_state.json."""

    steps: list[int]
    values: list[float]

    @classmethod
    def of(cls, log: Path) -> Series:
        """Read it; rows whose loss is no number are left out, as no callback would see one."""
        history = json.loads(log.read_text(encoding="utf-8")).get("log_history") or []
        rows = [row for row in history if isinstance(row.get("loss"), int | float)]
        steps = [int(row.get("step", i)) for i, row in enumerate(rows)]
        return cls(steps=steps, values=[float(row["loss"]) for row in rows])


def spikes(series: Series) -> list[int]:
    """Steps at which the loss rose and is twice its running mean away from it, or is not finite."""
    seen: deque[float] = deque(maxlen=SPIKE_WINDOW)
    last, found = 0.0, []
    for i, (step, loss) in enumerate(zip(series.steps, series.values, strict=True)):
        finite = math.isfinite(loss)
        far = bool(seen) and abs(loss - fmean(seen)) >= abs(SPIKE_RATIO * fmean(seen))
        if i >= 1 and (not finite or (loss - last > 0 and far)):
            found.append(step)
        elif finite:
            seen.append(loss)
            last = loss
    return found


def z_scores(series: Series) -> list[int]:
    """Steps at which the loss is more than 3 standard deviations above the mean of the 30 before."""
    found = []
    for i in range(Z_WINDOW, len(series.values)):
        window = [x for x in series.values[i - Z_WINDOW : i] if math.isfinite(x)]
        if len(window) < Z_WINDOW:
            continue
        if not series.values[i] - fmean(window) <= Z * stdev(window):
            found.append(series.steps[i])
    return found


def patience(values: Sequence[float], most: int, counts: Sequence[bool] | None = None) -> int:
    """The index of the evaluation at which patience `most` ends a run; the last one if it does not.

    Lower is better. Where `counts` is given, an evaluation without a new best only counts where it says so.
    """
    best, waited = math.inf, 0
    for i, value in enumerate(values):
        if value < best:
            best, waited = value, 0
        elif counts is None or counts[i]:
            waited += 1
        if waited >= most:
            return i
    return len(values) - 1
