"""Another tool's log in a terminal: read again as it grows, told once."""

from __future__ import annotations

import io
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from test_watch import terminal, text

from heldout.errors import HeldoutError
from heldout.replay import as_recorded
from heldout.views.terminal import watch_log
from heldout.views.terminal.watch import RunView, once, plain
from heldout.views.terminal.watch_log import LogFollower


def state(folder: Path, losses: list[float], *, of: int = 100) -> Path:
    """An output folder of a Trainer with one checkpoint whose state tells these losses."""
    step = 10 * len(losses)
    rows = [{"step": 10 * i, "loss": loss} for i, loss in enumerate(losses, start=1)]
    content: dict[str, Any] = {"global_step": step, "max_steps": of, "log_history": rows}
    path = folder / f"checkpoint-{step}" / "trainer_state.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the files each time it is asked."""
    monkeypatch.setattr(watch_log, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(watch_log, "REST", 0.0)


def test_a_log_is_read_again_only_when_its_files_have_changed(tmp_path: Path) -> None:
    readings: list[Path] = []

    def read(path: Path) -> Any:
        readings.append(path)
        return as_recorded(path)

    state(tmp_path, [2.0, 1.5])
    follower = LogFollower(tmp_path, read)
    assert follower.advance()
    assert follower.history.step == 20
    assert not follower.advance()
    state(tmp_path, [2.0, 1.5, 1.2])
    assert follower.advance()
    assert follower.history.step == 30
    assert len(readings) == 2


def test_a_reading_that_took_long_is_not_repeated_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(watch_log, "REST", 5.0)
    monkeypatch.setattr(watch_log.time, "monotonic", lambda: clock[0])

    def read(path: Path) -> Any:
        clock[0] += 4.0
        return as_recorded(path)

    state(tmp_path, [2.0])
    follower = LogFollower(tmp_path, read)
    assert follower.advance()
    state(tmp_path, [2.0, 1.0])
    clock[0] += 19.0
    assert not follower.advance()
    clock[0] += 2.0
    assert follower.advance()


def test_the_frame_shows_the_log_and_a_half_written_file_hides_nothing(tmp_path: Path) -> None:
    path = state(tmp_path, [2.0, 1.5, 1.0])
    view = RunView(LogFollower(path, as_recorded))
    assert "reading the log" in text(view.draw(1.0, 80, 24))
    assert view.look()
    found = text(view.draw(1.0, 80, 24))
    assert "step 30 of 100" in found
    assert "q quit" in found
    assert "b runs" not in found
    path.write_text("")
    assert view.look()
    broken = text(view.draw(1.0, 300, 24))
    assert "step 30 of 100" in broken
    assert "cannot be read" in broken
    state(tmp_path, [2.0, 1.5, 1.0])
    assert view.look()
    assert "cannot be read" not in text(view.draw(1.0, 300, 24))


def test_one_frame_and_the_exit_code(tmp_path: Path) -> None:
    state(tmp_path / "good", [2.0, 1.5, 1.0])
    state(tmp_path / "bad", [2.0, 1.5, math.nan])
    file = io.StringIO()
    assert once(tmp_path / "good", Console(file=file, width=100), as_recorded) == 0
    assert "step 30 of 100" in file.getvalue()
    assert once(tmp_path / "bad", Console(file=file, width=100), as_recorded) == 2


def test_lines_are_told_once_although_the_log_is_read_from_its_begin(tmp_path: Path) -> None:
    state(tmp_path, [2.0, 1.5, 1.0])
    lines: list[str] = []
    later = iter([[2.0, 1.5, 1.0, math.nan], [2.0, 1.5, 1.0, math.nan, 1.0], None])

    def sleep(_: float) -> None:
        losses = next(later)
        if losses is None:
            raise KeyboardInterrupt
        state(tmp_path, losses)

    with pytest.raises(KeyboardInterrupt):
        plain(tmp_path, lines.append, as_recorded, sleep)
    assert len([line for line in lines if "NaN" in line or "not finite" in line]) >= 1
    assert len(set(lines)) == len(lines)
    assert sum("started" in line for line in lines) == 1


def csv(folder: Path) -> Path:
    path = folder / "log.csv"
    path.write_text("step,loss\n10,2.0\n20,1.5\n")
    return path


def folder(path: Path) -> Path:
    return state(path, [2.0, 1.5]).parent.parent


@pytest.mark.parametrize("made", [csv, folder, lambda path: state(path, [2.0, 1.5])])
def test_every_way_to_name_a_log_is_taken(tmp_path: Path, made: Callable[[Path], Path]) -> None:
    file = io.StringIO()
    once(made(tmp_path), Console(file=file, width=100), as_recorded)
    assert "step 20" in file.getvalue()


def test_where_there_is_nothing_to_read_it_says_what_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(HeldoutError, match=r"which holds notes\.txt"):
        once(tmp_path, Console(file=io.StringIO()), as_recorded)
    with pytest.raises(HeldoutError, match="no such file or folder"):
        plain(tmp_path / "none", print, as_recorded, None)


def test_the_live_view_follows_a_trainer_s_output_folder(tmp_path: Path) -> None:
    state(tmp_path, [2.0, 1.5])
    with terminal(tmp_path) as run:
        run.until("step 20 of 100")
        state(tmp_path, [2.0, 1.5, 1.2])
        os.utime(tmp_path / "checkpoint-30" / "trainer_state.json", (time.time(), time.time()))
        run.until("step 30 of 100")
        run.press("q")
        assert run.process.wait(30) == 0
        run.until("\x1b[?1049l")
