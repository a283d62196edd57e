"""The guard: dead and stalled trainers are told of once, by whichever viewer is first."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import facts
import pytest

from heldout import guard as guard_module
from heldout import host
from heldout.derive.history import History
from heldout.guard import Guard, Watched, guarding
from heldout.records import AnyRecord, Note, Run, Sample, Verdict
from heldout.store.heartbeat import FILE_NAME, standing
from heldout.store.journal import Journal, read

MINUTE = 60.0
DEAD_PID = 2**22 + 5
"""Of a process that is gone: above the highest that Linux gives."""


class Clock:
    """Wall and monotonic time of a test, which pass only when told to."""

    def __init__(self) -> None:
        self.wall = 1_700_000_000.0
        self.steady = 50.0

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    def clocks(self) -> tuple[Any, Any]:
        return (lambda: self.wall), (lambda: self.steady)


class Told:
    """Stands in for the notifier: what it was called with."""

    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []
        self.remembered: list[Verdict] = []

    def __call__(self, records: Sequence[AnyRecord], history: History) -> None:
        assert history.run is not None
        self.verdicts += [record for record in records if isinstance(record, Verdict)]

    def remember(self, history: History, verdict: Verdict) -> None:
        self.remembered.append(verdict)

    @property
    def states(self) -> list[str]:
        return [verdict.state for verdict in self.verdicts]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock; the machine was started long before it began, and only one process is gone."""
    clock = Clock()
    monkeypatch.setattr(host, "is_alive", lambda run: run.pid != DEAD_PID)
    monkeypatch.setattr(host, "booted", lambda _: clock.wall - 86_400)
    return clock


class Trainer:
    """A run as its trainer writes it, on this machine's or another's clock."""

    def __init__(self, folder: Path, clock: Clock, ahead: float = 0.0, **about: Any) -> None:
        self.path = folder / "journal.jsonl"
        self.folder = folder
        self.clock = clock
        self.ahead = ahead
        self.step = 0
        about = {"host": host.name(), "pid": os.getpid(), "id": folder.name} | about
        config = {"eval": {"every": 1000}}
        self.write(facts.run(time=self.now, config=config, total_steps=5000, **about))
        for _ in range(3):
            self.train()

    @property
    def now(self) -> float:
        return self.clock.wall + self.ahead

    def write(self, *records: AnyRecord) -> None:
        journal = Journal(self.path)
        journal.append(records)
        journal.close()
        os.utime(self.path, (self.now, self.now))

    def train(self, seconds: float = 1.0) -> None:
        self.clock.pass_(seconds)
        self.step += 1
        self.write(Sample(step=self.step, time=self.now, values={"loss/step": 1.0}))

    def end(self, topic: str = "finished") -> None:
        self.write(Note(step=self.step, time=self.now, topic=topic, text=""))


def watcher(root: Path, clock: Clock) -> tuple[Guard, Told]:
    told = Told()
    return Guard(root, told, *clock.clocks()), told  # type: ignore[arg-type]


def states(guard: Guard) -> list[str]:
    return [str(verdict.evidence["state"]) for _, verdict in guard.look()]


def sidecar(trainer: Trainer) -> list[str]:
    return [r.state for r in read(trainer.folder / FILE_NAME)[0] if isinstance(r, Verdict)]


def seen(trainer: Trainer) -> History:
    """The run as a view folds it."""
    records, end = read(trainer.path)
    return History.of([*records, *standing(trainer.path, end)])


def test_a_stalled_trainer_is_told_of_once_and_again_when_it_is_back(
    tmp_path: Path, clock: Clock
) -> None:
    trainer = Trainer(tmp_path / "r", clock)
    guard, told = watcher(tmp_path, clock)
    for _ in range(20):  # a look every 15 seconds for 5 minutes
        assert states(guard) == []
        clock.pass_(15)
    before = trainer.path.read_bytes()
    clock.pass_(1)
    assert states(guard) == ["stalled"]
    for _ in range(20):
        clock.pass_(600)
        assert states(guard) == []
    assert trainer.path.read_bytes() == before, "the journal has one writer"
    assert seen(trainer).state == "stalled"
    trainer.train()
    assert seen(trainer).state == "running", "before any guard has looked"
    assert states(guard) == ["stalled"]
    assert told.states == sidecar(trainer) == ["open", "resolved"]
    clock.pass_(301)
    assert states(guard) == ["stalled"]
    assert sidecar(trainer) == ["open", "resolved", "open"]


def test_a_guard_that_comes_late_judges_by_the_file_on_its_own_machine(
    tmp_path: Path, clock: Clock
) -> None:
    Trainer(tmp_path / "r", clock)
    clock.pass_(299)
    assert states(watcher(tmp_path, clock)[0]) == []
    clock.pass_(2)
    assert states(watcher(tmp_path, clock)[0]) == ["stalled"]
    assert states(watcher(tmp_path, clock)[0]) == [], "told by another process"


def test_records_say_when_the_file_system_does_not(tmp_path: Path, clock: Clock) -> None:
    trainer = Trainer(tmp_path / "r", clock)
    os.utime(trainer.path, (1.0, 1.0))  # a file server whose clock is wrong
    assert states(watcher(tmp_path, clock)[0]) == []


def test_a_dead_trainer_is_told_of_within_two_minutes(tmp_path: Path, clock: Clock) -> None:
    trainer = Trainer(tmp_path / "r", clock, pid=DEAD_PID)
    guard, told = watcher(tmp_path, clock)
    assert states(guard) == []
    clock.pass_(60)
    assert states(guard) == ["died"]
    assert states(guard) == []
    assert seen(trainer).state == "died"
    assert told.verdicts[0].level == "error"
    assert f"process {DEAD_PID}" in told.verdicts[0].message
    # the same command again, in a process that lives
    trainer.write(facts.run(step=2, time=trainer.now, host=host.name(), pid=os.getpid()))
    assert states(guard) == ["died"]
    assert told.states == ["open", "resolved"]
    assert seen(trainer).state == "starting" or seen(trainer).state == "running"


def test_a_machine_that_was_started_again_has_ended_its_runs(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    Trainer(tmp_path / "r", clock)
    clock.pass_(3600)
    monkeypatch.setattr(host, "booted", lambda _: clock.wall - 600)
    guard, told = watcher(tmp_path, clock)
    assert states(guard) == ["died"]
    assert "was started again" in told.verdicts[0].message


def test_a_clock_set_forward_while_it_is_quiet_kills_no_trainer(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # this process as the machine has it
    trainer = Trainer(tmp_path / "r", clock, process=host.process())
    guard, _ = watcher(tmp_path, clock)
    assert states(guard) == []
    clock.pass_(100)  # an evaluation
    # started long before now, which the clock says is long after the run began
    assert trainer.now < time.time() - 1_000
    assert states(guard) == []


@pytest.mark.parametrize("topic", ["finished", "failed"])
def test_a_run_that_ended_is_never_judged(tmp_path: Path, clock: Clock, topic: str) -> None:
    trainer = Trainer(tmp_path / "r", clock, pid=DEAD_PID)
    trainer.end(topic)
    clock.pass_(1e6)
    guard, _ = watcher(tmp_path, clock)
    assert states(guard) == []
    assert not (trainer.folder / FILE_NAME).exists()


def test_of_a_long_run_that_ended_only_the_end_is_read(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(tmp_path / "r", clock, pid=DEAD_PID)
    trainer.write(*(Sample(step=i, time=trainer.now, values={}) for i in range(4, 3000)))
    trainer.end()
    parts: list[int] = []
    monkeypatch.setattr(guard_module, "END_BYTES", 4096)
    monkeypatch.setattr(
        guard_module,
        "read",
        lambda path, start, *n: (parts.append(start), read(path, start, *n))[1],
    )
    guard, _ = watcher(tmp_path, clock)
    assert states(guard) == []
    assert min(parts) >= trainer.path.stat().st_size - 4096
    # and when it goes on it is judged
    clock.pass_(1)
    trainer.write(facts.run(step=2999, time=trainer.now, host=host.name(), pid=DEAD_PID))
    assert states(guard) == []
    clock.pass_(60)
    assert states(guard) == ["died"]


def test_a_run_that_starts_again_behind_its_end_is_read_whole(tmp_path: Path, clock: Clock) -> None:
    trainer = Trainer(tmp_path / "r", clock, pid=DEAD_PID)
    trainer.end("failed")
    trainer.write(facts.run(step=2, time=trainer.now + 1, host=host.name(), pid=DEAD_PID))
    clock.pass_(61)
    assert states(watcher(tmp_path, clock)[0]) == ["died"]


def test_a_long_journal_is_read_in_parts(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(tmp_path / "r", clock, pid=DEAD_PID)
    trainer.write(*(Sample(step=i, time=trainer.now, values={}) for i in range(4, 200)))
    monkeypatch.setattr(guard_module, "PART_BYTES", 100)
    monkeypatch.setattr(guard_module, "PAUSE_SECONDS", 0)
    guard, _ = watcher(tmp_path, clock)
    guard.look()
    assert guard.runs[trainer.folder].pulse.history.step == 199


@pytest.mark.parametrize("ahead", [3600.0, -3600.0, 1e8])
def test_of_another_host_only_the_growth_of_the_file_counts(
    tmp_path: Path, clock: Clock, ahead: float
) -> None:
    trainer = Trainer(tmp_path / "r", clock, ahead, host="elsewhere", pid=DEAD_PID)
    guard, told = watcher(tmp_path, clock)
    assert states(guard) == []
    for _ in range(5):
        trainer.train(200)
        assert states(guard) == []
    clock.pass_(10 * 200 + 1)
    assert states(guard) == ["stalled"]
    assert "on elsewhere" in told.verdicts[0].action
    trainer.train()
    assert states(guard) == ["stalled"]
    assert told.states == ["open", "resolved"]


def test_looks_by_cron_know_how_long_the_journal_of_another_host_is_quiet(
    tmp_path: Path, clock: Clock
) -> None:
    trainer = Trainer(tmp_path / "r", clock, ahead=1e6, host="elsewhere")
    found = []
    for look in range(8):
        guard, _ = watcher(tmp_path, clock)
        found += states(guard)
        guard.remember()
        if look < 2:
            trainer.train()
        clock.pass_(120)
    assert found == ["stalled"]
    assert seen(trainer).state == "stalled"
    notes = [r.topic for r in read(trainer.folder / FILE_NAME)[0] if isinstance(r, Note)]
    assert notes == ["seen", "seen", "seen", "told"], "one note a length"


def test_looks_by_cron_note_nothing_of_runs_on_their_own_machine(
    tmp_path: Path, clock: Clock
) -> None:
    trainer = Trainer(tmp_path / "r", clock)
    guard, _ = watcher(tmp_path, clock)
    guard.look()
    guard.remember()
    assert not (trainer.folder / FILE_NAME).exists()


def test_a_machine_that_slept_has_not_stalled(tmp_path: Path, clock: Clock) -> None:
    trainer = Trainer(tmp_path / "r", clock)
    guard, _ = watcher(tmp_path, clock)
    guard.look()
    clock.wall += 8 * 3600  # suspended: the steady clock stood still
    assert states(guard) == []
    trainer.train()
    assert states(guard) == []


def test_a_clock_set_back_hides_nothing(tmp_path: Path, clock: Clock) -> None:
    Trainer(tmp_path / "r", clock, ahead=0.0)
    clock.wall -= 86_400
    guard, _ = watcher(tmp_path, clock)
    assert states(guard) == []
    clock.pass_(301)
    assert states(guard) == ["stalled"]


def test_of_two_viewers_one_tells(tmp_path: Path, clock: Clock) -> None:
    trainer = Trainer(tmp_path / "r", clock, pid=DEAD_PID)
    guards = [watcher(tmp_path, clock) for _ in range(3)]
    for guard, _ in guards:
        guard.look()
    clock.pass_(61)
    assert [state for guard, _ in guards for state in states(guard)] == ["died"]
    trainer.write(facts.run(step=2, time=trainer.now, host=host.name(), pid=os.getpid()))
    assert [state for guard, _ in reversed(guards) for state in states(guard)] == ["died"]
    assert sidecar(trainer) == ["open", "resolved"]
    told = guards[-1][1]
    assert told.states == ["resolved"]
    assert [verdict.state for verdict in told.remembered] == ["resolved"], (
        "another told of it opening"
    )
    assert [state for _, each in guards for state in each.states] == ["open", "resolved"]


def test_what_a_guard_without_addresses_finds_another_one_tells(
    tmp_path: Path, clock: Clock
) -> None:
    trainer = Trainer(tmp_path / "r", clock, pid=DEAD_PID)
    silent = Guard(tmp_path, None, *clock.clocks())
    clock.pass_(61)
    assert states(silent) == ["died"]
    (first, one), (second, two) = watcher(tmp_path, clock), watcher(tmp_path, clock)
    assert states(first) == states(second) == []
    assert (one.states, two.states) == (["open"], [])
    trainer.write(facts.run(step=2, time=trainer.now, host=host.name(), pid=os.getpid()))
    assert states(silent) == ["died"]
    second.look()
    first.look()
    assert (one.states, two.states) == (["open"], ["resolved"])


def test_a_full_disk_makes_nobody_tell_twice(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(tmp_path / "r", clock, pid=DEAD_PID)
    clock.pass_(61)
    Guard(tmp_path, None, *clock.clocks()).look()
    guard, told = watcher(tmp_path, clock)
    monkeypatch.setattr(Journal, "append", lambda self, records, durable=False: ())
    for _ in range(3):
        guard.look()
    assert told.states == ["open"]
    assert sidecar(trainer) == ["open"]


def test_what_was_over_before_anybody_could_be_told_is_not_told(
    tmp_path: Path, clock: Clock
) -> None:
    trainer = Trainer(tmp_path / "r", clock, pid=DEAD_PID)
    silent = Guard(tmp_path, None, *clock.clocks())
    clock.pass_(61)
    silent.look()
    trainer.write(facts.run(step=2, time=trainer.now, host=host.name(), pid=os.getpid()))
    silent.look()
    guard, told = watcher(tmp_path, clock)
    guard.look()
    assert sidecar(trainer) == ["open", "resolved"]
    assert told.states == []


def test_a_viewer_waits_for_no_other(tmp_path: Path, clock: Clock) -> None:
    trainer = Trainer(tmp_path / "r", clock, pid=DEAD_PID)
    clock.pass_(61)
    guard, _ = watcher(tmp_path, clock)
    other = Journal(trainer.folder / FILE_NAME)
    assert states(guard) == []
    other.close()
    assert states(guard) == ["died"]


def test_what_cannot_be_kept_is_told_once_all_the_same(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = Trainer(tmp_path / "r", clock, pid=DEAD_PID)
    (trainer.folder / FILE_NAME).mkdir()  # nobody can write there
    clock.pass_(61)
    guard, told = watcher(tmp_path, clock)
    assert states(guard) == ["died"]
    assert states(guard) == []
    trainer.write(facts.run(step=2, time=trainer.now, host=host.name(), pid=os.getpid()))
    assert states(guard) == ["died"]
    assert told.states == ["open", "resolved"]
    assert sum("is not kept" in record.getMessage() for record in caplog.records) == 1


def test_a_journal_that_goes_or_is_replaced_ends_no_guard(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(tmp_path / "r", clock, pid=DEAD_PID)
    other = Trainer(tmp_path / "s", clock, pid=DEAD_PID)
    guard, _ = watcher(tmp_path, clock)
    guard.look()
    trainer.path.unlink()
    monkeypatch.setattr(guard_module, "list_runs", lambda root: [trainer.folder, other.folder])
    clock.pass_(61)
    assert [run.folder.name for run, _ in guard.look()] == ["s"]
    trainer.write(facts.run(time=trainer.now, host=host.name(), pid=DEAD_PID))
    assert states(guard) == []
    assert guard.runs[trainer.folder].pulse.history.step == 0
    clock.pass_(61)
    assert states(guard) == ["died"]


def test_a_run_made_again_with_a_longer_journal_is_judged_by_its_own_trainer(
    tmp_path: Path, clock: Clock
) -> None:
    first = Trainer(tmp_path / "r", clock)
    first.end()
    guard, _ = watcher(tmp_path, clock)
    assert states(guard) == []
    shutil.rmtree(first.folder)
    again = Trainer(tmp_path / "r", clock, pid=DEAD_PID)
    for _ in range(20):
        again.train()
    assert states(guard) == []
    (run,) = guard.runs.values()
    assert run.pulse.history.run is not None
    assert run.pulse.history.run.pid == DEAD_PID
    clock.pass_(61)
    assert states(guard) == ["died"]


def test_a_journal_without_a_run_yet_and_one_cut_in_a_line_are_no_trouble(
    tmp_path: Path, clock: Clock
) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "journal.jsonl").touch()
    trainer = Trainer(tmp_path / "r", clock, pid=DEAD_PID)
    with trainer.path.open("ab") as file:
        file.write(b'{"type":"sample","step":')  # killed while it wrote
    os.utime(trainer.path, (trainer.now, trainer.now))
    clock.pass_(61)
    guard, _ = watcher(tmp_path, clock)
    assert states(guard) == ["died"]
    assert states(guard) == []
    assert seen(trainer).state == "died"


def test_the_thread_looks_until_it_is_told_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks: list[int] = []

    def fail(self: Guard) -> list[Any]:
        looks.append(1)
        raise RuntimeError("a look that fails")

    monkeypatch.setattr(guard_module, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(Guard, "look", fail)
    with guarding(Guard(tmp_path)):
        deadline = time.monotonic() + 20
        while len(looks) < 3 and time.monotonic() < deadline:
            time.sleep(0.001)
    assert len(looks) >= 3
    assert "a look that fails" in caplog.text


def test_a_run_is_described_in_one_line(tmp_path: Path, clock: Clock) -> None:
    trainer = Trainer(tmp_path / "r", clock, pid=DEAD_PID)
    run = Watched(trainer.folder, *clock.clocks())
    assert run.describe() == "r: nothing recorded yet"
    run.look()
    clock.pass_(7)
    assert run.describe() == "r: alive at step 3, last sign 7 s ago"
    clock.pass_(60)
    run.look()
    assert run.describe().startswith("r: died, the training died at step 3")
    trainer.end()
    run.look()
    assert run.describe() == "r: finished"


# The commands.


def kill(folder: Path, seconds_ago: int, known: bool) -> Path:
    """A real trainer that wrote three steps so long ago and was killed just now.

    `known` says whether its record tells it from every other process.
    """
    script = textwrap.dedent("""
        import os, sys, time
        from pathlib import Path
        import facts
        from heldout import host
        from heldout.store.journal import Journal
        began = time.time() - int(sys.argv[2])
        process = host.process() if sys.argv[3] == "True" else {}
        path = Path(sys.argv[1]) / "r" / "journal.jsonl"
        journal = Journal(path)
        journal.append([
            facts.run(time=began, host=host.name(), pid=os.getpid(), process=process),
            *(facts.Sample(step=i, time=began, values={}) for i in (1, 2, 3)),
        ])
        os.utime(path, (began, began))
        print("ready", flush=True)
        time.sleep(600)
    """)
    paths = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", script, str(folder), str(seconds_ago), str(known)]
    process = subprocess.Popen(command, env=paths, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.wait()
    process.stdout.close()
    return folder


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    return kill(tmp_path, 120, known=False)


def heldout(*args: object) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HELDOUT_")}
    command = [sys.executable, "-m", "heldout", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_the_first_look_at_a_trainer_killed_just_now_says_so_and_writes_nothing(
    tmp_path: Path,
) -> None:
    run_folder = kill(tmp_path, 0, known=True) / "r"
    for command in ("report", "judge"):
        done = heldout(command, run_folder)
        assert done.returncode == 2, done.stderr
        assert "r: died at step 3 of 100" in done.stdout
        assert "Resume the training. Interrupted at step 3 of 100 (process" in done.stdout
        assert "is gone, and it never said that it ended" in done.stdout
        assert [each.name for each in run_folder.iterdir()] == ["journal.jsonl"]
    assert heldout("watch", run_folder, "--once").returncode == 2


def test_a_look_by_cron_at_a_killed_trainer_fails_and_the_report_tells_why(killed: Path) -> None:
    done = heldout("guard", killed, "--once")
    assert done.returncode == 2, done.stderr
    assert "r: died, the training died at step 3" in done.stdout
    assert "then start it again" in done.stdout
    told = heldout("report", killed / "r")
    assert told.returncode == 2, told.stderr
    assert "r: died at step 3" in told.stdout
    assert "ERROR the training died at step 3" in told.stdout
    again = heldout("guard", killed, "--once")
    assert again.returncode == 2, "it is still dead"


def test_a_guard_that_stays_prints_each_change_until_it_is_interrupted(killed: Path) -> None:
    command = [sys.executable, "-u", "-m", "heldout", "guard", str(killed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert line.startswith("r: open: the training died at step 3: process ")
    assert "then start it again" in line


def test_a_look_at_living_and_ended_trainers_is_quiet(tmp_path: Path) -> None:
    assert heldout("guard", tmp_path, "--once").returncode == 0
    missing = heldout("guard", tmp_path / "none", "--once")
    assert (missing.returncode, "no such folder" in missing.stderr) == (3, True)


def test_records_of_the_sidecar_are_read_only_as_what_they_are(
    tmp_path: Path, clock: Clock
) -> None:
    trainer = Trainer(tmp_path / "r", clock)
    end = trainer.path.stat().st_size
    assert standing(trainer.path, end) == []
    strange = Verdict(
        step=1, time=1.0, rule="x", state="open", level="error", message="", action=""
    )
    run = Run(id="x", time=1.0, model="m", total_steps=1)
    journal = Journal(trainer.folder / FILE_NAME)
    journal.append([strange, run, facts.note(1, "seen", "no number")])
    journal.close()
    assert standing(trainer.path, end) == []
    assert states(watcher(tmp_path, clock)[0]) == []


@pytest.mark.parametrize("meant", ["r", "r/journal.jsonl", ""], ids=["run", "journal", "folder"])
@pytest.mark.parametrize("form", [[], ["--plain"]], ids=["frame", "lines"])
def test_one_look_at_a_run_that_died_unseen_says_so(
    killed: Path, meant: str, form: list[str]
) -> None:
    done = heldout("watch", killed / meant, "--once", *form)
    assert done.returncode == 2, done.stderr
    assert "the training died at step 3" in done.stdout
    assert "running" not in done.stdout
