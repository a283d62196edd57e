"""TensorBoard's and W&B's files, written by their own libraries."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heldout.derive.history import History
from heldout.errors import DataError
from heldout.records import AnyRecord, Note, Run, Sample
from heldout.store.foreign import open_any

ARGUMENTS = {
    "learning_rate": 1e-3,
    "warmup_steps": 2,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "lr_scheduler_type": "cosine",
    "max_steps": 30,
    "fp16": False,
    "_name_or_path": "org/model",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 1000,
}


def of(records: list[AnyRecord], kind: type) -> list[Any]:
    return [record for record in records if isinstance(record, kind)]


def said(records: list[AnyRecord]) -> list[str]:
    return [note.text for note in of(records, Note) if note.topic == "data"]


def loss(step: int) -> float:
    return math.nan if step == 7 else 2.0 / step


# TensorBoard


def events(folder: Path, steps: range, tag: str = "train/loss", start: float = 1e9) -> Path:
    """Event files as the Trainer's callback writes them, a second a step."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        writer.add_text("args", json.dumps(ARGUMENTS))
        for step in steps:
            writer.add_scalar(tag, loss(step), step, walltime=start + step)
            writer.add_scalar("train/learning_rate", 1e-3, step, walltime=start + step)
            if step % 5 == 0:
                writer.add_scalar("eval/loss", 3.0 / step, step, walltime=start + step + 0.5)
        writer.add_histogram("weights", np.array([1.0, 2.0]), 1)
    return folder


def test_tensorboards_scalars_become_samples_with_their_wall_times(tmp_path: Path) -> None:
    folder = events(tmp_path / "runs" / "one", range(1, 21))
    records = open_any(folder)
    (run,) = of(records, Run)
    assert (run.id, run.source, run.total_steps, run.model) == (
        "one",
        "tensorboard",
        30,
        "org/model",
    )
    assert run.learning_rate == "cosine"
    assert run.training["warmup_steps"] == 2
    assert run.training["vocabulary"] == 1000
    assert run.training["train_batch_size"] == 4
    samples = of(records, Sample)
    assert [each.step for each in samples] == list(range(1, 21))
    assert samples[3].time == pytest.approx(1e9 + 4)
    assert samples[4].values == pytest.approx(
        {
            "loss/logged": loss(5),
            "learning_rate": 1e-3,
            "learning_rate/logged": 1e-3,
            "loss/trainer_eval": 3 / 5,
        },
        rel=1e-6,
    )
    assert math.isnan(samples[6].values["loss/logged"])
    assert said(records) == []
    (file,) = folder.glob("*tfevents*")
    assert [each.values for each in of(open_any(file), Sample)][:6] == [
        each.values for each in samples[:6]
    ]


def test_several_event_files_of_a_folder_are_one_run_that_resumed(tmp_path: Path) -> None:
    events(tmp_path, range(1, 11), start=1e9)
    events(tmp_path, range(6, 13), start=1e9 + 100)
    samples = of(open_any(tmp_path), Sample)
    assert [each.step for each in samples] == list(range(1, 13))
    assert samples[5].time == pytest.approx(1e9 + 106)


def test_plain_tags_are_known_too(tmp_path: Path) -> None:
    (sample,) = of(open_any(events(tmp_path, range(1, 2), tag="loss")), Sample)
    assert sample.values["loss/logged"] == 2.0


def test_the_last_words_of_the_trainer_end_the_run(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        for step in (1, 2):
            writer.add_scalar("train/loss", 1.0, step)
        for name in ("train_runtime", "train_loss", "train_samples_per_second", "total_flos"):
            writer.add_scalar(f"train/{name}", 9.0, 2)
        writer.add_scalar("train/epoch", 1.0, 2)
    records = open_any(tmp_path)
    history = History.of(records)
    assert history.ended == "finished"
    assert records[0].environment["train_runtime"] == "9.0"
    assert set(history.columns.series) == {"loss/logged", "epoch"}


def test_of_several_runs_the_latest_is_read_and_the_others_are_named(tmp_path: Path) -> None:
    old, new = events(tmp_path / "zzz", range(1, 4)), events(tmp_path / "aaa", range(1, 5))
    (hidden,) = old.glob("*tfevents*")
    hidden.rename(old / "events.out.tfevents.1000.host.1.0")
    events(new / "1234.5", range(1, 2))  # hyperparameters, in a folder below the run's own
    records = open_any(tmp_path)
    assert records[0].id == "aaa"
    assert [each.step for each in of(records, Sample)] == [1, 2, 3, 4]
    assert said(records) == [f"{tmp_path.name} holds 2 runs; aaa is the latest, not zzz"]


def test_folders_of_training_and_validation_are_one_run(tmp_path: Path) -> None:
    events(tmp_path / "train", range(1, 4), tag="epoch_loss")
    events(tmp_path / "validation", range(1, 4), tag="epoch_loss")
    values = of(open_any(tmp_path), Sample)[0].values
    assert values["loss/logged"] == values["loss/trainer_eval"] == 2.0


def test_an_output_folder_tells_most_through_the_trainers_own_state(tmp_path: Path) -> None:
    events(tmp_path / "runs" / "Nov23_10-00-00_host", range(1, 4))
    assert open_any(tmp_path)[0].source == "tensorboard"
    state = {"global_step": 1, "log_history": [{"step": 1, "loss": 1.0}]}
    (tmp_path / "checkpoint-1").mkdir()
    (tmp_path / "checkpoint-1" / "trainer_state.json").write_text(json.dumps(state))
    assert open_any(tmp_path)[0].source == "trainer_state"


@pytest.mark.parametrize("cut", [1, 20, 300, -1])
def test_a_torn_event_file_gives_what_is_whole_and_says_so(tmp_path: Path, cut: int) -> None:
    (file,) = events(tmp_path, range(1, 21)).glob("*tfevents*")
    data = file.read_bytes()
    end = cut if cut > 300 or cut < 0 else len(data) - cut
    file.write_bytes(data[:end])
    records = open_any(file)
    assert of(records, Sample)
    assert f"of {len(data[:end]):,}" in said(records)[0]


def test_damage_inside_an_event_file_ends_its_reading_there(tmp_path: Path) -> None:
    (file,) = events(tmp_path, range(1, 21)).glob("*tfevents*")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)
    records = open_any(file)
    assert 1 < len(of(records, Sample)) < 20
    assert "stops making sense at byte" in said(records)[0]


@pytest.mark.parametrize("content", [b"", b"no events here, only words"])
def test_an_event_file_without_scalars_is_one_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "events.out.tfevents.1.host"
    file.write_bytes(content)
    with pytest.raises(DataError, match="no scalar in events"):
        open_any(file)


# W&B


WRITE = """
import math, sys, wandb
settings = wandb.Settings(
    console="off", silent=True, x_disable_stats=True, x_disable_meta=True, x_disable_machine_info=True,
    disable_git=True, disable_code=True, root_dir=sys.argv[1],
)
run = wandb.init(
    mode="offline", project="p", name="my run", dir=sys.argv[1], config=CONFIG, settings=settings
)
for step in range(1, STEPS + 1):
    loss = math.nan if step == 7 else 2.0 / step
    run.log({"train/loss": loss, "train/learning_rate": 1e-3, "train/global_step": 10 * step, **MORE})
    if step % 5 == 0:
        run.log({"eval/loss": 3.0 / step, "train/global_step": 10 * step})
run.finish(exit_code=CODE)
"""


def offline(
    folder: Path, steps: int = 20, code: int = 0, more: str = "{'n': {'a': 1.5}, 'text': 'x'}"
) -> Path:
    """A real offline run, in a process of its own; returns its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    script = f"CONFIG = {ARGUMENTS!r}\nSTEPS = {steps}\nCODE = {code}\nMORE = {more}\n{WRITE}"
    home = {"HOME": str(folder), "WANDB_MODE": "offline", "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", script, str(folder)]
    done = subprocess.run(command, check=False, env=home, cwd=folder, capture_output=True)
    assert done.returncode in (0, code), done.stderr.decode()
    return sorted((folder / "wandb").glob("offline-run-*"))[-1]


@pytest.fixture(scope="module")
def wandb_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return offline(tmp_path_factory.mktemp("wandb"))


def test_a_wandb_run_is_read_from_its_folder_or_file(wandb_run: Path) -> None:
    (file,) = wandb_run.glob("*.wandb")
    records = open_any(wandb_run)
    assert records == open_any(file)
    (run,) = of(records, Run)
    assert (run.id, run.source, run.total_steps, run.model) == ("my run", "wandb", 30, "org/model")
    assert run.learning_rate == "cosine"
    assert run.training["gradient_accumulation_steps"] == 2
    samples = of(records, Sample)
    assert [each.step for each in samples] == list(range(10, 201, 10))
    assert samples[4].values == {
        "loss/logged": loss(5),
        "learning_rate": 1e-3,
        "learning_rate/logged": 1e-3,
        "loss/trainer_eval": 3 / 5,
        "n_a": 1.5,
    }
    assert math.isnan(samples[6].values["loss/logged"])
    assert samples[0].time > 1.7e9
    assert [each.time for each in samples] == sorted(each.time for each in samples)
    assert said(records) == [
        "'text' holds no number 20 times (first in record 7: 'x'); left out",
    ]
    assert History.of(records).ended == "finished"


def test_the_latest_of_several_wandb_runs_is_read(tmp_path: Path) -> None:
    first = offline(tmp_path, steps=3)
    first.rename(first.with_name("offline-run-20200101_000000-old"))
    offline(tmp_path, steps=5, code=3)
    records = open_any(tmp_path / "wandb")
    assert len(of(records, Sample)) == 5
    assert "wandb holds 2 runs" in said(records)[0]
    history = History.of(records)
    assert history.ended == "failed"
    assert history.notes[-1].text == "W&B's exit code is 3"


def test_records_that_span_blocks_are_put_together(tmp_path: Path) -> None:
    more = {f"metric_{i}": i + 1 / 8 for i in range(2000)}
    records = open_any(offline(tmp_path, steps=4, more=repr(more)))
    samples = of(records, Sample)
    assert len(samples) == 4
    assert samples[2].values["metric_1999"] == 1999 + 1 / 8


def test_a_wandb_file_cut_anywhere_gives_a_prefix(wandb_run: Path, tmp_path: Path) -> None:
    (file,) = wandb_run.glob("*.wandb")
    data = file.read_bytes()
    whole = of(open_any(file), Sample)
    torn = tmp_path / "run-x.wandb"
    counts = set()
    for cut in range(4, len(data), 101):
        torn.write_bytes(data[:cut])
        try:
            records = open_any(torn)
        except DataError as error:
            counts.add(0)
            said_so = "no logged number" in str(error)
        else:
            found = of(records, Sample)
            counts.add(len(found))
            assert [each.step for each in found] == [each.step for each in whole[: len(found)]]
            said_so = True
        assert said_so
    assert {0, 1, 10, 20} <= counts


def test_damage_inside_a_wandb_file_ends_its_reading_there(wandb_run: Path, tmp_path: Path) -> None:
    (file,) = wandb_run.glob("*.wandb")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    torn = tmp_path / "run-x.wandb"
    torn.write_bytes(data)
    records = open_any(torn)
    assert 1 < len(of(records, Sample)) < 20
    assert "stops making sense at byte" in said(records)[0]


# Without their packages


@pytest.mark.parametrize("package", ["tensorboard", "wandb"])
def test_without_the_package_the_error_says_what_to_install(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    names = {"tensorboard": "events.out.tfevents.1.h", "wandb": "run-x.wandb"}
    file = tmp_path / names[package]
    file.write_bytes(b":W&B\xe1\xbe\x00")
    with pytest.raises(DataError) as caught:
        open_any(file)
    assert "pip install 'heldout[logs]'" in str(caught.value)
    assert package in str(caught.value)
