"""What the server answers: the page, the runs, one run, its exports, and its refusals."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import signal
import socket
import subprocess
import sys
from itertools import accumulate
from pathlib import Path

import httpx2
import pytest
from recorded_run import METRICS, NAN_STEP, STARTED, recorded, run_record, sample, write
from starlette.testclient import TestClient

from heldout.errors import HeldoutError
from heldout.views.export import EXPORTERS
from heldout.views.series import BUCKETS
from heldout.views.web.app import BRIEF, create_app, serve


@pytest.fixture
def client(runs: Path) -> TestClient:
    return TestClient(create_app(runs), base_url="http://localhost")


def test_the_list_names_every_run_newest_first(runs: Path, client: TestClient) -> None:
    write(runs / "second", [run_record("second"), sample(1)])
    os.utime(runs / "first" / "journal.jsonl", (STARTED, STARTED))
    listed = client.get("/api/runs").json()["runs"]
    assert [run["id"] for run in listed] == ["second", "first"]
    assert {field: listed[1][field] for field in BRIEF} == {
        "id": "first",
        "model": "tiny-model",
        "state": "running",
        "step": 60,
        "total_steps": 80,
        "em": 40 / 60,
        "n": 60,
        "time": STARTED + 60,
    }


def test_the_list_follows_a_run_that_grows(runs: Path, client: TestClient) -> None:
    assert client.get("/api/runs").json()["runs"][0]["step"] == 60
    write(runs / "first", [sample(61)])
    assert client.get("/api/runs").json()["runs"][0]["step"] == 61


def test_a_folder_without_runs_is_an_empty_list(tmp_path: Path) -> None:
    client = TestClient(create_app(tmp_path / "none"), base_url="http://localhost")
    assert client.get("/api/runs").json()["runs"] == []


def test_a_run_folder_itself_can_be_served(runs: Path) -> None:
    client = TestClient(create_app(runs / "first"), base_url="http://localhost")
    assert [run["id"] for run in client.get("/api/runs").json()["runs"]] == ["first"]


def test_a_run_comes_with_its_picture_its_series_and_the_cursor_at_the_end(
    runs: Path, client: TestClient
) -> None:
    answer = client.get("/api/runs/first")
    data = answer.json()
    assert data["cursor"] == (runs / "first" / "journal.jsonl").stat().st_size
    assert data["snapshot"]["step"] == 60
    assert data["snapshot"]["decision"]["action"] == "stop"
    assert set(data["series"]) == set(METRICS)
    assert data["series"]["mine/new"]["values"] == [float(step) for step in range(1, 61)]
    assert {export["suffix"] for export in data["exports"]} >= {"json", "csv"}


def test_a_nan_travels_as_a_string_in_strict_json(client: TestClient) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    data = json.loads(client.get("/api/runs/first").text, parse_constant=refuse)
    loss = data["series"]["loss/step"]
    assert loss["values"][list(accumulate(loss["steps"])).index(NAN_STEP)] == "NaN"


def test_a_long_series_is_thinned_and_keeps_its_spike_and_its_nan(tmp_path: Path) -> None:
    records = [run_record(), *(sample(step) for step in range(1, 20_001))]
    records[7_000] = sample(7_000, **{"loss/step": 99.0})
    records[9_000] = sample(9_000, **{"loss/step": math.nan})
    write(tmp_path / "long", records)
    client = TestClient(create_app(tmp_path), base_url="http://localhost")
    loss = client.get("/api/runs/long").json()["series"]["loss/step"]
    assert len(loss["steps"]) <= 2 * BUCKETS + 3
    steps = list(accumulate(loss["steps"]))
    assert loss["values"][steps.index(7_000)] == 99.0
    assert loss["values"][steps.index(9_000)] == "NaN"


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_an_export_is_a_file_to_download_with_every_metric(client: TestClient, kind: str) -> None:
    answer = client.get(f"/api/runs/first/export.{kind}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == EXPORTERS[kind].media_type
    assert answer.headers["content-disposition"].startswith(f'attachment; filename="first.{kind}"')
    if kind == "json":
        names = set(answer.json()["series"])
    else:
        names = set(next(csv.reader(io.StringIO(answer.text))))
    assert names >= set(METRICS)


def test_an_unknown_export_is_not_found(client: TestClient) -> None:
    answer = client.get("/api/runs/first/export.exe")
    assert (answer.status_code, answer.json()) == (404, {"error": "no such export"})


def test_a_run_name_cannot_break_out_of_the_download_header(tmp_path: Path) -> None:
    write(tmp_path / 'a";\u00fc x', recorded())
    client = TestClient(create_app(tmp_path), base_url="http://localhost")
    header = client.get("/api/runs/a%22;%C3%BC%20x/export.csv").headers["content-disposition"]
    assert header == "attachment; filename=\"a____x.csv\"; filename*=UTF-8''a%22%3B%C3%BC%20x.csv"


@pytest.mark.parametrize(
    "name",
    ["..", "../outside", "%2e%2e%2foutside", "..%2foutside", "%2fetc", "first%2f..%2f..", "a%00b"],
)
@pytest.mark.parametrize("tail", ["", "/export.json", "/events"])
def test_no_run_name_leaves_the_folder(runs: Path, name: str, tail: str) -> None:
    write(runs.parent / "outside", recorded("outside"))
    client = TestClient(create_app(runs), base_url="http://localhost")
    answer = client.get(f"/api/runs/{name}{tail}")
    assert answer.status_code == 404
    assert set(answer.json()) == {"error"}


@pytest.mark.parametrize(
    "path", ["/assets/../app.py", "/assets/%2e%2e/app.py", "/assets/..%2fapp.py"]
)
def test_no_asset_name_leaves_the_folder(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_an_error_is_json_and_names_no_path(runs: Path, client: TestClient) -> None:
    for path in ("/api/runs/missing", "/api/nothing", "/assets/missing.js"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert set(answer.json()) == {"error"}
        assert str(runs) not in answer.text


def test_a_failure_inside_is_a_plain_error_with_the_security_headers(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(f"secret {runs}")

    monkeypatch.setattr("heldout.views.web.tail.snapshot", fail)
    app = create_app(runs)
    client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
    answer = client.get("/api/runs/first")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_nothing_can_be_written_through_the_server(client: TestClient) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert client.request(method, "/api/runs/first").status_code == 405


def test_a_page_that_was_not_built_says_how_to_build_it(runs: Path, tmp_path: Path) -> None:
    app = create_app(runs, static=tmp_path / "nothing")
    answer = TestClient(app, base_url="http://localhost").get("/run/first")
    assert answer.status_code == 200
    assert "make web" in answer.text
    assert 'href="../api/runs"' in answer.text


def test_the_page_knows_where_its_addresses_start(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "static" / "assets").mkdir(parents=True)
    (tmp_path / "static" / "index.html").write_text('<base href="./" /><p>page')
    (tmp_path / "static" / "assets" / "a-1.js").write_text("1")
    app = create_app(runs, static=tmp_path / "static")
    client = TestClient(app, base_url="http://localhost")
    assert '<base href="./" />' in client.get("/").text
    assert '<base href="../" />' in client.get("/run/first").text
    assert "immutable" in client.get("/assets/a-1.js").headers["cache-control"]
    assert client.get("/").headers["cache-control"] == "no-cache"


def test_a_port_in_use_is_an_error_that_says_what_would_work(runs: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(HeldoutError, match=rf"127\.0\.0\.1:{port}: .*--port 0"):
            serve(runs, port=port)


def test_ctrl_c_ends_the_server_cleanly_while_a_page_is_connected(runs: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from heldout.views.web.app import serve\n"
        "serve(Path(sys.argv[1]), port=0, ready=lambda address: print(address, flush=True))"
    )
    command = [sys.executable, "-c", program, str(runs)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().strip()
        url = f"{address}api/runs/first/events?cursor=0"
        with httpx2.stream("GET", url, timeout=20) as answer:
            lines = answer.iter_lines()
            assert next(line for line in lines if line.startswith("data: "))
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 0
        assert process.stderr.read() == ""
