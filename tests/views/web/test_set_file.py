"""What leaves a fixed set's file, and the pages of examples the server makes of it."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from recorded_run import run_record, write
from recorded_set import CAPITALS, records, write_capitals
from starlette.testclient import TestClient

from heldout.evals.overlap import digest
from heldout.records import EvalSet, Run
from heldout.views.web import set_file
from heldout.views.web.app import create_app
from heldout.views.web.examples import _shared
from heldout.views.web.set_file import SetFile


@pytest.fixture
def client(runs: Path) -> TestClient:
    write_capitals(runs)
    return TestClient(create_app(runs), base_url="http://localhost")


def ask(client: TestClient, query: str = "", run: str = "capitals") -> Any:
    answer = client.get(f"/api/runs/{run}/examples{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def on(path: str) -> Run:
    return msgspec.structs.replace(run_record(), eval_set=EvalSet(path=path, hash="h", n=1))


def test_a_file_gives_away_only_rows_whose_content_is_known_already(tmp_path: Path) -> None:
    secret = tmp_path / "secret.jsonl"
    secret.write_text('{"prompt": "the password?", "response": "hunter2"}\n')
    found = SetFile().texts(on(str(secret)), ["0" * 16], tmp_path)
    assert found.found == {}
    assert "hunter2" not in found.missing
    name = digest(
        [
            [
                {"role": "user", "content": "the password?"},
                {"role": "assistant", "content": "hunter2"},
            ],
            [],
        ]
    )
    assert SetFile().texts(on(str(secret)), [name], tmp_path).found[name].golden == "hunter2"


@pytest.mark.parametrize(
    "path", ["/dev/zero", "/etc", "/proc/self/environ", "a\x00b", "", "missing"]
)
def test_what_is_no_file_of_rows_is_no_set(tmp_path: Path, path: str) -> None:
    found = SetFile().texts(on(path), ["0" * 16], tmp_path)
    assert found.found == {}
    assert found.missing
    assert str(tmp_path) not in found.missing


def test_rows_given_in_memory_are_said_to_stand_in_no_file(tmp_path: Path) -> None:
    found = SetFile().texts(on(""), ["0" * 16], tmp_path)
    assert found.missing.startswith("the set was given in memory and stands in no file")


def test_a_small_file_that_unpacks_to_a_large_one_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_file, "MOST_BYTES", 1000)
    bomb = tmp_path / "bomb.jsonl.gz"
    bomb.write_bytes(gzip.compress(b"0" * 50_000))
    assert bomb.stat().st_size < 1000
    found = SetFile().texts(on(str(bomb)), ["0" * 16], tmp_path)
    assert found.missing == "the set's file cannot be read any more"


def test_a_pipe_in_the_files_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert SetFile().texts(on(str(tmp_path / "pipe")), ["0"], tmp_path).found == {}


def test_a_relative_path_is_found_beside_the_runs(runs: Path, client: TestClient) -> None:
    moved = records("beside", runs / "set.jsonl", CAPITALS)
    run = moved[0]
    assert isinstance(run, Run)
    assert run.eval_set is not None
    moved[0] = msgspec.structs.replace(
        run, eval_set=msgspec.structs.replace(run.eval_set, path="set.jsonl")
    )
    write(runs / "beside", moved)
    assert ask(client, run="beside")["missing"] == ""


def test_rows_are_filtered_sorted_and_cut_into_pages(client: TestClient) -> None:
    whole = ask(client)
    assert [row["line"] for row in whole["rows"]] == [1, 2, 3, 4, 5, 6]
    assert (whole["total"], whole["n"], whole["evals"]) == (6, 6, [0, 10, 20, 30, 40])
    assert whole["kinds"][0] == {"kind": "right", "about": "right at the latest evaluation", "n": 3}
    assert [r["line"] for r in ask(client, "?sort=-ce&limit=2")["rows"]] == [5, 4]
    assert [r["line"] for r in ask(client, "?sort=-changes")["rows"]][:1] == [5]
    assert [r["line"] for r in ask(client, "?offset=4&limit=100")["rows"]] == [5, 6]
    assert ask(client, "?text=TALL")["total"] == 1
    assert ask(client, "?pattern=coding&bin=100-300")["total"] == 1
    assert ask(client, "?pattern=nothing")["rows"] == []


def test_the_answer_is_split_where_it_leaves_the_golden_one(client: TestClient) -> None:
    rows = ask(client)["rows"]
    assert rows[0]["said"] == {"same": "Zagreb", "other": ""}
    assert rows[1]["said"] == {"same": "Lju", "other": "<b>else</b>"}


@pytest.mark.parametrize(
    ("golden", "said", "same"),
    [
        ("abc", "abd", 2),
        ("abc", "abc", 3),
        ("abc", "", 0),
        ("e\u0301a", "eb", 1),
        ("eb", "e\u0301b", 0),  # an accent belongs to its letter
        ("x" * 500 + "end", "…" + "x" * 30 + "z", 31),  # recorded without its beginning
        ("abc", "…zzz", 0),
        ("…abc", "…abd", 3),
    ],
)
def test_what_two_texts_share_ends_between_two_signs(golden: str, said: str, same: int) -> None:
    assert _shared(golden, said) == same


@pytest.mark.parametrize(
    "query",
    [
        "?kind=x",
        "?sort=x",
        "?offset=-1",
        "?offset=1e3",
        "?limit=x",
        "?offset=99999999999",
        "?limit=\u0663",
    ],
)
def test_a_query_that_means_nothing_is_refused(client: TestClient, query: str) -> None:
    assert client.get(f"/api/runs/capitals/examples{query}").status_code == 400


def test_a_page_is_never_larger_than_the_limit(runs: Path, client: TestClient) -> None:
    pairs = [(f"{i}?", "y" * 3000) for i in range(500)]
    write(runs / "many", records("many", runs.parent / "many.jsonl", pairs))
    found = ask(client, "?limit=100000", run="many")
    assert (len(found["rows"]), found["total"]) == (200, 500)
    assert all(len(row["golden"]) < 500 for row in found["rows"])


def test_one_example_comes_with_every_evaluation(client: TestClient) -> None:
    name = ask(client)["rows"][1]["id"]
    found = client.get(f"/api/runs/capitals/examples/{name}").json()
    assert [each["step"] for each in found["went"]] == [0, 10, 20, 30, 40]
    assert [each["correct"] for each in found["went"]] == [False, True, False, False, False]
    assert found["messages"] == [{"role": "user", "content": "What is the capital of Slovenia?"}]
    assert client.get("/api/runs/capitals/examples/nothing").status_code == 404


def test_a_comparison_names_its_runs_and_refuses_too_many(runs: Path, client: TestClient) -> None:
    write_capitals(runs, "again", went=lambda i, e: True)
    found = client.get("/api/compare?run=capitals&run=again&run=first").json()
    assert [side["id"] for side in found["runs"]] == ["capitals", "again", "first"]
    assert found["pairs"][0]["learned"] == 3
    assert found["pairs"][0]["says"] == "no difference shown"
    assert "different fixed sets" in found["pairs"][1]["reason"]
    seconds = found["runs"][0]["streaming"]["seconds"]
    assert seconds == sorted(seconds)
    assert client.get("/api/compare").status_code == 400
    many = "&".join(f"run=r{i}" for i in range(9))
    assert client.get(f"/api/compare?{many}").status_code == 400
    assert client.get("/api/compare?run=missing").status_code == 404
    assert client.get("/api/runs/capitals/examples?against=first").status_code == 400
    json.dumps(found, allow_nan=False)
