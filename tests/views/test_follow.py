"""A journal that grows, folded as it does."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from recorded_run import STARTED, recorded, run_record, sample, write

from heldout.derive.history import History
from heldout.records import Verdict, encode
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
