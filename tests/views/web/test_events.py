"""The live stream: nothing missed, nothing twice, whoever connects and whenever."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from recorded_run import STARTED, eval_records, recorded, resumed, run_record, sample, write

from heldout.records import Note, encode
from heldout.store import journal
from heldout.store.bulk import FEW_BYTES
from heldout.views.web import tail as tail_module
from heldout.views.web.tail import Tail, Tails


def events(lines: Iterator[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read (id, data) of each event off the lines of a stream."""
    number = 0
    for line in lines:
        if line.startswith("id: "):
            number = int(line[4:])
        elif line.startswith("data: "):
            yield number, json.loads(line[6:])


def next_event(
    server: str, cursor: int, *, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    path = f"{server}/api/runs/first/events?cursor={cursor}"
    with httpx2.stream("GET", path, headers=headers, timeout=20) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        return next(events(answer.iter_lines()))


def size(runs: Path) -> int:
    return (runs / "first" / "journal.jsonl").stat().st_size


def test_an_appended_sample_arrives_with_the_fresh_numbers(server: str, runs: Path) -> None:
    start = size(runs)
    threading.Timer(0.5, write, (runs / "first", [sample(61)])).start()
    end, event = next_event(server, start)
    assert end == size(runs)
    assert [s["step"] for s in event["samples"]] == [61]
    assert event["live"]["step"] == 61
    assert event["live"]["throughput"]["total_tokens"] == 512 * 61
    assert event["snapshot"] is None
    assert event["reload"] is False


def test_anything_but_a_sample_brings_a_whole_snapshot(server: str, runs: Path) -> None:
    start = size(runs)
    write(runs / "first", [sample(61), *eval_records(61, right=45)])
    _, event = next_event(server, start)
    assert event["snapshot"]["fixed_eval"]["step"] == 61
    assert [s["step"] for s in event["samples"]] == [61]


def test_a_reader_resumes_where_the_last_event_ended(server: str, runs: Path) -> None:
    start = size(runs)
    write(runs / "first", [sample(61)])
    middle = size(runs)
    write(runs / "first", [sample(62), sample(63)])
    end, event = next_event(server, start, headers={"Last-Event-ID": str(middle)})
    assert [s["step"] for s in event["samples"]] == [62, 63]
    assert end == size(runs)


def test_a_torn_line_waits_for_its_end(runs: Path) -> None:
    async def scenario() -> None:
        tail = Tail(runs / "first" / "journal.jsonl")
        start = (await tail.page())["cursor"]
        line = encode(sample(61)) + b"\n"
        with tail.path.open("ab") as file:
            file.write(line[:20])
        assert (await tail.page())["cursor"] == start
        with tail.path.open("ab") as file:
            file.write(line[20:])
        assert (await tail.page())["cursor"] == start + len(line)
        assert tail.history.step == 61

    asyncio.run(scenario())


@pytest.mark.parametrize("follows", [True, False], ids=["follows", "comes back"])
@pytest.mark.parametrize(
    "records",
    [[resumed(40)], [resumed(40), sample(41)], [sample(50)]],
    ids=["resume", "resume and sample", "earlier step"],
)
def test_a_reader_is_told_to_load_anew_when_steps_are_superseded(
    server: str, runs: Path, records: list[Any], follows: bool
) -> None:
    start = size(runs)
    if follows:
        threading.Timer(0.5, write, (runs / "first", records)).start()
    else:
        write(runs / "first", records)
    _, event = next_event(server, start)
    assert event["reload"] is True


def test_a_second_record_of_the_same_step_supersedes_nothing(server: str, runs: Path) -> None:
    start = size(runs)
    threading.Timer(0.5, write, (runs / "first", [sample(60, extra=1.0)])).start()
    _, event = next_event(server, start)
    assert event["reload"] is False
    assert event["samples"][0]["values"]["extra"] == 1.0


@pytest.mark.parametrize("cursor", [3, 10**9])
def test_a_cursor_that_fits_no_line_loads_anew(server: str, cursor: int) -> None:
    _, event = next_event(server, cursor)
    assert event["reload"] is True
    assert event["samples"] == []


@pytest.mark.parametrize("cursor", ["-1", "x", "1e3", "9" * 30, "٣"])
def test_a_cursor_that_is_no_offset_is_refused(server: str, cursor: str) -> None:
    answer = httpx2.get(f"{server}/api/runs/first/events", params={"cursor": cursor})
    assert answer.status_code == 400


def test_a_reader_far_behind_loads_anew(server: str, runs: Path) -> None:
    start = size(runs)
    write(runs / "first", [sample(step) for step in range(61, 61 + FEW_BYTES // 100)])
    _, event = next_event(server, start)
    assert event["reload"] is True
    assert event["samples"] == []


def test_a_replaced_journal_loads_anew(server: str, runs: Path) -> None:
    start = size(runs)
    httpx2.get(f"{server}/api/runs/first")
    (runs / "first" / "journal.jsonl").write_bytes(encode(sample(1)) + b"\n")
    _, event = next_event(server, start)
    assert event["reload"] is True
    assert event["live"]["step"] == 1


@pytest.mark.parametrize("name", ["again", "another-run"], ids=["at a line's start", "in a line"])
def test_a_journal_replaced_by_a_longer_one_loads_anew(server: str, runs: Path, name: str) -> None:
    """Where the name is as long as the first one's, the page's cursor stands at the start of a line."""
    start = size(runs)
    begun = msgspec.structs.replace(run_record(name), time=STARTED + 900)

    def replace() -> None:
        shutil.rmtree(runs / "first")
        write(runs / "first", [begun, *recorded()[1:], sample(61)])

    threading.Timer(0.5, replace).start()
    path = f"{server}/api/runs/first/events?cursor={start}"
    with httpx2.stream("GET", path, timeout=20) as answer:
        stream = events(answer.iter_lines())
        while not next(stream)[1]["reload"]:
            pass
    assert size(runs) > start
    found = httpx2.get(f"{server}/api/runs/first").json()["snapshot"]
    assert (found["run"]["id"], found["step"]) == (name, 61)


def test_many_readers_share_one_fold(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    read = journal.read

    def counting(path: Path, offset: int = 0, limit: int | None = None) -> tuple[list[Any], int]:
        records, end = read(path, offset, limit)
        if end > offset:
            reads.append(end)
        return records, end

    monkeypatch.setattr(tail_module.journal, "read", counting)

    async def scenario() -> list[list[int]]:
        tail = await Tails(runs).find("first")
        start = (await tail.page())["cursor"]
        streams = [tail.events(start) for _ in range(5)]
        first = [asyncio.ensure_future(anext(stream)) for stream in streams]
        await asyncio.sleep(0.1)
        write(runs / "first", [sample(61)])
        ends = [[event.end] for event in await asyncio.gather(*first) if event is not None]
        for stream in streams:
            await stream.aclose()
        assert not tail.watched
        return ends

    ends = asyncio.run(scenario())
    assert ends == [[size(runs)]] * 5
    assert len(reads) == 2  # the page, then the one appended line, once for all five


def test_every_line_reaches_every_reader_once_while_the_writer_writes(runs: Path) -> None:
    async def follow(tail: Tail, cursor: int) -> list[int]:
        steps: list[int] = []
        stream = tail.events(cursor)
        async for event in stream:
            assert event is not None
            data = json.loads(event.data)
            steps += [s["step"] for s in data["samples"]]
            if data["live"]["state"] == "finished":
                break
        await stream.aclose()
        return steps

    async def scenario() -> None:
        tail = await Tails(runs).find("first")
        cursor = (await tail.page())["cursor"]
        readers = [asyncio.ensure_future(follow(tail, cursor)) for _ in range(2)]
        for step in range(61, 161):
            write(runs / "first", [sample(step)])
            if step == 110:
                readers.append(asyncio.ensure_future(follow(tail, cursor)))
            await asyncio.sleep(0.01)
        end = Note(step=160, time=STARTED + 300, topic="finished", text="")
        write(runs / "first", [end])
        for steps in await asyncio.wait_for(asyncio.gather(*readers), 20):
            assert steps == list(range(61, 161))

    asyncio.run(scenario())


def test_an_idle_tail_is_dropped_and_a_watched_one_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "IDLE_TAILS", 1)
    for name in "abc":
        write(tmp_path / name, [sample(1)])

    async def scenario() -> None:
        tails = Tails(tmp_path)
        watched = await tails.find("a")
        stream = watched.events(0)
        await anext(stream)
        idle = await tails.find("b")
        await tails.find("c")
        await tails.find("c")
        assert await tails.find("a") is watched
        assert await tails.find("b") is not idle
        await stream.aclose()

    asyncio.run(scenario())


def test_a_reader_slower_than_the_kept_events_misses_nothing(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "RECENT_BATCHES", 2)

    async def scenario() -> list[int]:
        tail = await Tails(runs).find("first")
        stream = tail.events((await tail.page())["cursor"])
        steps: list[int] = []
        for first, last in ((61, 61), (62, 66)):
            for step in range(first, last + 1):
                write(runs / "first", [sample(step)])
                if last > first:
                    await tail.page()  # folds each alone, so that two of five are kept
            while not steps or steps[-1] < last:
                event = await asyncio.wait_for(anext(stream), 10)
                assert event is not None
                steps += [s["step"] for s in json.loads(event.data)["samples"]]
        await stream.aclose()
        return steps

    assert asyncio.run(scenario()) == list(range(61, 67))
