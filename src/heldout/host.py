"""What this machine says of itself and of a process: since when each of them runs.

Read from Linux's /proc. Elsewhere a process can only be seen to be there or not.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from heldout.records import Run
from heldout.verdicts.heartbeat import CLOCK_SECONDS

PROC = Path("/proc")


def name() -> str:
    """This machine's name, as a run's record has it."""
    return socket.gethostname()


def booted(proc: Path = PROC) -> float | None:
    """When this machine was started, in Unix seconds; None where that cannot be read."""
    try:
        lines = (proc / "stat").read_text(encoding="utf-8").splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("btime "))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def is_alive(run: Run, proc: Path = PROC) -> bool:
    """Whether the process that began `run` on this machine is there, and is not a later one."""
    start = booted(proc)
    if start is None:
        return _exists(run.pid)
    try:
        text = (proc / str(run.pid) / "stat").read_text(encoding="utf-8", errors="replace")
        # the name before the last bracket may hold anything; the fields behind it begin with the third
        fields = text.rpartition(")")[2].split()
        state, began = fields[0], start + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except FileNotFoundError:
        return False
    except (OSError, ValueError, IndexError):
        return _exists(run.pid)
    return state not in ("Z", "X") and began <= run.time + CLOCK_SECONDS


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
