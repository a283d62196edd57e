"""The command line, run as users run it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from facts import checkpoint, evaluation, note, run, sample, score

from heldout.records import AnyRecord
from heldout.store.journal import Journal
from heldout.verdicts.judge import Judge

HEALTHY = [
    run(),
    *evaluation(0, score(10)),
    sample(1),
    *evaluation(10, score(80)),
    checkpoint(10),
    note(10, "finished"),
]
POISONED = [run(), *evaluation(0, score(10)), sample(1), sample(2, float("nan"))]


def heldout(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "heldout", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def recorded(folder: Path, facts: list[AnyRecord]) -> Path:
    """A run folder whose journal holds facts and what the judge says to them."""
    journal, judge = Journal(folder / "journal.jsonl"), Judge()
    for fact in facts:
        journal.append([fact, *judge.feed(fact)])
    journal.close()
    return folder


def test_report_prints_the_verdict_with_n_and_interval(tmp_path: Path) -> None:
    done = heldout("report", recorded(tmp_path / "r", HEALTHY))
    assert done.returncode == 0
    assert "r: finished at step 10 of 100" in done.stdout
    assert "EM 80.0% [71.1%, 86.7%] of 100, improving (+70.0%" in done.stdout
    assert "was 10.0%" in done.stdout
    assert "best checkpoint-10" in done.stdout
    assert "-> Done. Use checkpoint-10." in done.stdout


def test_report_json_keeps_its_contract(tmp_path: Path) -> None:
    done = heldout("report", "--json", recorded(tmp_path / "r", POISONED))

    def strict(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    found = json.loads(done.stdout, parse_constant=strict)
    contract = {"schema", "run", "metrics", "alerts", "decision", "advice", "not_checked"}
    assert set(found) == contract
    assert {"action", "checkpoint", "tied", "reason"} == set(found["decision"])
    alert = found["alerts"][0]
    assert {"rule", "level", "state", "step", "message", "action", "evidence"} <= set(alert)
    assert found["metrics"]["loss/step"]["value"] == "NaN"
    assert {"rule", "reason"} == set(found["not_checked"][0])
    assert done.returncode == 2


@pytest.mark.parametrize("command", [["report"], ["report", "--json"]])
def test_what_cannot_be_read_is_exit_code_3_and_one_message(
    tmp_path: Path, command: list[str]
) -> None:
    done = heldout(*command, tmp_path / "nothing")
    assert done.returncode == 3
    assert "no journal.jsonl here" in done.stderr
    assert "Traceback" not in done.stderr


def test_report_of_a_folder_of_runs_is_of_the_latest(tmp_path: Path) -> None:
    recorded(tmp_path / "old", POISONED)
    recorded(tmp_path / "new", HEALTHY)
    assert "step 10 of 100" in heldout("report", tmp_path).stdout


def test_hostile_names_are_text(tmp_path: Path) -> None:
    facts = [run(id="[red]x[/]\x1b[31m"), *HEALTHY[1:]]
    done = heldout("report", recorded(tmp_path / "r", facts))
    assert "[red]x[/]" in done.stdout
    assert "\x1b" not in done.stdout


def test_unknown_keys_name_the_nearest(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("modle: {name: x}\ntrain: {stepz: 3}\n")
    done = heldout("train", config)
    assert done.returncode == 3
    assert "unknown key 'modle.name'. Did you mean model.name" in done.stderr
    assert "unknown key 'train.stepz'. Did you mean train.steps" in done.stderr
    assert "data.train is missing" in done.stderr


def test_settings_lists_every_key() -> None:
    done = heldout("settings")
    assert done.returncode == 0
    assert "eval.every" in done.stdout
    assert "(required)" in done.stdout


def test_a_busy_port_is_said_plainly(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = heldout("ui", tmp_path, "--no-browser", "--port", port)
    assert done.returncode == 3
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr
