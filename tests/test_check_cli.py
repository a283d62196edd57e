"""`heldout check`, run as users run it."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import yaml
from commands import Ran, heldout
from facts import strict_json

CONTRACT = {
    *("schema", "data", "held_out", "fields", "findings", "not_checked", "estimate", "examples"),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny.model().save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


def check(*arguments: object) -> Ran:
    return heldout("check", *arguments)


def sets(folder: Path, leaked: int = 0) -> tuple[Path, Path]:
    rows = tiny.rows(60)
    train = tiny.write_jsonl(folder / "train.jsonl", [*rows[:40], *rows[40 : 40 + leaked]])
    return train, tiny.write_jsonl(folder / "eval.jsonl", rows[40:])


def test_clean_data_is_ok_and_what_is_trained_is_marked_where_there_is_no_colour(
    tmp_path: Path, model: Path
) -> None:
    train, held_out = sets(tmp_path)
    done = check(train, "--eval", held_out, "--model", model)
    assert done.returncode == 0, done.stderr
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert lines[0] == f"OK  {train}"
    assert "What is trained: what stands between [[ and ]]; ↵ ends a line" in lines
    assert "  <|im_start|>assistant↵" in lines
    assert "  [[1<|im_end|>↵]]" in lines
    assert "\x1b" not in done.stdout


def test_errors_name_the_lines_and_the_remedy_and_exit_with_2(tmp_path: Path, model: Path) -> None:
    train, held_out = sets(tmp_path, leaked=4)
    done = check(train, "--eval", held_out, "--model", model)
    assert done.returncode == 2
    assert done.stdout.startswith("1 error")
    assert "ERROR data-leakage" in done.stdout
    assert "(lines 41, 42, 43, 44)" in done.stdout
    assert "line = held-out line: 41 = 1, 42 = 2, 43 = 3, 44 = 4" in done.stdout
    assert "-> Remove these training rows" in done.stdout


def test_json_keeps_its_contract_and_a_warning_exits_with_1(tmp_path: Path) -> None:
    train = tiny.write_jsonl(tmp_path / "t.jsonl", [*tiny.rows(40), *tiny.rows(5)])
    done = check(train, "--json")
    assert done.returncode == 1
    found = strict_json(done.stdout)
    assert set(found) == CONTRACT
    (finding,) = found["findings"]
    assert {"rule", "level", "message", "action", "evidence"} <= set(finding)
    assert finding["rule"] == "data-duplicates"
    assert found["data"]["found"]["duplicate"]["rows"] == [41, 42, 43, 44, 45]
    assert {each["rule"] for each in found["not_checked"]} >= {"data-masked", "data-no-end"}
    assert found["held_out"] is None


def test_the_fields_of_both_sets_are_listed_used_and_unused(tmp_path: Path) -> None:
    rows = [{**row, "context": "C", "id": i} for i, row in enumerate(tiny.rows(20))]
    train = tiny.write_jsonl(tmp_path / "t.jsonl", rows)
    held_out = tiny.write_jsonl(
        tmp_path / "e.jsonl", [{"prompt": "?", "response": "x", "lang": "en"}]
    )
    told = " ".join(check(train, "--eval", held_out).stdout.split())
    assert "made of messages, messages[].role, messages[].content" in told
    assert "not used context (20 rows), id (20 rows)" in told
    assert "made of prompt, response not used lang (1 rows)" in told
    done = check(train, "--eval", held_out, "--json")
    found = strict_json(done.stdout)
    assert {"name": "context", "rows": 20, "used": 0} in found["fields"]["train"]
    assert found["fields"]["held_out"] == [
        {"name": "prompt", "rows": 1, "used": 1},
        {"name": "response", "rows": 1, "used": 1},
        {"name": "lang", "rows": 1, "used": 0},
    ]
    (finding,) = found["findings"]
    assert (finding["rule"], finding["scope"], done.returncode) == ("data-fields", "train", 1)
    assert "are not used: context (20 rows)" in finding["message"]


def test_rows_of_one_text_are_refused_in_one_sentence_with_what_to_do(tmp_path: Path) -> None:
    train = tiny.write_jsonl(tmp_path / "t.jsonl", [{"text": f"Document {i}."} for i in range(9)])
    done = check(train)
    said = " ".join(done.stderr.split())
    assert done.returncode == 3
    assert said.count("does not say where the answer begins") == 1
    assert "t.jsonl:1 and 8 more rows: its 'text'" in said


def test_without_a_model_it_says_what_it_could_not_look_at(tmp_path: Path) -> None:
    train, held_out = sets(tmp_path)
    done = check(train, "--eval", held_out)
    assert done.returncode == 0
    assert done.stdout.startswith("OK (without the tokens: no model was looked at)")
    assert "no model is named (--model)" in done.stdout


def test_a_config_is_checked_with_its_run_and_changed_by_set_alone(
    tmp_path: Path, model: Path
) -> None:
    sets(tmp_path)
    sections = {
        "model": {"name": str(model)},
        "data": {"train": "train.jsonl"},
        "eval": {"data": "eval.jsonl", "every": 2},
        "train": {"steps": 4},
        "output": {"runs": str(tmp_path / "runs")},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(sections))
    done = check(path, "--set", "train.max_length=8", "--json")
    found = strict_json(done.stdout)
    assert done.returncode == 2
    assert {each["rule"] for each in found["findings"]} == {"data-masked", "data-too-long"}
    assert found["estimate"]["evaluations"] == 3
    assert found["estimate"]["checkpoints"] == 2
    assert not (tmp_path / "runs").exists()
    done = check(path, "--max-length", "16")
    assert done.returncode == 3
    assert "change it by --set train.max_length=..." in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/nowhere.jsonl"], "/nowhere.jsonl: cannot be read"),
        (["/nowhere.yaml"], "/nowhere.yaml: cannot be read"),
        (["TRAIN", "--model", "/nowhere"], "model.name '/nowhere' cannot be loaded"),
        (["TRAIN", "--eval", "/nowhere.jsonl"], "/nowhere.jsonl: cannot be read"),
    ],
)
def test_what_cannot_be_read_is_one_message_and_exit_code_3(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    train, _ = sets(tmp_path)
    done = check(*[str(train) if each == "TRAIN" else each for each in arguments])
    assert done.returncode == 3
    assert message in done.stderr
    assert "Traceback" not in done.stderr
