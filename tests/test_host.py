from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import facts
import pytest

from heldout import host

BOOTED = 1_000_000.0


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A machine's /proc: started at a known time, with one process, whose name is hostile."""
    (tmp_path / "stat").write_text(f"cpu 1 2 3\nbtime {int(BOOTED)}\nprocesses 9\n")
    process(tmp_path, 7, seconds=100.0)
    return tmp_path


def process(proc: Path, pid: int, seconds: float, state: str = "S") -> None:
    """Put a process there that was started so many seconds after the machine."""
    ticks = int(seconds * os.sysconf("SC_CLK_TCK"))
    fields = [state, *["0"] * 18, str(ticks), "0", "0"]
    (proc / str(pid)).mkdir(exist_ok=True)
    (proc / str(pid) / "stat").write_text(f"{pid} (a) S 1 (b) {' '.join(fields)}\n")


@pytest.mark.parametrize(
    ("pid", "began", "alive"),
    [
        (7, BOOTED + 100, True),
        (7, BOOTED + 5_000, True),
        (7, BOOTED + 41, True),  # clocks are set
        (7, BOOTED + 39, False),  # the process is younger than the run: another one
        (8, BOOTED + 100, False),
    ],
)
def test_a_process_is_the_runs_own_if_it_is_older(
    proc: Path, pid: int, began: float, alive: bool
) -> None:
    assert host.is_alive(facts.run(pid=pid, time=began), proc) is alive


@pytest.mark.parametrize(("state", "alive"), [("R", True), ("D", True), ("Z", False), ("X", False)])
def test_a_zombie_is_dead(proc: Path, state: str, alive: bool) -> None:
    process(proc, 9, 100.0, state)
    assert host.is_alive(facts.run(pid=9, time=BOOTED + 200), proc) is alive


def test_when_the_machine_was_started(proc: Path, tmp_path: Path) -> None:
    assert host.booted(proc) == BOOTED
    assert host.booted(tmp_path / "none") is None
    (proc / "stat").write_text("cpu 1\n")
    assert host.booted(proc) is None


@pytest.mark.parametrize("text", ["", "7 (a) S", "7 (a) S " + "x " * 30])
def test_where_the_start_cannot_be_read_a_process_is_there_or_not(proc: Path, text: str) -> None:
    (proc / str(os.getpid())).mkdir()
    (proc / str(os.getpid()) / "stat").write_text(text)
    assert host.is_alive(facts.run(pid=os.getpid(), time=BOOTED), proc) is True


def test_without_proc_a_process_is_there_or_not(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert host.is_alive(facts.run(pid=os.getpid()), tmp_path) is True
    assert host.is_alive(facts.run(pid=ended.pid), tmp_path) is False
    assert host.is_alive(facts.run(pid=1), tmp_path) is True


def test_this_process_is_alive_and_a_killed_one_is_not_even_before_it_is_reaped() -> None:
    assert host.is_alive(facts.run(pid=os.getpid(), time=time.time()))
    assert not host.is_alive(facts.run(pid=os.getpid(), time=1.0))
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    run = facts.run(pid=child.pid, time=time.time())
    assert host.is_alive(run)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet reaped
    assert not host.is_alive(run)
    child.wait()
    assert not host.is_alive(run)
