"""Which weights are found, and what their fingerprints follow."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import tiny

from heldout.config import SETTINGS
from heldout.errors import ConfigError, ModelError
from heldout.train.checkpoints import (
    base_model,
    find_weights,
    fingerprint,
    other_tokenizers,
    run_of,
    saved_in,
    tokenizer_folder,
)


def folder(path: Path, base: str = "b", **files: str) -> Path:
    """A folder that looks like an adapter's."""
    path.mkdir(parents=True)
    config = json.dumps({"base_model_name_or_path": base})
    for name, text in {"adapter_config.json": config, **files}.items():
        (path / name).write_text(text)
    (path / "adapter_model.safetensors").write_text("x")
    return path


def settings(**changes: Any) -> dict[str, Any]:
    return {setting.name: setting.default for setting in SETTINGS} | {
        name.replace("_", ".", 1): value for name, value in changes.items()
    }


def test_checkpoints_come_in_step_order_and_not_in_that_of_their_names(tmp_path: Path) -> None:
    for step in (100, 20, 3):
        folder(tmp_path / f"checkpoint-{step}")
    (tmp_path / "checkpoint-final").mkdir()
    (tmp_path / "runs").mkdir()
    found = find_weights("m", checkpoints=tmp_path, base=True)
    assert [each.name for each in found] == [
        "base model",
        "checkpoint-3",
        "checkpoint-20",
        "checkpoint-100",
    ]
    assert [each.step for each in found] == [0, 3, 20, 100]
    assert {each.kind for each in found[1:]} == {"adapter"}
    assert all(each.stepped for each in found)


def test_a_run_is_found_by_its_folder_and_by_its_checkpoints(tmp_path: Path) -> None:
    inside = folder(tmp_path / "r" / "checkpoints" / "checkpoint-5")
    (tmp_path / "r" / "journal.jsonl").write_text("")
    assert saved_in(tmp_path / "r") == saved_in(tmp_path / "r" / "checkpoints") == [inside]
    assert run_of(tmp_path / "r", "journal.jsonl") == tmp_path / "r"
    assert run_of(tmp_path / "r" / "checkpoints", "journal.jsonl") == tmp_path / "r"
    assert run_of(inside, "journal.jsonl") is None


def test_adapters_of_other_names_keep_the_order_given_and_have_no_step(tmp_path: Path) -> None:
    given = [folder(tmp_path / "b"), folder(tmp_path / "a"), folder(tmp_path / "x" / "a")]
    found = find_weights("m", given)
    assert [each.name for each in found] == ["b", str(tmp_path / "a"), str(tmp_path / "x" / "a")]
    assert [each.step for each in found] == [1, 2, 3]
    assert not any(each.stepped for each in found)


def test_adapters_named_by_their_steps_are_put_in_step_order(tmp_path: Path) -> None:
    given = [folder(tmp_path / "a" / "checkpoint-9"), folder(tmp_path / "b" / "checkpoint-2")]
    assert [each.step for each in find_weights("m", given)] == [2, 9]
    twice = [*given, folder(tmp_path / "c" / "checkpoint-9")]
    assert [each.stepped for each in find_weights("m", twice)] == [False] * 3


def test_the_model_itself_is_scored_where_nothing_else_is_named(tmp_path: Path) -> None:
    (found,) = find_weights("org/model")
    assert (found.name, found.kind, found.stepped) == ("model", "model", False)
    (found,) = find_weights(str(tmp_path / "checkpoint-7"))
    assert (found.step, found.stepped) == (7, True)


def test_what_is_missing_or_does_not_go_together_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--model is missing"):
        find_weights(None)
    with pytest.raises(ConfigError, match="do not go together"):
        find_weights("m", [tmp_path], tmp_path)
    with pytest.raises(ModelError, match="no such folder"):
        find_weights("m", checkpoints=tmp_path / "no")
    with pytest.raises(ModelError, match=r"no checkpoint-N here\. Found: nothing"):
        find_weights("m", checkpoints=tmp_path)
    one = folder(tmp_path / "checkpoint-4")
    with pytest.raises(ModelError, match=f"It is itself one: --adapter {one}"):
        find_weights("m", checkpoints=one)


def test_the_problem_of_a_folder_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-1").mkdir()
    (tmp_path / "checkpoint-1" / "model.safetensors").write_text("x")
    (found,) = find_weights("m", checkpoints=tmp_path)
    assert "neither adapter_config.json nor config.json here" in found.problem
    assert "Found: model.safetensors" in found.problem
    half = folder(tmp_path / "half")
    (half / "adapter_model.safetensors").unlink()
    for path, message in (
        (tmp_path / "no", "no such folder"),
        (tmp_path / "checkpoint-1", "no adapter_config.json here. Found: model.safetensors"),
        (half, "no adapter_model.safetensors or adapter_model.bin here"),
    ):
        assert message in find_weights("m", [path])[0].problem


def test_the_base_model_is_the_one_all_adapters_name(tmp_path: Path) -> None:
    given = [folder(tmp_path / "a"), folder(tmp_path / "b")]
    assert base_model(find_weights(None, given)) == "b"
    assert base_model(find_weights(None, [folder(tmp_path / "n", base="")])) is None
    with pytest.raises(ConfigError, match=r"name different base models: 'b' by .*'c' by "):
        base_model(find_weights(None, [*given, folder(tmp_path / "c", base="c")]))


def test_the_first_tokenizer_counts_and_others_are_named(tmp_path: Path) -> None:
    same = {"tokenizer_config.json": "{}", "tokenizer.json": "1"}
    bare, first = folder(tmp_path / "0"), folder(tmp_path / "1", **same)
    second = folder(tmp_path / "2", **same)
    other = folder(tmp_path / "3", **same, **{"chat_template.jinja": "hello"})
    found = find_weights("m", [bare, first, second, other])
    assert tokenizer_folder(found) == str(first)
    assert other_tokenizers(found) == ["3"]
    assert tokenizer_folder(find_weights("m", [bare])) is None


def test_an_adapters_fingerprint_follows_its_bytes_and_its_base(tmp_path: Path) -> None:
    path = folder(tmp_path / "a")
    (weights,) = find_weights("m", [path])
    before = fingerprint(weights, settings(model_name="m"))
    os.utime(path / "adapter_model.safetensors", (1, 1))
    assert fingerprint(weights, settings(model_name="m")) == before
    assert fingerprint(weights, settings(model_name="n")) != before
    (path / "adapter_model.safetensors").write_text("y")
    assert fingerprint(weights, settings(model_name="m")) != before


def test_a_whole_models_fingerprint_follows_its_files(tmp_path: Path) -> None:
    tiny.config().save_pretrained(tmp_path / "checkpoint-1")
    (found,) = find_weights(None, checkpoints=tmp_path)
    assert found.kind == "checkpoint"
    before = fingerprint(found, settings())
    (tmp_path / "checkpoint-1" / "trainer_state.json").write_text("{}")
    assert fingerprint(found, settings()) == before
    (tmp_path / "checkpoint-1" / "model.safetensors").write_text("x")
    assert fingerprint(found, settings()) != before
