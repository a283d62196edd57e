"""The list of runs behind the page: cheap at first sight, exact soon after, never read twice."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from recorded_run import STARTED, eval_records, recorded, run_record, sample, write
from starlette.testclient import TestClient

from heldout.records import AnyRecord, Note, State, Verdict
from heldout.store import journal
from heldout.store.annotations import annotate
from heldout.views.web import runs_index
from heldout.views.web.app import create_app
from heldout.views.web.runs_index import RunsIndex
from heldout.views.web.tail import Tail

MOST_WAIT = 20.0


def lines(index: RunsIndex) -> dict[str, dict[str, Any]]:
    return {run["id"]: run for run in asyncio.run(index.lines())["runs"]}


def long_run(root: Path, name: str = "long") -> None:
    """A journal well above what is read of its two ends, with its only evaluation in the middle."""
    steps = [sample(step) for step in range(1, 501)]
    write(root / name, [run_record(name), *steps[:250], *eval_records(250, 30), *steps[250:]])


def until_read(index: RunsIndex) -> dict[str, dict[str, Any]]:
    end = time.monotonic() + MOST_WAIT
    while any(line["partial"] for line in lines(index).values()):
        assert time.monotonic() < end, "the journals were not read"
        time.sleep(0.02)
    return lines(index)


def test_a_long_journal_is_shown_by_its_ends_and_then_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_run(tmp_path)
    monkeypatch.setattr(runs_index, "FIRST_LOOK_SECONDS", 0.0)
    index = RunsIndex(tmp_path)
    first = asyncio.run(index.lines())["runs"][0]
    assert first["partial"]
    assert (first["model"], first["step"], first["em"]) == ("tiny-model", 500, None)
    found = until_read(index)["long"]
    assert (found["step"], found["em"], found["em_step"]) == (500, 0.5, 250)
    assert found["spark"]["steps"][0] == 1


def test_what_is_known_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long_run(tmp_path)
    index = RunsIndex(tmp_path)
    until_read(index)
    decoded: list[bytes] = []

    def counting(data: bytes, passed_over: tuple[bytes, ...]) -> Iterator[AnyRecord]:
        decoded.extend(data.splitlines())
        return journal.decode_lines(data, passed_over)

    monkeypatch.setattr(runs_index, "decode_lines", counting)
    lines(index)
    assert decoded == []
    write(tmp_path / "long", [sample(501)])
    assert lines(index)["long"]["step"] == 501
    assert len(decoded) == 1


def test_a_line_being_written_is_taken_when_it_is_whole(tmp_path: Path) -> None:
    journal = write(tmp_path / "run", recorded("run"))
    index = RunsIndex(tmp_path)
    whole = json.dumps({"type": "sample", "step": 61, "time": STARTED + 61, "values": {}}).encode()
    with journal.open("ab") as file:
        file.write(whole[:20])
        file.flush()
        found = lines(index)["run"]
        assert (found["step"], found["partial"]) == (60, False)
        file.write(whole[20:] + b"\n")
    assert lines(index)["run"]["step"] == 61


def test_a_journal_replaced_by_a_shorter_one_is_read_anew(tmp_path: Path) -> None:
    journal = write(tmp_path / "run", recorded("run"))
    index = RunsIndex(tmp_path)
    assert lines(index)["run"]["step"] == 60
    journal.unlink()
    write(tmp_path / "run", [run_record("run"), sample(3)])
    found = lines(index)["run"]
    assert (found["step"], found["em"]) == (3, None)


@pytest.mark.parametrize("steps", [40, 500])
def test_a_run_made_again_with_a_longer_journal_is_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    write(tmp_path / "run", [run_record("run"), *eval_records(1, 30), sample(1)])
    index = RunsIndex(tmp_path)
    assert lines(index)["run"]["em"] == 0.5
    shutil.rmtree(tmp_path / "run")
    begun = msgspec.structs.replace(run_record("run"), time=STARTED + 900, model="another-model")
    write(tmp_path / "run", [begun, *(sample(step) for step in range(2, steps))])
    monkeypatch.setattr(runs_index, "FIRST_LOOK_SECONDS", 0.0)
    for found in (lines(index)["run"], until_read(index)["run"]):
        assert (found["model"], found["step"], found["em"]) == ("another-model", steps - 1, None)
    assert found["spark"]["steps"][0] == 2


def test_a_look_at_runs_that_have_not_changed_opens_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "run", recorded("run"))
    index = RunsIndex(tmp_path)
    tail = Tail(tmp_path / "run" / "journal.jsonl")
    before, page = lines(index), asyncio.run(tail.page())

    def opened(path: Path, *given: Any, **more: Any) -> Any:
        raise AssertionError(f"{path} was opened")

    monkeypatch.setattr(Path, "open", opened)
    assert lines(index) == before
    assert asyncio.run(tail.page())["cursor"] == page["cursor"]


def test_a_page_that_was_away_gets_what_it_missed_and_nothing_else(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path / name, recorded(name))

    async def scenario() -> None:
        index = RunsIndex(tmp_path)
        version = (await index.lines())["version"]
        write(tmp_path / "b", [sample(61)])
        (tmp_path / "c" / "journal.jsonl").unlink()
        await index.look_now()
        stream = index.events(version)
        event = await asyncio.wait_for(anext(stream), MOST_WAIT)
        assert event is not None
        data = json.loads(event[1])
        assert [run["id"] for run in data["runs"]] == ["b"]
        assert (data["gone"], data["whole"]) == (["c"], False)
        await stream.aclose()
        for foreign in ("", "elsewhere-3", "nonsense"):
            stream = index.events(foreign)
            event = await asyncio.wait_for(anext(stream), MOST_WAIT)
            assert event is not None
            data = json.loads(event[1])
            assert {run["id"] for run in data["runs"]} == {"a", "b"}
            assert data["whole"]
            await stream.aclose()

    asyncio.run(scenario())


def test_who_waits_is_told_of_what_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs_index, "POLL_SECONDS", 0.02)
    write(tmp_path / "run", recorded("run"))

    async def scenario() -> None:
        index = RunsIndex(tmp_path)
        stream = index.events((await index.lines())["version"])
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        write(tmp_path / "run", [Note(step=60, time=STARTED + 99, topic="finished", text="")])
        event = await asyncio.wait_for(waiting, MOST_WAIT)
        assert event is not None
        assert json.loads(event[1])["runs"][0]["state"] == "finished"
        await stream.aclose()

    asyncio.run(scenario())


def test_folders_that_are_no_runs_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "strange" / "journal.jsonl").mkdir(parents=True)
    write(tmp_path / "run", recorded("run"))
    assert list(lines(RunsIndex(tmp_path))) == ["run"]


def test_tags_and_notes_stand_in_the_line(tmp_path: Path) -> None:
    write(tmp_path / "run", recorded("run"))
    index = RunsIndex(tmp_path)
    assert lines(index)["run"]["tags"] == []
    annotate(tmp_path / "run", ["keep"], "why")
    assert (lines(index)["run"]["tags"], lines(index)["run"]["note"]) == (["keep"], "why")


def test_the_short_list_is_sent_only_when_it_has_changed(runs: Path) -> None:
    client = TestClient(create_app(runs), base_url="http://localhost")
    first = client.get("/api/runs?brief=1")
    assert set(first.json()["runs"][0]) >= {"id", "state", "em", "n"}
    known = {"If-None-Match": first.headers["etag"]}
    again = client.get("/api/runs?brief=1", headers=known)
    assert (again.status_code, again.content) == (304, b"")
    write(runs / "first", [sample(61)])
    assert client.get("/api/runs?brief=1", headers=known).json()["runs"][0]["step"] == 61


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({}, 200),
        ({"X-Heldout-Write": "wrong"}, 403),
        ({"X-Heldout-Write": ""}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://proxy.example"}, 200),
        ({"Content-Type": "text/plain"}, 415),
    ],
)
def test_only_a_page_of_ours_may_write(runs: Path, changed: dict[str, str], status: int) -> None:
    client = TestClient(create_app(runs), base_url="http://localhost")
    key = client.get("/api/runs").json()["write_key"]
    headers = {"X-Heldout-Write": key, "Content-Type": "application/json"} | changed
    answer = client.post("/api/runs/first/annotations", content='{"tags":["a"]}', headers=headers)
    assert answer.status_code == status
    assert (runs / "first" / "annotations.jsonl").exists() == (status == 200)


@pytest.mark.parametrize(
    ("run", "body", "status"),
    [
        ("first", "{", 400),
        ("first", "[1]", 400),
        ("first", '{"tags": "a"}', 400),
        ("first", '{"tags": [1]}', 400),
        ("first", '{"note": 1}', 400),
        ("first", json.dumps({"note": "x" * 5000}), 400),
        ("first", json.dumps({"note": "x" * 50_000}), 413),
        ("missing", "{}", 404),
        ("..%2foutside", "{}", 404),
        ("a%00b", "{}", 404),
    ],
)
def test_what_cannot_be_written_is_refused(runs: Path, run: str, body: str, status: int) -> None:
    write(runs.parent / "outside", recorded("outside"))
    client = TestClient(create_app(runs), base_url="http://localhost")
    key = client.get("/api/runs").json()["write_key"]
    headers = {"X-Heldout-Write": key, "Content-Type": "application/json"}
    answer = client.post(f"/api/runs/{run}/annotations", content=body, headers=headers)
    assert answer.status_code == status
    assert str(runs) not in answer.text
    assert not list(runs.parent.rglob("annotations.jsonl"))


def spike(step: int, state: State) -> Verdict:
    return Verdict(
        step=step,
        time=STARTED + step,
        rule="loss-spike",
        scope="coding",
        state=state,
        level="warning",
        message="loss is 3 x its median",
        action="Look at the batch.",
    )


def test_an_acknowledgement_is_of_one_opening_of_one_alert(runs: Path) -> None:
    write(runs / "first", [spike(50, "open")])
    client = TestClient(create_app(runs), base_url="http://localhost")
    address = "/api/runs/first/annotations"
    stands = client.get(address).json()
    assert stands["acknowledged"] == []
    headers = {"X-Heldout-Write": stands["write_key"]}

    def say(what: str, step: int) -> tuple[int, Any]:
        named = {"rule": "loss-spike", "scope": "coding", "step": step}
        answer = client.post(address, json={what: named}, headers=headers)
        return answer.status_code, answer.json().get("acknowledged")

    status, seen = say("acknowledge", 50)
    assert status == 200
    assert [(each["rule"], each["scope"], each["step"]) for each in seen] == [
        ("loss-spike", "coding", 50)
    ]
    assert client.get(address).json()["acknowledged"] == seen
    write(runs / "first", [spike(58, "escalated")])
    assert client.get(address).json()["acknowledged"] == []
    assert say("acknowledge", 50) == (409, None)  # it has changed since
    assert say("acknowledge", 58)[0] == 200
    assert say("withdraw", 58) == (200, [])
    write(runs / "first", [spike(59, "resolved")])
    assert say("acknowledge", 59) == (409, None)


@pytest.mark.parametrize(
    "said",
    [
        {"acknowledge": None},
        {"acknowledge": []},
        {"acknowledge": {"rule": 1, "scope": "", "step": 1}},
        {"withdraw": {"rule": "loss-not-finite", "scope": ""}},
        {"acknowledge": {"rule": "loss-not-finite", "scope": "", "step": True}},
    ],
)
def test_an_alert_that_is_not_named_is_refused(runs: Path, said: dict[str, Any]) -> None:
    client = TestClient(create_app(runs), base_url="http://localhost")
    headers = {"X-Heldout-Write": client.get("/api/runs").json()["write_key"]}
    assert client.post("/api/runs/first/annotations", json=said, headers=headers).status_code == 400
    headers = {"X-Heldout-Write": "wrong"}
    assert client.post("/api/runs/first/annotations", json=said, headers=headers).status_code == 403
    assert not (runs / "first" / "annotations.jsonl").exists()
