from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import facts
import pytest

from heldout import host
from heldout.records import Run

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


BOOT, NAMESPACE = "e6f1-boot", "pid:[4026531836]"


def identified(proc: Path, boot: str = BOOT, namespace: str = NAMESPACE) -> Path:
    """The same machine with its boot and pid namespace named, as Linux has them."""
    boot_id = proc / "sys/kernel/random/boot_id"
    boot_id.parent.mkdir(parents=True, exist_ok=True)
    boot_id.write_text(f"{boot}\n")
    link = proc / "self" / "ns" / "pid"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(namespace)
    return proc


def begun(pid: int = 7, seconds: float = 100.0, **changes: str) -> Run:
    """A run of that process, by a clock that was set back by days since."""
    start = str(int(seconds * os.sysconf("SC_CLK_TCK")))
    known = {"boot": BOOT, "start": start, "namespace": NAMESPACE} | changes
    return facts.run(pid=pid, time=BOOTED - 1e6, process=known)


@pytest.mark.parametrize(
    ("run", "alive"),
    [
        (begun(), True),
        (begun(seconds=100.01), False),  # another process of the same number
        (begun(pid=8), False),
        (begun(boot="another"), False),
        (begun(boot="another", namespace="pid:[1]"), False),
        (begun(namespace="pid:[1]"), None),
        (begun(pid=8, namespace="pid:[1]"), None),
    ],
)
def test_what_names_a_process_is_believed_and_not_the_clock(
    proc: Path, run: Run, alive: bool | None
) -> None:
    assert host.is_alive(run, identified(proc)) is alive
    assert host.is_rebooted(run, 0.0, proc) is (run.process["boot"] != BOOT)


def test_a_named_process_that_is_a_zombie_is_dead(proc: Path) -> None:
    process(proc, 7, seconds=100.0, state="Z")
    assert host.is_alive(begun(), identified(proc)) is False


def test_what_cannot_be_named_on_either_side_is_left_to_the_rest(proc: Path) -> None:
    run = begun()
    assert host.is_alive(run, proc) is True, "the start alone"
    assert host.is_rebooted(run, BOOTED, proc) is False, "by the clock"
    old = facts.run(pid=7, time=BOOTED + 100)
    assert host.is_alive(old, identified(proc)) is True
    assert host.is_rebooted(old, BOOTED - 60, proc) is False
    assert host.is_rebooted(old, BOOTED - 61, proc) is True
    assert host.is_rebooted(old, 0.0, proc / "none") is None


def test_this_process_is_named(proc: Path, tmp_path: Path) -> None:
    identified(proc)
    (proc / "self" / "stat").write_text((proc / "7" / "stat").read_text())
    assert host.process(proc) == begun().process
    assert host.process(tmp_path / "none") == {}
    (tmp_path / "bad" / "self").mkdir(parents=True)
    (tmp_path / "bad" / "self" / "stat").write_text("7 (a) S")
    assert host.process(tmp_path / "bad") == {}


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


def test_a_clock_that_is_set_changes_nothing_for_a_process_that_named_itself() -> None:
    ours = facts.run(pid=os.getpid(), time=1.0, process=host.process())
    assert host.is_alive(ours) is True
    assert host.is_rebooted(ours, 1.0) is False
    later = facts.run(pid=os.getpid(), time=1.0, process=host.process() | {"start": "1"})
    assert host.is_alive(later) is False


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
