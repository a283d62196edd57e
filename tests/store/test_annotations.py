"""What people say of a run, beside its journal."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from heldout.errors import DataError, HeldoutError
from heldout.store.annotations import (
    FILE_NAME,
    MOST_NAME,
    MOST_NOTE,
    MOST_TAG,
    MOST_TAGS,
    Opening,
    acknowledge,
    annotate,
    read_annotation,
)
from heldout.store.runs import stamp

SPIKE = Opening(rule="loss-spike", scope="", state="open", step=50, opened=1_760_000_050.25)


def test_what_was_said_last_stands(tmp_path: Path) -> None:
    annotate(tmp_path, ["old"], "first")
    annotate(tmp_path, [" keep ", "keep", "", "two  words"], " second\nline ")
    said = read_annotation(tmp_path)
    assert (said.tags, said.note) == (["keep", "two words"], "second\nline")
    assert len((tmp_path / FILE_NAME).read_text("utf-8").splitlines()) == 2


def test_nothing_said_is_empty(tmp_path: Path) -> None:
    assert read_annotation(tmp_path).tags == []
    assert read_annotation(tmp_path / "missing").note == ""


@pytest.mark.parametrize(
    ("tags", "note", "problem"),
    [
        (["x"] * 3 + [str(i) for i in range(MOST_TAGS)], "", "tags"),
        (["x" * (MOST_TAG + 1)], "", "longer"),
        ([], "x" * (MOST_NOTE + 1), "4,000"),
        ([], "half \ud800", "half"),
    ],
)
def test_too_much_or_no_text_is_refused(
    tmp_path: Path, tags: list[str], note: str, problem: str
) -> None:
    with pytest.raises(DataError, match=problem):
        annotate(tmp_path, tags, note)
    assert not (tmp_path / FILE_NAME).exists()


def test_a_torn_or_strange_line_hides_no_other(tmp_path: Path) -> None:
    annotate(tmp_path, ["kept"], "")
    with (tmp_path / FILE_NAME).open("ab") as file:
        file.write(b'{"tags": 3}\n{"tags": ["torn"')
    assert read_annotation(tmp_path).tags == ["kept"]
    annotate(tmp_path, ["new"], "")
    assert read_annotation(tmp_path).tags == ["new"]


def test_the_longest_note_can_be_read_back(tmp_path: Path) -> None:
    for _ in range(3):
        annotate(tmp_path, ["\x01" * MOST_TAG], "\x01" * (MOST_NOTE - 1) + "x")
    assert len(read_annotation(tmp_path).note) == MOST_NOTE


def test_writers_at_once_leave_whole_lines(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: annotate(tmp_path, [str(i)], "n" * 500), range(80)))
    assert len((tmp_path / FILE_NAME).read_bytes().splitlines()) == 80
    assert read_annotation(tmp_path).note == "n" * 500


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    run = tmp_path / "run"
    run.mkdir()
    (run / FILE_NAME).symlink_to(target)
    with pytest.raises(HeldoutError, match="cannot be written"):
        annotate(run, ["x"], "")
    assert not target.exists()


def test_an_opening_is_acknowledged_until_that_is_withdrawn(tmp_path: Path) -> None:
    annotate(tmp_path, ["kept"], "why")
    stands = acknowledge(tmp_path, SPIKE)
    assert list(stands.acknowledged) == [SPIKE]
    assert (stands.tags, stands.note) == (["kept"], "why")
    before = stamp(tmp_path / FILE_NAME)
    assert acknowledge(tmp_path, SPIKE) == stands  # said before: nothing is written
    assert stamp(tmp_path / FILE_NAME) == before
    annotate(tmp_path, ["new"], "")
    assert read_annotation(tmp_path).acknowledged == stands.acknowledged
    assert acknowledge(tmp_path, SPIKE, withdraw=True).acknowledged == {}
    assert stamp(tmp_path / FILE_NAME) != before
    assert read_annotation(tmp_path).tags == ["new"]


@pytest.mark.parametrize(
    "other",
    [
        {"step": 58},
        {"state": "escalated"},
        {"scope": "coding"},
        {"rule": "divergence"},
        {"opened": 1_760_000_090.25},  # the same step again, after a resume
    ],
)
def test_another_opening_was_not_acknowledged(tmp_path: Path, other: dict[str, Any]) -> None:
    acknowledge(tmp_path, SPIKE)
    later = msgspec.structs.replace(SPIKE, **other)
    assert later not in read_annotation(tmp_path).acknowledged


def test_an_alert_with_a_name_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1,000"):
        acknowledge(tmp_path, msgspec.structs.replace(SPIKE, scope="x" * MOST_NAME))
    assert not (tmp_path / FILE_NAME).exists()
