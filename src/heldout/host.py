"""What this machine says of itself and of a process: which they are, and since when each of them runs.

Read from Linux's /proc. Elsewhere a process can only be seen to be there or not.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from heldout.records import Run

PROC = Path("/proc")
CLOCK_SECONDS = 60.0
"""What clocks of one machine may differ by between two looks (they are set, and round)."""


def name() -> str:
    """This machine's name, as a run's record has it."""
    return socket.gethostname()


def process(proc: Path = PROC) -> dict[str, str]:
    """What tells this process from every other, for `Run.process`; without what cannot be read."""
    stat = _stat(proc / "self")
    found = {
        "boot": _boot(proc),
        "start": str(stat[1]) if stat else "",
        "namespace": _namespace(proc),
    }
    return {key: value for key, value in found.items() if value}


def booted(proc: Path = PROC) -> float | None:
    """When this machine was started, in Unix seconds; None where that cannot be read."""
    try:
        lines = (proc / "stat").read_text(encoding="utf-8").splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("btime "))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def is_rebooted(run: Run, last: float, proc: Path = PROC) -> bool | None:
    """Whether this machine was started again since `run`'s record of the time `last`.

    The clock is asked only of a run that did not note the machine's boot. None where nothing tells.
    """
    boot = _boot(proc)
    if boot and "boot" in run.process:
        return boot != run.process["boot"]
    since = booted(proc)
    return None if since is None else since > last + CLOCK_SECONDS


def is_alive(run: Run, proc: Path = PROC) -> bool | None:
    """Whether the process that began `run` on this machine is there, and is not a later one.

    None where it cannot be seen from here: its number is one of another pid namespace (a container's).
    """
    known = run.process
    boot, namespace = _boot(proc), _namespace(proc)
    if boot and known.get("boot", boot) != boot:
        return False
    if namespace and known.get("namespace", namespace) != namespace:
        return None
    since = booted(proc)
    if since is None:  # not the /proc of Linux
        return _exists(run.pid)
    stat = _stat(proc / str(run.pid))
    if stat is None:
        return (proc / str(run.pid)).exists() and _exists(run.pid)
    state, ticks = stat
    if state in ("Z", "X"):
        return False
    if "start" in known:
        return str(ticks) == known["start"]
    return since + ticks / os.sysconf("SC_CLK_TCK") <= run.time + CLOCK_SECONDS


def _stat(folder: Path) -> tuple[str, int] | None:
    """A process's state and when it was started, in ticks since the machine was; None if unreadable."""
    try:
        text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
        # the name before the last bracket may hold anything; the fields behind it begin with the third
        fields = text.rpartition(")")[2].split()
        return fields[0], int(fields[19])
    except (OSError, ValueError, IndexError):
        return None


def _boot(proc: Path) -> str:
    """What names this start of the machine; "" where nothing does."""
    try:
        return (proc / "sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _namespace(proc: Path) -> str:
    """What names the processes that are seen from here; "" where nothing does."""
    try:
        return str((proc / "self/ns/pid").readlink())
    except OSError:
        return ""


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
