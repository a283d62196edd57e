"""Time, CPU time and peak extra memory of one call."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

T = TypeVar("T")
PROC = Path("/proc/self")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one call took. `peak_bytes` is above what was in use before; None where unknown."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int | None


def measure(call: Callable[[], T], device: torch.device) -> tuple[Reading, T]:
    """Run `call`, and read its wall seconds, this process's CPU seconds, and its peak memory.

    On CUDA the peak is of torch's allocator. On Linux it is of the resident set, after memory that
    is free was given back to the system; elsewhere there is none.
    """
    before = _start_peak(device)
    began, cpu_began = time.perf_counter(), time.process_time()
    answer = call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    peak = _peak(device)
    extra = None if peak is None or before is None else max(peak - before, 0)
    return Reading(seconds=seconds, cpu_seconds=cpu_seconds, peak_bytes=extra), answer


def _start_peak(device: torch.device) -> int | None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    if not (PROC / "clear_refs").exists():
        return None
    ctypes.CDLL(None).malloc_trim(0)
    (PROC / "clear_refs").write_text("5")  # makes VmHWM start again from what is resident now
    return _status_bytes("VmRSS")


def _peak(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _status_bytes("VmHWM") if (PROC / "clear_refs").exists() else None


def _status_bytes(field: str) -> int:
    lines = (PROC / "status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
