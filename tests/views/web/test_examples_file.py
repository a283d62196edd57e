"""The examples as a file: all that fit the filters, with whole texts, safe in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from recorded_run import write
from recorded_set import PAYLOADS, STEPS, as_told, records, write_capitals
from starlette.testclient import TestClient

from heldout.views.web.app import create_app


def saved(root: Path, run: str, kind: str, query: str = "") -> Any:
    client = TestClient(create_app(root), base_url="http://localhost")
    answer = client.get(f"/api/runs/{run}/examples.{kind}?{query}")
    assert answer.status_code == 200, answer.text
    disposition = answer.headers["content-disposition"]
    assert disposition.startswith(f'attachment; filename="{run}-examples.{kind}"')
    return answer.json() if kind == "json" else list(csv.DictReader(io.StringIO(answer.text)))


def test_every_row_that_fits_is_saved_in_the_order_asked_for(tmp_path: Path) -> None:
    write_capitals(tmp_path / "runs")
    found = saved(tmp_path / "runs", "capitals", "json")
    assert [row["line"] for row in found] == [1, 2, 3, 4, 5, 6]
    assert found[1]["prompt"] == "What is the capital of Slovenia?"
    assert (found[1]["golden"], found[1]["model"]) == ("Ljubljana", "Lju<b>else</b>")
    assert [found[1][f"step {step}"] for step in STEPS] == [0, 1, 0, 0, 0]
    assert found[2]["model"] == "Belgrade"  # right token by token: the journal holds no text
    wrong = saved(tmp_path / "runs", "capitals", "csv", "kind=wrong&sort=-ce&limit=1&offset=2")
    assert [row["line"] for row in wrong] == ["5", "4", "2"]
    assert (wrong[0]["correct"], float(wrong[0]["ce"])) == ("0", 1.5 + 4)


def test_many_more_rows_than_a_page_holds_are_saved(tmp_path: Path) -> None:
    pairs = [(f"How is {i} spelled?", f"{i} " * 300) for i in range(1000)]
    write(tmp_path / "runs" / "many", records("many", tmp_path / "many.jsonl", pairs))
    found = saved(tmp_path / "runs", "many", "csv")
    assert len(found) == 1000
    assert found[999]["golden"] == "999 " * 300


def test_no_text_is_a_formula_in_a_spreadsheet_and_all_come_back(tmp_path: Path) -> None:
    formulas = ["=1+1", "+1", "-1", "@sum", "\tx"]
    pairs = [(f"{text} ?", f"{text}.") for text in (*formulas, *PAYLOADS)]
    write(tmp_path / "runs" / "odd", records("odd", tmp_path / "odd.jsonl", pairs))
    rows = saved(tmp_path / "runs", "odd", "csv")
    for row in rows[: len(formulas)]:
        assert row["prompt"].startswith("'")
    whole = saved(tmp_path / "runs", "odd", "json")
    assert [row["prompt"] for row in whole] == [prompt for prompt, _ in pairs]


def test_another_run_stands_beside(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    write_capitals(root)
    write_capitals(root, "other", went=lambda i, e: not as_told(i, e) if i == 0 else as_told(i, e))
    rows = saved(root, "capitals", "json", "against=other&kind=gained")
    assert [(row["line"], row["other"], row["other_correct"]) for row in rows] == [
        (1, "other", False)
    ]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("capitals/examples.exe", 404),
        ("capitals/examples.csv?kind=strange", 400),
        ("capitals/examples.csv?against=missing", 404),
        ("missing/examples.csv", 404),
    ],
)
def test_what_is_not_there_is_refused(tmp_path: Path, path: str, status: int) -> None:
    write_capitals(tmp_path / "runs")
    client = TestClient(create_app(tmp_path / "runs"), base_url="http://localhost")
    answer = client.get(f"/api/runs/{path}")
    assert answer.status_code == status
    assert json.loads(answer.text)["error"]


def test_a_set_never_evaluated_gives_an_empty_file(tmp_path: Path) -> None:
    file = tmp_path / "set.jsonl"
    bare = [r for r in records("bare", file, [("a", "b")]) if type(r).__name__ in ("Run", "Metric")]
    write(tmp_path / "runs" / "bare", bare)
    assert saved(tmp_path / "runs", "bare", "csv") == []
    assert saved(tmp_path / "runs", "bare", "json") == []
