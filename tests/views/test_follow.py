"""A journal that grows, folded as it does."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_run import STARTED, recorded, run_record, sample, write

from heldout.derive.history import History
from heldout.records import AnyRecord, Verdict, encode
from heldout.store import bulk
from heldout.store.heartbeat import FILE_NAME
from heldout.views.follow import Follower
from heldout.views.snapshot import snapshot


def died(bytes_: int) -> Verdict:
    return Verdict(
        step=60,
        time=STARTED,
        rule="trainer-silent",
        state="open",
        level="critical",
        message="gone",
        action="Start it again.",
        evidence={"state": "died", "bytes": bytes_},
    )


@given(cuts=st.lists(st.integers(0, 60_000), max_size=8), limit=st.none() | st.integers(1, 9_000))
def test_however_a_journal_grows_the_fold_is_that_of_the_whole(
    tmp_path_factory: object, cuts: list[int], limit: int | None
) -> None:
    data = b"".join(encode(record) + b"\n" for record in recorded())
    folder = tmp_path_factory.mktemp("run")  # type: ignore[attr-defined]
    journal: Path = folder / "journal.jsonl"
    follower, seen = Follower(journal), 0
    for cut in [*sorted(min(cut, len(data)) for cut in cuts), len(data)]:
        journal.write_bytes(data[:cut])
        while news := follower.advance(limit):
            assert news.start == seen
            seen = news.end
            assert not news.replaced
    assert seen == len(data)
    assert encode(snapshot(follower.history)) == encode(snapshot(History.of(recorded())))


def test_a_file_that_was_replaced_by_a_shorter_one_is_begun_anew(tmp_path: Path) -> None:
    journal = write(tmp_path, recorded())
    follower = Follower(journal)
    follower.advance()
    journal.unlink()
    write(tmp_path, [run_record(), sample(1)])
    news = follower.advance()
    assert news.replaced
    assert follower.history.step == 1
    assert not follower.advance()


def another(steps: int, *, start: float = STARTED + 900) -> list[AnyRecord]:
    """A run that was begun later."""
    begun = msgspec.structs.replace(run_record("second"), time=start)
    return [begun, *(sample(step, loss=2.0) for step in range(1, steps + 1))]


@pytest.mark.parametrize("in_place", [True, False], ids=["the same file", "another file"])
@pytest.mark.parametrize("steps", [20, 400])
def test_a_file_that_was_replaced_by_a_longer_one_is_begun_anew(
    tmp_path: Path, steps: int, in_place: bool
) -> None:
    journal = write(tmp_path, recorded()[:30])
    follower = Follower(journal)
    follower.advance()
    before = follower.offset
    if in_place:
        journal.write_bytes(b"")
    else:
        shutil.rmtree(tmp_path)
    write(tmp_path, another(steps))
    assert journal.stat().st_size > before
    news = follower.advance()
    assert (news.replaced, news.start, news.end) == (True, 0, journal.stat().st_size)
    assert encode(snapshot(follower.history)) == encode(snapshot(History.of(another(steps))))
    assert not follower.advance()
    write(tmp_path, [sample(steps + 1)])
    assert not follower.advance().replaced
    assert follower.history.step == steps + 1


@pytest.mark.parametrize("differs", ["first record", "last record"])
def test_a_file_of_the_same_length_is_told_by_either_end(tmp_path: Path, differs: str) -> None:
    at = 0 if differs == "first record" else -1
    first, second = another(9), another(9)
    second[at] = msgspec.structs.replace(second[at], time=STARTED + 901)
    first[at] = msgspec.structs.replace(first[at], time=STARTED + 902)
    journal = write(tmp_path, first)
    follower = Follower(journal)
    follower.advance()
    journal.unlink()
    write(tmp_path, second)
    assert journal.stat().st_size == follower.offset
    assert follower.advance().replaced


def test_a_file_that_is_replaced_while_it_is_read_is_begun_anew_at_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = write(tmp_path, recorded()[:30])
    follower = Follower(journal)
    follower.advance()
    write(tmp_path, [sample(61)])
    read = bulk.read

    def late(path: Path, offset: int, limit: int | None) -> tuple[bulk.Found, int]:
        journal.write_bytes(b"")
        write(tmp_path, another(400))
        return read(path, offset, limit)

    monkeypatch.setattr(bulk, "read", late)
    follower.advance()
    monkeypatch.setattr(bulk, "read", read)
    assert follower.advance().replaced
    assert encode(snapshot(follower.history)) == encode(snapshot(History.of(another(400))))


def test_what_viewers_found_of_the_trainer_is_news_once_and_ends_when_it_writes_again(
    tmp_path: Path,
) -> None:
    journal = write(tmp_path, recorded())
    follower = Follower(journal)
    follower.advance()
    (tmp_path / FILE_NAME).write_bytes(encode(died(follower.offset)) + b"\n")
    news = follower.advance()
    assert [verdict.state for verdict in news.heartbeat] == ["open"]
    assert news.records == []
    assert follower.history.state == "died"
    assert not follower.advance()
    write(tmp_path, [sample(61)])
    assert [verdict.state for verdict in follower.advance().heartbeat] == ["resolved"]
    assert follower.history.state == "running"


def test_more_than_the_limit_is_left_for_the_next_look(tmp_path: Path) -> None:
    follower = Follower(write(tmp_path, recorded()))
    looks = 0
    while follower.advance(4096).behind:
        looks += 1
    assert looks > 5
    assert follower.history.step == 60
