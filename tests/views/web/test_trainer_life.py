"""What a guard found of a trainer reaches the page, without a byte in the journal."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from recorded_run import sample, write

from heldout.records import HEARTBEAT, Verdict
from heldout.store.heartbeat import FILE_NAME
from heldout.store.journal import Journal
from heldout.views.web import tail as tail_module
from heldout.views.web.runs_index import RunsIndex
from heldout.views.web.tail import Tail, Tails


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_module, "POLL_SECONDS", 0.01)


def found(folder: Path, state: str) -> None:
    """Write down what a guard found of the journal as it is."""
    size = (folder / "journal.jsonl").stat().st_size
    verdict = Verdict(
        step=60,
        time=9e9,
        rule=HEARTBEAT,
        state="open",
        level="error",
        message="it died",
        action="Start it again.",
        evidence={"state": state, "bytes": size},
    )
    sidecar = Journal(folder / FILE_NAME)
    sidecar.append([verdict])
    sidecar.close()


def test_the_page_and_the_list_show_that_a_trainer_died_and_is_back(runs: Path) -> None:
    async def states() -> list[tuple[str, str, str]]:
        tails, index = Tails(runs), RunsIndex(runs)
        seen = []
        for act in (
            lambda: None,
            lambda: found(runs / "first", "died"),
            lambda: write(runs / "first", [sample(61)]),
            lambda: found(runs / "first", "stalled"),
        ):
            act()
            (summary,) = (await index.lines())["runs"]
            page = await (await tails.find("first")).page()
            alert = [a for a in page["snapshot"]["alerts"] if a["rule"] == HEARTBEAT]
            alert_state = alert[0]["state"] if alert else "none"
            seen.append((summary["state"], page["snapshot"]["state"], alert_state))
        return seen

    assert asyncio.run(states()) == [
        ("running", "running", "none"),
        ("died", "died", "open"),
        ("running", "running", "resolved"),
        ("stalled", "stalled", "open"),
    ]


def test_an_open_page_is_told_to_load_anew_when_a_trainer_dies(runs: Path) -> None:
    async def told() -> tuple[int, bytes]:
        tail = Tail(runs / "first" / "journal.jsonl")
        await tail.page()
        stream = tail.events(tail.offset)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        found(runs / "first", "died")
        event = await asyncio.wait_for(waiting, 20)
        assert event is not None
        assert event.start == event.end == tail.offset
        await stream.aclose()  # type: ignore[attr-defined]
        return tail.beats, event.data

    beats, data = asyncio.run(told())
    assert beats == 1
    assert b'"reload":true' in data
    assert b'"state":"died"' in data
