"""The training curves of a comparison in a part of an axis: every step there, and one beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from recorded_run import metric_records, run_record, sample, write
from starlette.testclient import TestClient

from heldout.views.web.app import create_app

LONG = 5_000


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    steps = [sample(step) for step in range(1, LONG + 1)]
    write(tmp_path / "runs" / "long", [run_record("long"), *metric_records(), *steps])
    write(tmp_path / "runs" / "bare", [run_record("bare")])
    return TestClient(create_app(tmp_path / "runs"), base_url="http://localhost")


def curve(client: TestClient, query: str) -> dict[str, Any]:
    answer = client.get(f"/api/compare/curves?run=long&run=bare&{query}")
    assert answer.status_code == 200, answer.text
    long, bare = answer.json()["curves"]
    assert (long["id"], bare["id"], bare["values"]) == ("long", "bare", [])
    found: dict[str, Any] = long
    return found


@pytest.mark.parametrize(
    ("query", "first", "last"),
    [
        ("axis=steps&first=1000&last=1010", 999, 1011),
        ("axis=tokens&first=512000&last=517120", 999, 1011),
        ("axis=tokens&first=512001&last=517119", 1000, 1010),
        ("axis=seconds&first=1000&last=1010.5", 999, 1011),
        ("axis=steps&first=-5&last=3", 1, 4),
        ("axis=tokens&first=0&last=600", 1, 2),
        ("axis=steps&first=4999&last=9e15", 4998, LONG),
        ("axis=tokens&first=9e15&last=1e16", LONG, LONG),
    ],
)
def test_every_step_of_the_part_is_there_and_one_on_either_side(
    client: TestClient, query: str, first: int, last: int
) -> None:
    found = curve(client, query)
    assert found["steps"] == list(range(first, last + 1))
    assert found["tokens"] == [512.0 * step for step in found["steps"]]
    assert found["seconds"] == [float(step) for step in found["steps"]]
    assert len(found["values"]) == len(found["steps"])


def test_a_long_part_is_thinned(client: TestClient) -> None:
    assert 200 < len(curve(client, "axis=steps&first=1&last=5000")["values"]) < 1_000


@pytest.mark.parametrize(
    "query",
    [
        "axis=miles&first=1&last=2",
        "first=1",
        "first=a&last=2",
        "first=nan&last=2",
        "first=2&last=1",
        "first=0&last=inf",
    ],
)
def test_what_is_no_part_of_an_axis_is_refused(client: TestClient, query: str) -> None:
    answer = client.get(f"/api/compare/curves?run=long&{query}")
    assert answer.status_code == 400
    assert client.get("/api/compare/curves?first=1&last=2").status_code == 400
