"""A run in a terminal: frames as text, lines for logs, and the real thing in a pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from recorded_run import STARTED, eval_records, recorded, run_record, sample, write
from rich.console import Console
from rich.text import Text

from heldout.derive.columns import Columns
from heldout.derive.history import History
from heldout.records import (
    AnyRecord,
    Checkpoint,
    Decision,
    Layers,
    Note,
    Verdict,
)
from heldout.replay import as_recorded
from heldout.views.follow import Follower
from heldout.views.terminal.ascii import in_ascii, register
from heldout.views.terminal.watch import ListView, RunView, once, plain
from heldout.views.terminal.watch_blocks import loss
from heldout.views.terminal.watch_curve import bar, curve, sparkline
from heldout.views.terminal.watch_frame import Shown, frame
from heldout.views.terminal.watch_list import Entry, runs_frame
from heldout.views.terminal.watch_screen import parse_keys

FRAMES = Path(__file__).parent / "frames"
CLOCK = STARTED + 75
NASTY = "\x1b[2J\x1b]0;owned\x07[red]x[/red]\u202eevil\u2066\r\n\x00\ud800 漢字"
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def shown(records: list[AnyRecord], name: str = "first") -> Shown:
    return Shown.of(name, History.of(records))


def text(lines: list[Text]) -> str:
    return "\n".join(line.plain.rstrip() for line in lines) + "\n"


def starting() -> list[AnyRecord]:
    return [run_record()]


def without_evaluation() -> list[AnyRecord]:
    note = "this model has no LoRA adapters"
    return [run_record(), sample(1), sample(2), Layers(step=0, time=STARTED, layers=[], note=note)]


def troubled() -> list[AnyRecord]:
    """The recorded run with nine alerts open and a run that died."""
    records = recorded()
    for i, level in enumerate(("info", "warning", "error", "critical") * 2):
        message = f"alert number {i}: " + "a long sentence about what happened " * (i % 3 + 1)
        verdict = Verdict(
            step=40 + i,
            time=STARTED + 40 + i,
            rule=f"rule-{i}",
            state="open",
            level=level,  # type: ignore[arg-type]
            message=message,
            action="Do this, and then that.",
        )
        records.append(verdict)
    died = Verdict(
        step=60,
        time=STARTED + 90,
        rule="trainer-silent",
        state="open",
        level="critical",
        message="the trainer's process is gone",
        action="Start it again.",
        evidence={"state": "died"},
    )
    return [*records, died]


CASES: dict[str, Callable[[], list[AnyRecord]]] = {
    "recorded": recorded,
    "starting": starting,
    "without-evaluation": without_evaluation,
    "troubled": troubled,
}
SIZES = [(80, 24), (120, 40)]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("case", CASES)
def test_a_frame_looks_as_recorded(case: str, size: tuple[int, int]) -> None:
    """After a wanted change: `python tests/views/terminal/record_frames.py`."""
    found = text(frame(shown(CASES[case]()), CLOCK, *size))
    assert found == (FRAMES / f"{case}-{size[0]}x{size[1]}.txt").read_text("utf-8")


@pytest.mark.parametrize("case", CASES)
def test_a_frame_fills_any_size_and_never_overflows_it(case: str) -> None:
    run, wrong = shown(CASES[case]()), []
    for width in (1, 20, 40, 60, 80, 100, 149, 150, 200, 300):
        for height in (1, 2, 5, 10, 24, 40, 60, 100):
            lines = frame(run, CLOCK, width, height)
            wide = max(line.cell_len for line in lines)
            if len(lines) != height or wide > width or any("\n" in line.plain for line in lines):
                wrong.append((width, height, len(lines), wide))
    assert wrong == []


def test_at_80_by_24_everything_that_matters_is_there() -> None:
    found = text(frame(shown(recorded()), CLOCK, 80, 24))
    for part in (
        *("STOP", "checkpoint-20", "The loss is not finite.", "'reasoning'", "step 60 of 80"),
        *("66.7% [54.1%, 77.3%] of 60", "0.900 [0.500, 2.500]", "0.080 [0.030, 0.150]"),
        *("CRITICAL", "→ Stop; check masking", "Streaming CE  0.4463 nats", "✕", "74% 27", "? 0/6"),
        *("layer 7", "layer 3", "904 tokens/s", "about 10 s left"),
    ):
        assert part in found


def test_what_there_is_no_room_for_is_counted() -> None:
    found = text(frame(shown(troubled()), CLOCK, 80, 24))
    told = len(re.findall("^(?:INFO|WARNING|ERROR|CRITICAL) ", found, re.MULTILINE))
    more = re.search(r"and (\d+) more", found)
    assert more is not None
    assert told + int(more[1]) == 10
    whole = text(frame(shown(troubled()), CLOCK, 80, None))
    assert len(re.findall("^(?:INFO|WARNING|ERROR|CRITICAL) ", whole, re.MULTILINE)) == 10


def test_a_silent_run_is_pointed_out() -> None:
    for size in SIZES:
        head = text(frame(shown(recorded()), STARTED + 660, *size))[:200]
        assert "running, silent 10 min" in head
        assert "left" not in head


def hostile() -> list[AnyRecord]:
    records: list[AnyRecord] = [run_record()]
    records += eval_records(20, 30)
    records += [
        Checkpoint(step=20, time=STARTED, path=NASTY),
        Verdict(
            step=20,
            time=STARTED,
            rule="r",
            state="open",
            level="error",
            message=NASTY,
            action=NASTY,
        ),
        Decision(
            step=20, time=STARTED, action="stop", checkpoint=NASTY, tied=[NASTY, "x"], reason=NASTY
        ),
        Note(step=20, time=STARTED, topic="failure", text=NASTY),
    ]
    return records


@pytest.mark.parametrize("size", [*SIZES, (200, 60), (40, 10)])
def test_hostile_text_is_only_text_in_a_frame(size: tuple[int, int]) -> None:
    lines = frame(shown(hostile(), NASTY), CLOCK, *size)
    assert not any(CONTROL.search(line.plain) for line in lines)
    assert max(line.cell_len for line in lines) <= size[0]
    if size[0] >= 80:
        assert "[red]x[/red]" in text(lines)


def test_hostile_text_is_only_text_in_the_list() -> None:
    entry = Entry.of(NASTY, History.of(hostile()))
    lines = runs_frame([entry], 0, CLOCK, 80, 24)
    assert not any(CONTROL.search(line.plain) for line in lines)


def test_hostile_text_is_only_text_in_a_log(tmp_path: Path) -> None:
    lines: list[str] = []
    plain(write(tmp_path / "run", hostile()).parent, lines.append, as_recorded, None)
    assert len(lines) == 5
    assert not any(CONTROL.search(line) for line in lines)


def kinds(lines: list[str]) -> list[str]:
    """What each line of a log is about: the word after its step."""
    found = [re.fullmatch(r"\S+Z  step +\d+  (\S+).*", line) for line in lines]
    return [match[1] for match in found if match]


def test_a_log_has_a_line_for_each_thing_that_happened(tmp_path: Path) -> None:
    lines: list[str] = []
    code = plain(write(tmp_path / "run", recorded()).parent, lines.append, as_recorded, None)
    assert code == 2
    assert kinds(lines) == ["started:", "EM", "EM", "EM", "CRITICAL", "decision:"]
    assert lines[1].startswith("2025-10-09T08:53:40Z  step     20  EM 43.3% [31.6%, 55.9%] of 60")


def test_a_log_goes_on_until_the_run_ends(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", [run_record(), sample(1)]).parent
    lines: list[str] = []
    later: list[list[AnyRecord]] = [
        eval_records(2, 30),
        [Note(step=2, time=STARTED + 3, topic="finished", text="")],
    ]
    code = plain(folder, lines.append, as_recorded, lambda _: write(folder, later.pop(0)) and None)
    assert code == 0
    assert later == []
    assert kinds(lines) == ["started:", "EM", "finished"]


def test_once_prints_the_whole_frame_and_returns_the_exit_code_of_the_report(
    tmp_path: Path,
) -> None:
    folder = write(tmp_path / "run", recorded()).parent
    with (tmp_path / "printed").open("w+", encoding="utf-8") as file:
        assert once(folder, Console(width=100, file=file), as_recorded) == 2
        file.seek(0)
        found = file.read()
    assert "STOP" in found
    assert "q quit" not in found


def test_a_view_reads_only_what_was_appended_and_a_long_journal_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = write(tmp_path / "run", recorded())
    monkeypatch.setattr("heldout.views.terminal.watch.PART_BYTES", 4096)
    view = RunView(Follower(journal))
    assert view.look()
    assert "reading the journal" in text(view.draw(CLOCK, 80, 24))
    while view.look():
        pass
    assert "step 60 of 80" in text(view.draw(CLOCK, 80, 24))
    write(tmp_path / "run", [sample(61)])
    assert view.look()
    assert "step 61 of 80" in text(view.draw(CLOCK, 80, 24))
    assert not view.look()


def test_a_journal_that_is_away_is_told_and_comes_back(tmp_path: Path) -> None:
    journal = write(tmp_path / "run", recorded())
    view = RunView(Follower(journal))
    view.look()
    journal.rename(tmp_path / "away")
    assert view.look()
    assert "cannot be read: No such file" in text(view.draw(CLOCK, 80, 24))
    (tmp_path / "away").rename(journal)
    assert view.look()
    assert "cannot be read" not in text(view.draw(CLOCK, 80, 24))


def test_the_list_names_every_run_and_keeps_the_choice(tmp_path: Path) -> None:
    write(tmp_path / "one", recorded("one"))
    write(tmp_path / "two", [run_record("two"), sample(1)])
    os.utime(tmp_path / "one" / "journal.jsonl", (1, 1))
    view = ListView(tmp_path)
    while view.look():
        pass
    found = text(view.draw(CLOCK, 80, 24))
    assert re.search(r"^▸ two +running +1 of 80", found, re.MULTILINE)
    assert re.search(r"^  one +running .*66.7% \[54.1%, 77.3%\] of 60.*1 open", found, re.MULTILINE)
    view.move(1)
    view.move(1)
    assert "▸ one" in text(view.draw(CLOCK, 80, 24))
    write(tmp_path / "three", [run_record("three"), sample(1)])
    view._listed = 0.0
    while view.look():
        pass
    assert "▸ one" in text(view.draw(CLOCK, 80, 24))
    assert [folder.name for folder in view.folders] == ["three", "two", "one"]


def test_a_folder_without_runs_shows_the_first_one_that_starts(tmp_path: Path) -> None:
    view = ListView(tmp_path)
    view.look()
    assert "holds no run" in text(view.draw(CLOCK, 80, 24))
    write(tmp_path / "first", recorded())
    while view.look():
        pass
    assert re.search("^▸ first", text(view.draw(CLOCK, 80, 24)), re.MULTILINE)


@pytest.mark.parametrize("size", [(20, 4), (40, 10), (80, 24), (200, 60)])
def test_the_list_shows_the_chosen_run_at_any_size(size: tuple[int, int]) -> None:
    history = History.of(recorded())
    entries = [Entry.of(f"run-{i}", history) for i in range(300)]
    for chosen in (0, 7, 299):
        lines = runs_frame(entries, chosen, CLOCK, *size)
        assert len(lines) == size[1]
        assert max(line.cell_len for line in lines) <= size[0]
        assert f"▸ run-{chosen}" in text(lines)


def test_a_single_spike_among_a_million_steps_is_drawn_and_a_nan_breaks_the_line() -> None:
    steps = np.arange(1, 1_000_001)
    values = np.ones(len(steps))
    values[700_000] = 9.0
    lines = curve(steps, values, steps[:0], 60, 8, "")
    assert lines[0].plain.strip().startswith("9")
    assert re.search("[⠀-⣿]", lines[0].plain[6:])
    values[:] = 1.0
    values[400_000:600_000] = np.nan
    found = text(curve(steps, values, steps[:0], 60, 8, ""))
    assert re.search("[⠀-⣿] {8,}[⠀-⣿]", found)


def test_every_mark_stands_at_its_step() -> None:
    steps = np.arange(1, 101)
    axis = curve(steps, np.ones(100), np.array([1, 50, 100]), 60, 8, "")[-1].plain
    line = axis.split(" ", 1)[1].strip().removeprefix("1 ").rsplit(" ", 1)[0]
    assert [i / (len(line) - 1) for i, c in enumerate(line) if c == "✕"] == pytest.approx(
        [0.0, 0.5, 1.0], abs=0.02
    )


@pytest.mark.parametrize(
    ("values", "drawn"),
    [([], ""), ([1.0], ""), ([0.0, 0.5, 1.0], "▁▅█"), ([2.0, 2.0], "▄▄"), ([0.0, np.nan], "▄✕")],
)
def test_a_trend_in_blocks(values: list[float], drawn: str) -> None:
    assert sparkline(values, 8) == drawn


@pytest.mark.parametrize("share", [np.nan, -1.0, 0.0, 0.3, 1.0, 7.0, np.inf])
def test_a_bar_is_never_longer_than_its_room(share: float) -> None:
    assert len(bar(share, 10)) <= 10
    assert bar(1.0, 10) == "█" * 10


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        ("q", ["q"]),
        ("jk", ["down", "up"]),
        ("\x1b[A\x1b[B\x1bOA", ["up", "down", "up"]),
        ("\r\n", ["enter", "enter"]),
        ("\x1b", ["b"]),
        ("\x1b[1;5C\x1b[3~b", ["b"]),
        ("\x03\x04", ["q", "q"]),
        ("é", ["é"]),
    ],
)
def test_keys_are_told_apart(sent: str, keys: list[str]) -> None:
    assert parse_keys(sent) == keys


class Terminal:
    """`heldout watch` in a pseudo-terminal, and what it wrote."""

    def __init__(self, process: subprocess.Popen[bytes], master: int, slave: int) -> None:
        self.process, self.master, self.slave = process, master, slave
        self.written = ""

    def until(self, wanted: str) -> str:
        """Read until `wanted` was written since the last call; returns what came."""
        found = ""
        deadline = time.monotonic() + 60
        while wanted not in found:
            assert time.monotonic() < deadline, f"no {wanted!r} in {found[-2000:]!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                with suppress(OSError):  # its other end is closed
                    found += os.read(self.master, 65536).decode("utf-8", "replace")
        self.written += found
        return found

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@contextmanager
def terminal(path: Path, **environment: str) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    process = None
    try:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-m", "heldout", "watch", str(path)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "xterm-256color", **environment},
            preexec_fn=lambda: (os.setsid(), fcntl.ioctl(0, termios.TIOCSCTTY, 0)),
        )
        yield Terminal(process, master, slave)
    finally:
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()
        os.close(master)
        os.close(slave)


@pytest.mark.parametrize("way", ["q", "ctrl-c", "ctrl-d", "SIGTERM", "SIGHUP"])
def test_it_draws_follows_resizes_and_leaves_the_terminal_as_it_was(
    tmp_path: Path, way: str
) -> None:
    folder = write(tmp_path / "first", recorded()).parent
    with terminal(folder) as run:
        before = termios.tcgetattr(run.slave)
        drawn = run.until("q quit")
        assert drawn.startswith("\x1b[?1049h\x1b[?25l")
        assert "STOP" in drawn
        write(folder, [sample(61)])
        assert "\x1b[2J" not in run.until("step 61 of 80")
        run.resize(120, 40)
        run.until("tiny-model")  # a taller frame has a line for the model
        run.until("\x1b[40;1H")
        assert termios.tcgetattr(run.slave) != before
        keys = {"q": "q", "ctrl-c": "\x03", "ctrl-d": "\x04"}
        if way in keys:
            run.press(keys[way])
        else:
            run.process.send_signal(signal.Signals[way])
        run.until("\x1b[?25h\x1b[?1049l")
        assert run.process.wait(30) == {"SIGTERM": 143, "SIGHUP": 129}.get(way, 0)
        assert termios.tcgetattr(run.slave) == before
        assert "Traceback" not in run.written


def test_a_terminal_that_goes_away_takes_it_along(tmp_path: Path) -> None:
    folder = write(tmp_path / "first", recorded()).parent
    with terminal(folder) as run:
        run.until("q quit")
        ends = os.open(os.devnull, os.O_RDWR)
        for end in (run.slave, run.master):
            os.dup2(ends, end)  # closes it; the number stays for the end of the test to close
        os.close(ends)
        assert run.process.wait(30) in (0, 129)


def test_a_terminal_without_utf_8_gets_signs_of_ascii(tmp_path: Path) -> None:
    folder = write(tmp_path / "first", recorded()).parent
    with terminal(folder, PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C") as run:
        run.until("q quit")
        run.press("q")
        assert run.process.wait(30) == 0
        run.until("\x1b[?1049l")
        assert run.written.isascii()
        for part in ("######..", "CRITICAL", "|dW|/|W0|", "layer 7"):
            assert part in run.written


def test_a_terminal_that_can_only_append_is_sent_to_plain(tmp_path: Path) -> None:
    folder = write(tmp_path / "first", recorded()).parent
    with terminal(folder, TERM="dumb") as run:
        run.until("heldout watch --plain")
        assert run.process.wait(30) == 3
        assert "\x1b" not in run.written


@pytest.mark.parametrize(
    ("sign", "shown"),
    [
        ("⠉", "'"),
        ("⣀", "."),
        ("⣿", ":"),
        ("⠀", " "),
        ("█", "#"),
        ("─", "-"),
        ("✕", "x"),
        ("漢", "?"),
    ],
)
def test_each_sign_has_one_of_ascii(sign: str, shown: str) -> None:
    assert in_ascii(sign) == shown
    assert sign.encode("ascii", register()) == shown.encode()


def test_every_sign_of_a_frame_has_one_of_ascii_that_is_no_question_mark() -> None:
    for case in CASES.values():
        for size in ((80, 24), (200, 60)):
            lines = frame(shown(case()), CLOCK, *size)
            signs = {sign for line in lines for sign in line.plain if not sign.isascii()}
            assert [sign for sign in signs if in_ascii(sign) == "?"] == []


def test_a_folder_opens_its_latest_run_and_another_can_be_chosen(tmp_path: Path) -> None:
    write(tmp_path / "old", recorded("old"))
    os.utime(tmp_path / "old" / "journal.jsonl", (1, 1))
    write(tmp_path / "new", [run_record("new"), sample(1)])
    with terminal(tmp_path, NO_COLOR="1") as run:
        run.until("step 1 of 80")
        run.press("b")
        run.until("66.7%")
        run.press("\x1b[B\r")
        run.until("The loss is not finite.")
        run.press("q")
        assert run.process.wait(30) == 0
        run.until("\x1b[?1049l")
        colours = re.findall(r"\x1b\[[0-9;]*3[0-7][0-9;]*m", run.written)
        assert colours == []


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--once"], 2, "The loss is not finite."),
        (["--once", "--plain"], 2, "decision: stop, use checkpoint-20"),
        ([], 3, "heldout watch --plain, or --once"),
    ],
)
def test_the_command_without_a_terminal(
    tmp_path: Path, options: list[str], code: int, said: str
) -> None:
    folder = write(tmp_path / "first", recorded()).parent
    done = subprocess.run(
        [sys.executable, "-m", "heldout", "watch", str(folder), *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "120"},
        check=False,
    )
    assert done.returncode == code
    assert said in done.stdout + done.stderr
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("at", [0, 1, 12_345, 100_000, 199_998, 199_999])
def test_a_long_run_s_frame_shows_its_one_spike_at_its_place(at: int) -> None:
    """The curve is drawn from stretches of the series, of which each keeps its extremes."""
    values = np.ones(200_000)
    values[at] = 50.0
    columns = Columns()
    for step, value in enumerate(values.tolist(), start=1):
        columns.add(step, {"loss/streaming": value})
    block = loss({"metrics": {}}, columns, "loss/step")
    heading_, top, *_ = block.draw(80, 10)
    assert "log scale" in heading_.plain
    gutter = top.plain.index("50 ") + 3
    drawn = [i for i, sign in enumerate(top.plain[gutter:]) if sign != " "]
    room = 80 - gutter - len(" 200,000")
    assert len(drawn) in (1, 2)
    assert abs(drawn[0] - at * (room * 2 - 1) // 199_999 // 2) <= 1
