"""Memory in use by the training process and on its device."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import psutil
import torch

from heldout.records import Metric
from heldout.signals.moment import Moment, Signal, Start, Values
from heldout.signals.peaks import accelerators

SECONDS = 1.0
"""At least this long between two readings: one takes longer than everything else in a step."""


def _metric(name: str, title: str, text: str, source: str, cost: str) -> Metric:
    return Metric(
        name=name,
        title=title,
        unit="bytes",
        direction="lower",
        help=text,
        source=source,
        cost=f"{cost}, at most once a second",
    )


class Memory(Signal):
    """Resident memory of this process, and what torch holds on the devices of the model.

    Read at the first step, then at most once a second, and at the last; no reading waits for a
    device. Where several steps' numbers are brought to the host together (`signals.every`), it stands
    with the first of them. Where this process's model is spread over several devices, the fullest
    counts. The peak forgets nothing between readings. Other processes on the device are not seen.
    """

    metrics = (
        _metric(
            "memory/host",
            "Host memory",
            "Resident memory of the process.",
            "psutil",
            "about 15 microseconds",
        ),
        _metric(
            "memory/device",
            "Device memory",
            "Memory that torch's tensors hold on the model's device at the end of the step.",
            "torch.cuda.memory_stats; on Apple torch.mps.current_allocated_memory",
            "one call with the other two",
        ),
        _metric(
            "memory/device_reserved",
            "Reserved device memory",
            "Memory that torch has taken from the model's device, in use or kept for later.",
            "torch.cuda.memory_stats; on Apple torch.mps.driver_allocated_memory",
            "one call with the other two",
        ),
        _metric(
            "memory/device_peak",
            "Peak device memory",
            "Most memory that torch's tensors held on the model's device so far.",
            "torch.cuda.memory_stats",
            "one call with the other two",
        ),
    )

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._process = psutil.Process()
        self._devices: list[torch.device] = []
        self._due = -math.inf

    def begin(self, start: Start) -> None:
        """Find the model's devices."""
        self._devices = accelerators(start.model)

    def step(self, moment: Moment, numbers: Sequence[float]) -> Values:
        """A reading when one is due."""
        now = self._clock()
        if now < self._due and not moment.last:
            return {}
        self._due = now + SECONDS
        values = {"memory/host": float(self._process.memory_info().rss)}
        for device in self._devices:
            for name, held in _held(device).items():
                values[name] = max(values.get(name, 0.0), float(held))
        return values


def _held(device: torch.device) -> dict[str, int]:
    """Bytes by metric; empty before the device was first used."""
    if device.type == "mps":
        return {
            "memory/device": torch.mps.current_allocated_memory(),
            "memory/device_reserved": torch.mps.driver_allocated_memory(),
        }
    stats = torch.cuda.memory_stats(device)
    names = {
        "memory/device": "allocated_bytes.all.current",
        "memory/device_reserved": "reserved_bytes.all.current",
        "memory/device_peak": "allocated_bytes.all.peak",
    }
    return {name: stats[key] for name, key in names.items() if key in stats}


SIGNAL = Memory
