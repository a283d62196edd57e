"""status.json: the contract's fields, whole or not at all, at most once a second."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import numpy as np
import pytest
from facts import checkpoint, evaluation, history, run, sample, score, strict_json

from heldout.records import SCHEMA
from heldout.views.status import StatusFile, StatusWriter, write_atomic

CONTRACT = {
    "fixed_eval",
    "bucket_matrix",
    "lora_layer_deltas",
    "streaming_ce",
    "current_entropy",
    "throughput",
    "smart_alerts",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "status.json"


class Clock:
    """A clock that stands until it is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_file_holds_the_contract_and_where_the_run_is(path: Path) -> None:
    folded = history(
        run(total_steps=7), sample(1, math.nan), *evaluation(1, score(50)), checkpoint(1)
    )
    assert StatusFile(path).update(folded)
    status = strict_json(path.read_bytes())
    assert status.keys() >= CONTRACT
    assert (status["schema"], status["run"], status["state"]) == (SCHEMA, "r", "running")
    assert (status["step"], status["total_steps"]) == (1, 7)
    assert status["fixed_eval"]["best_ckpt"] == "checkpoint-1"


def test_a_status_before_the_first_record_is_whole(path: Path) -> None:
    assert StatusFile(path).update(history())
    assert strict_json(path.read_bytes())["run"] is None


def test_the_file_is_written_at_most_once_a_second(path: Path) -> None:
    clock = Clock()
    status = StatusFile(path, clock)
    written = []
    for now in (100.0, 100.5, 100.99, 101.0, 101.5, 102.1):
        clock.now = now
        written.append(status.update(history(sample(1))))
    assert written == [True, False, False, True, False, True]
    assert status.update(history(sample(2)), now=True)
    assert strict_json(path.read_bytes())["step"] == 2


def test_a_reader_never_meets_a_part_of_the_file(path: Path) -> None:
    texts = [bytes([letter]) * 200_000 for letter in b"abc"]
    write_atomic(path, texts[0])
    torn = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen = path.read_bytes()
            if seen not in texts:
                torn.append(len(seen))

    reader = threading.Thread(target=look)
    reader.start()
    for i in range(150):
        assert write_atomic(path, texts[i % 3])
    done.set()
    reader.join()
    assert torn == []


@pytest.mark.parametrize("method", ["replace", "write_bytes"])
def test_a_disk_that_refuses_leaves_the_old_file_and_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    assert write_atomic(path, b"old")

    def refuse(self: Path, *_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, method, refuse)
        assert not write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]
    assert write_atomic(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_folder_that_cannot_be_is_no_exception(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not write_atomic(tmp_path / "file" / "status.json", b"x")


def test_the_writer_takes_what_a_loop_of_ones_own_has(path: Path) -> None:
    writer = StatusWriter(path)
    writer.update_fixed_eval({"em": 0.8, "ce": 0.5, "ece": 0.1, "em_trend": "plateau"})
    writer.update_pattern_matrix({"rows": []})
    writer.update_lora_deltas([{"layer": 3, "qkv": 0.1, "mlp": None, "delta_norm": 0.1}])
    writer.update_streaming_metrics(0.78, 0.4)
    writer.update_throughput({"tokens_per_sec": 1000.0})
    writer.update_loss(0.8)
    status = strict_json(path.read_bytes())
    assert status.keys() >= CONTRACT
    assert status["schema"] == SCHEMA
    assert status["lora_layer_deltas"][0]["layer"] == 3
    assert (status["streaming_ce"], status["current_entropy"], status["loss"]) == (0.78, 0.4, 0.8)
    assert [alert["message"] for alert in status["smart_alerts"]] == [
        "EM plateau: diminishing returns"
    ]


def test_the_alerts_follow_each_update(path: Path) -> None:
    writer = StatusWriter(str(path))
    writer.update_streaming_metrics(math.nan, 0.4)
    status = strict_json(path.read_bytes())
    assert status["streaming_ce"] == "NaN"
    assert [alert["level"] for alert in status["smart_alerts"]] == ["critical"]
    writer.update_streaming_metrics(0.7, 0.4)
    assert strict_json(path.read_bytes())["smart_alerts"] == []


def test_only_a_model_surer_than_it_is_right_is_called_overconfident(path: Path) -> None:
    writer = StatusWriter(path)

    def alert(**gap: float) -> tuple[str, bool]:
        writer.update_fixed_eval({"ece_rise": True, **gap})
        (found,) = strict_json(path.read_bytes())["smart_alerts"]
        return found["level"], "overconfident" in found["message"]

    assert alert(confidence_gap=0.1) == ("warning", True)
    assert alert(confidence_gap=-0.1) == ("info", False)
    assert alert() == ("warning", False), "nobody said which way"


def test_the_writer_takes_numpy_numbers(path: Path) -> None:
    writer = StatusWriter(path)
    writer.update_streaming_metrics(np.float64(0.5), np.float32(0.25))  # type: ignore[arg-type]
    assert strict_json(path.read_bytes())["current_entropy"] == 0.25


def test_a_full_disk_is_not_raised_and_the_next_update_writes_everything(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *_: object) -> None:
        raise OSError(28, "No space left on device")

    writer = StatusWriter(path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", refuse)
        writer.update_loss(0.5)
    assert not path.exists()
    writer.update_throughput({"tokens_per_sec": 9.0})
    assert strict_json(path.read_bytes())["loss"] == 0.5
