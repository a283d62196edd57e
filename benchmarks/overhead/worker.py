"""Log with one tool, or read back, in that tool's own interpreter; the benchmarks start it.

    python worker.py time TOOL RESULT STEPS PACE_SECONDS
    python worker.py announce TOOL RESULT PACE_SECONDS
    python worker.py read TOOL RESULT

The answer is JSON in the file RESULT, since some tools print. `announce` logs until it is killed, and
writes each step's number to the file descriptor RESULT, four bytes, once the call has returned.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from processes import children, cpu_seconds
from readers import READERS
from workload import num_right, scalars
from writers import WRITERS

WARM_UP = 20
"""Steps before the clock starts: the first calls of most tools import or open something."""


def timed(tool: str, steps: int, pace_seconds: float) -> dict[str, float]:
    """Log `steps` steps, `pace_seconds` of sleep before each.

    Returns the time of a call (median and 99th percentile, seconds), and for all of them the CPU
    seconds of this process and of the processes the tool started, until everything is stored, and
    the bytes that came onto the disk.
    """
    writer = WRITERS[tool]()
    logs = [(step, scalars(step)) for step in range(1, WARM_UP + steps + 1)]
    before_bytes = _bytes_on_disk()
    for step, values in logs[:WARM_UP]:
        writer.log(step, values)
    helpers = cpu_seconds(children(os.getpid()))
    cpu_began, calls = time.process_time(), []
    for step, values in logs[WARM_UP:]:
        if pace_seconds:
            time.sleep(pace_seconds)
        began = time.perf_counter()
        writer.log(step, values)
        calls.append(time.perf_counter() - began)
    pids = children(os.getpid())
    writer.close()
    return {
        "median": median(calls),
        "p99": quantiles(calls, n=100)[98],
        "cpu": (time.process_time() - cpu_began) / steps,
        "helper_cpu": (cpu_seconds(pids) - helpers) / steps,
        "bytes": (_bytes_on_disk() - before_bytes) / len(logs),
    }


def announce(tool: str, file: int, pace_seconds: float) -> None:
    """Log without end, saying after each step that its call has returned."""
    writer = WRITERS[tool]()
    for step in itertools.count(1):
        writer.log(step, scalars(step))
        os.write(file, step.to_bytes(4, "little"))
        if pace_seconds:
            time.sleep(pace_seconds)


def found(tool: str) -> dict[int, int]:
    """Return how many right values the tool's reader finds, by step."""
    return {step: num_right(step, values) for step, values in READERS[tool]().items()}


def _bytes_on_disk() -> int:
    return sum(path.stat().st_size for path in Path().rglob("*") if path.is_file())


def main() -> None:
    job, tool, result, *numbers = sys.argv[1:]
    answer: Any = None
    if job == "time":
        answer = timed(tool, int(numbers[0]), float(numbers[1]))
    elif job == "announce":
        announce(tool, int(result), float(numbers[0]))
    elif job == "read":
        answer = found(tool)
    Path(result).write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
