"""The folder of runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from heldout.errors import RunNotFound
from heldout.store.journal import FILE_NAME
from heldout.store.runs import find_run, list_runs, open_run


def make(root: Path, name: str, written: float = 0.0) -> Path:
    """A run folder with an empty journal last written at `written`."""
    journal = root / name / "journal.jsonl"
    journal.parent.mkdir(parents=True)
    journal.touch()
    os.utime(journal, (written, written))
    return journal.parent


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    make(root, "old", 1.0)
    make(root, "new", 3.0)
    make(root, "middle", 2.0)
    return root


def test_runs_come_latest_written_first(root: Path) -> None:
    assert [folder.name for folder in list_runs(root)] == ["new", "middle", "old"]


def test_only_folders_with_a_journal_are_runs(root: Path) -> None:
    (root / "notes").mkdir()
    (root / "file").touch()
    (root / "odd" / "journal.jsonl").mkdir(parents=True)
    assert len(list_runs(root)) == 3


def test_a_missing_folder_holds_no_runs(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "absent") == []


def test_a_run_folder_is_a_folder_of_itself(root: Path) -> None:
    assert list_runs(root / "old") == [root / "old"]
    assert find_run(root / "old", "old") == root / "old"


def test_a_run_opened_from_inside_its_folder_still_has_its_name(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root / "old")
    assert find_run(Path(), "old").samefile(root / "old")


def test_a_run_is_found_by_its_name(root: Path) -> None:
    make(root, "name with spaces & <b>")
    for name in ("old", "name with spaces & <b>"):
        assert find_run(root, name) == root / name


def test_no_name_leaves_the_folder(root: Path, tmp_path: Path) -> None:
    outside = make(tmp_path, "outside")
    (root / "link").symlink_to(outside)
    (root / "journal-link").mkdir()
    (root / "journal-link" / FILE_NAME).symlink_to(outside / FILE_NAME)
    names = [
        "",
        ".",
        "..",
        "../outside",
        "old/../../outside",
        str(outside),
        "outside",
        "link",  # it leads out of the folder
        "journal-link",
        "old/",
        "OLD",
        "*",
        "old\x00",
    ]
    for name in names:
        with pytest.raises(RunNotFound):
            find_run(root, name)
    assert {folder.name for folder in list_runs(root)} == {"new", "middle", "old"}
    assert open_run(root / "link") == outside / FILE_NAME  # named outright, it is meant


def test_a_name_that_is_no_text_is_found_as_it_is_shown(root: Path) -> None:
    odd = make(root, os.fsdecode(b"odd\xff"))
    assert find_run(root, "odd?") == odd
    with pytest.raises(RunNotFound, match=r"Runs here: .*odd\?"):
        find_run(root, "missing")


def test_a_name_not_found_lists_those_there_are(root: Path, tmp_path: Path) -> None:
    with pytest.raises(RunNotFound, match=r"no run called 'odl'\. Runs here: new, middle, old"):
        find_run(root, "odl")
    with pytest.raises(RunNotFound, match="Runs here: none"):
        find_run(tmp_path / "absent", "x")


def test_a_path_means_a_journal_however_it_is_given(root: Path, tmp_path: Path) -> None:
    journal = root / "old" / "journal.jsonl"
    assert open_run(journal) == journal
    assert open_run(root / "old") == journal
    assert open_run(root) == root / "new" / "journal.jsonl"
    with pytest.raises(RunNotFound, match="absent"):
        open_run(tmp_path / "absent")
