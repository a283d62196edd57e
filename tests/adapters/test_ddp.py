from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import socket
import sys
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import ddp_run
import pytest
import tiny
from peft import PeftModel

from heldout.derive.history import History
from heldout.evals.evaluate import FixedEvalSet
from heldout.store.journal import read

PROCESSES = multiprocessing.get_context("forkserver")
"""Each process of a run is forked off one that has imported everything, which takes longer than the run."""


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    PROCESSES.set_forkserver_preload(["ddp_run"])
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        forkserver.ensure_running()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """Losses and weights of the run without a monitor."""
    return run(tmp_path_factory.mktemp("ddp") / "alone", "alone")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[object]]:
    """The folder of a watched run, to look at only, and its losses and weights."""
    folder = tmp_path_factory.mktemp("ddp") / "watched"
    return folder, run(folder, "watched")


def run(folder: Path, how: str) -> list[object]:
    folder.mkdir(exist_ok=True)
    tiny.write_jsonl(folder / "fixed_eval.jsonl", tiny.rows(33)[10:])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    processes = [
        PROCESSES.Process(target=ddp_run.begin, args=(rank, port, folder, how)) for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
        process.kill()
    for rank, process in enumerate(processes):
        assert process.exitcode == 0, (folder / f"said{rank}").read_text()
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]


def history(folder: Path) -> History:
    return History.of(read(folder / "runs" / "r" / "journal.jsonl")[0])


def test_two_processes_share_the_evaluation_and_the_training_is_the_same(
    watched: tuple[Path, list[object]], alone: list[object]
) -> None:
    folder, trained = watched
    assert trained == alone
    found = history(folder)
    assert found.ended == "finished"
    assert [result.step for result in found.evals] == [0, 2, 4]
    assert [saved.step for saved in found.checkpoints] == [2, 4]
    assert len(found.columns.get("loss/step")) == 4
    assert not [note for note in found.notes if note.topic == "failure"]
    for result in found.evals[1:]:
        assert_equals_one_process(folder, found, result)
    assert (found.evals[0].rechecked, found.evals[0].mismatched) == (23, [])


def assert_equals_one_process(folder: Path, found: History, result: Any) -> None:
    adapter = folder / "out" / f"checkpoint-{result.step}"
    model = PeftModel.from_pretrained(tiny.model(), adapter)
    whole = FixedEvalSet(folder / "fixed_eval.jsonl", tiny.tokenizer())
    expected = whole.evaluate(model, result.step)
    assert (result.correct, result.n, result.tokens) == (
        expected["correct"],
        expected["n"],
        expected["tokens"],
    )
    assert result.ce == pytest.approx(expected["ce"], abs=1e-4)
    assert result.ece == pytest.approx(expected["ece"], abs=1e-4)
    by_id = {item["id"]: item for item in expected["items"]}
    for item in found.items[result.step]:
        assert item.ce == pytest.approx(by_id[item.id]["ce"], abs=1e-4)
        assert item.divergence == by_id[item.id]["divergence"]


@pytest.mark.parametrize(
    ("how", "evaluated"),
    [
        ("busy", None),
        ("broken", []),
        ("gone", [0]),
        ("late", [0, 2, 4]),
        ("away", [0]),
        ("short", [0, 2, 4]),
    ],
)
def test_what_fails_in_one_process_neither_stops_nor_changes_the_training(
    tmp_path: Path, alone: list[object], how: str, evaluated: list[int] | None
) -> None:
    assert run(tmp_path / how, how) == alone
    if evaluated is None:
        return  # the journal belongs to somebody else
    found = history(tmp_path / how)
    assert [result.step for result in found.evals] == evaluated
    failures = [note.text for note in found.notes if note.topic == "failure"]
    if how == "broken":
        assert "process 1: ZeroDivisionError" in failures[0]
    if how == "away":
        assert any(
            "a process left: counts and losses are the main process's" in x for x in failures
        )
        assert len(found.columns.get("loss/step")) == 4
    if how == "short":
        assert not failures
        assert any("memory ran out" in note.text for note in found.notes)


@pytest.mark.parametrize(
    ("how", "micro_batches"),
    [("watched", 1), ("together", 1), ("together logged", 1), ("accumulated", 2)],
)
def test_losses_and_tokens_are_those_of_all_label_tokens_of_all_processes(
    tmp_path: Path, watched: tuple[Path, list[object]], how: str, micro_batches: int
) -> None:
    folder = watched[0] if how == "watched" else tmp_path / how
    if how != "watched":
        run(folder, how)
    found = history(folder)
    heard = [json.loads((folder / f"direct{rank}.json").read_text()) for rank in (0, 1)]
    assert [len(each) for each in heard] == [4 * micro_batches] * 2
    for step in range(4):
        parts = [p for each in heard for p in each[step * micro_batches :][:micro_batches]]
        loss, labels, tokens = (sum(part[i] for part in parts) for i in range(3))
        assert found.columns.get("loss/step").values[step] == pytest.approx(loss / labels, rel=1e-5)
        assert found.columns.get("throughput/label_tokens").values[step] == labels
        assert found.columns.get("throughput/tokens_per_step").values[step] == tokens
    assert list(found.columns.get("loss/step").steps) == [1, 2, 3, 4]


@pytest.mark.parametrize(("how", "stopped"), [("resumed", False), ("resumed busy", True)])
def test_a_resumed_run_goes_on_also_where_one_process_cannot_watch(
    tmp_path: Path, watched: tuple[Path, list[object]], how: str, stopped: bool
) -> None:
    shutil.copytree(watched[0], tmp_path / "run")
    run(tmp_path / "run", how)
    found = history(tmp_path / "run")
    assert len(found.columns.get("loss/step")) == (4 if stopped else 6)


def test_a_decision_stops_all_processes_at_the_same_step(tmp_path: Path) -> None:
    ranks = [each[2] for each in run(tmp_path / "stops", "stops")]  # type: ignore[index]
    found = history(tmp_path / "stops")
    (said,) = [note for note in found.notes if note.topic == "stop"]
    assert ranks == [said.step + 1] * 2, "one step later: the step's sums tell the others"
    assert (found.ended, found.step) == ("finished", ranks[0])
    assert found.evals[-1].step == found.step < 12
