"""Parts of a run that the page asks for when someone looks closer."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

import pytest
from recorded_run import NAN_STEP, run_record, sample, write
from starlette.testclient import TestClient

from heldout.views.series import BUCKETS
from heldout.views.web.app import create_app

SPIKE, LONG = 12_345, 20_000


@pytest.fixture
def client(runs: Path) -> TestClient:
    return TestClient(create_app(runs), base_url="http://localhost")


def test_the_series_between_two_steps_hold_every_step_where_they_fit(client: TestClient) -> None:
    series = client.get("/api/runs/first/series?first=30&last=35").json()["series"]
    assert series["loss/step"]["steps"] == [30, 1, 1, 1, 1, 1]  # each after the one before
    assert series["loss/step"]["values"][NAN_STEP - 30] == "NaN"
    assert client.get("/api/runs/first").json()["thinned"] is False


def test_a_part_of_a_long_run_is_thinned_less_and_keeps_its_spike(
    runs: Path, client: TestClient
) -> None:
    steps = [sample(n, **({"loss/step": 99.5} if n == SPIKE else {})) for n in range(1, LONG)]
    write(runs / "long", [run_record("long"), *steps])
    whole = client.get("/api/runs/long").json()
    assert whole["thinned"] is True
    coarse = whole["series"]["loss/step"]
    path = "/api/runs/long/series?first=12000&last=12799"
    fine = client.get(path).json()["series"]["loss/step"]
    assert max(coarse["values"]) == max(fine["values"]) == 99.5
    assert len(coarse["steps"]) <= 2 * BUCKETS + 4
    assert list(accumulate(fine["steps"])) == list(range(12_000, 12_800))


def test_steps_beyond_the_run_are_empty_and_nonsense_is_refused(client: TestClient) -> None:
    beyond = client.get("/api/runs/first/series?first=900&last=990").json()["series"]
    assert all(series["steps"] == [] for series in beyond.values())
    for query in ("", "?first=1", "?first=a&last=2", "?first=-1&last=2", "?first=1&last=1e3"):
        assert client.get(f"/api/runs/first/series{query}").status_code == 400, query
    assert client.get("/api/runs/none/series?first=1&last=2").status_code == 404


def test_an_earlier_reading_of_the_layers_is_as_it_was_then(client: TestClient) -> None:
    then = client.get("/api/runs/first/layers/20").json()
    assert (then["step"], then["over_time"]["steps"]) == (20, [20])
    now = client.get("/api/runs/first").json()["snapshot"]["lora"]
    assert client.get("/api/runs/first/layers/60").json() == now
    for step in ("21", "0", "99999999"):
        assert client.get(f"/api/runs/first/layers/{step}").status_code == 404
