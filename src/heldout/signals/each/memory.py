"""Memory in use by the training process and on its device."""

from __future__ import annotations

from collections.abc import Sequence

import psutil
import torch

from heldout.records import Metric
from heldout.signals.moment import Moment, Signal, Values


def _metric(name: str, title: str, text: str, source: str) -> Metric:
    return Metric(name=name, title=title, unit="bytes", direction="lower", help=text, source=source)


class Memory(Signal):
    """Resident memory of the process; peak allocated memory of the current CUDA device."""

    metrics = (
        _metric("memory/host", "Host memory", "Resident memory of the process.", "psutil"),
        _metric(
            "memory/device_peak",
            "Peak device memory",
            "Most memory allocated by torch on the device so far. Absent without CUDA.",
            "torch.cuda.max_memory_allocated",
        ),
    )

    def __init__(self) -> None:
        self._process = psutil.Process()

    def step(self, moment: Moment, numbers: Sequence[float]) -> Values:
        """Record both; neither waits for the device."""
        values = {"memory/host": float(self._process.memory_info().rss)}
        if torch.cuda.is_available():
            values["memory/device_peak"] = float(torch.cuda.max_memory_allocated())
        return values


SIGNAL = Memory
