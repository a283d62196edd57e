"""The journal: what was recorded is in the file, whatever happens to the process or the disk."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from facts import checkpoint, note, run, sample
from hypothesis import given
from hypothesis import strategies as st

from heldout.errors import JournalBusy, JournalError
from heldout.records import Note, Run, Sample, encode
from heldout.store.journal import Journal, read


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "first" / "journal.jsonl"


@contextmanager
def opened(path: Path) -> Iterator[Journal]:
    journal = Journal(path)
    try:
        yield journal
    finally:
        journal.close()


@contextmanager
def disk_full_after(num_bytes: int) -> Iterator[None]:
    """Let the kernel refuse every byte of a file beyond `num_bytes`, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_was_appended_is_read_back_in_order(path: Path) -> None:
    facts = [run(), sample(1), note(1, "failure", "two\nlines \u2028 and \x00"), checkpoint(1)]
    with opened(path) as journal:
        assert journal.append(facts[:1])
        assert journal.append(facts[1:], durable=True)
        assert read(path)[0] == facts  # a reader needs no close and no flush
    assert read(path) == (facts, path.stat().st_size)


def test_a_reader_goes_on_from_where_it_was(path: Path) -> None:
    with opened(path) as journal:
        journal.append([sample(1), sample(2)])
        first, offset = read(path)
        assert read(path, offset) == ([], offset)
        journal.append([sample(3)])
        second, end = read(path, offset)
    assert [fact.step for fact in (*first, *second)] == [1, 2, 3]
    assert read(path, end) == ([], end)


@given(limit=st.integers(1, 300))
def test_reading_in_parts_gives_each_record_once(
    tmp_path_factory: pytest.TempPathFactory, limit: int
) -> None:
    path = tmp_path_factory.mktemp("parts") / "journal.jsonl"
    facts = [sample(1), note(1, "t", "é" * 99), sample(2, float("inf"))]
    path.write_bytes(b"".join(encode(fact) + b"\n" for fact in facts) + b'{"type":"sam')
    found, offset = read(path, 0, limit)
    while offset != (end := read(path, offset, limit)[1]):
        found += read(path, offset, limit)[0]
        offset = end
    assert (found, offset) == read(path)
    assert found == facts


@given(cut=st.integers(0, 200))
def test_a_file_cut_anywhere_gives_its_whole_lines_and_later_the_rest(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    facts = [sample(1), note(1, "t", "é" * 9), sample(2, float("nan"))]
    data = b"".join(encode(fact) + b"\n" for fact in facts)
    path = tmp_path_factory.mktemp("cut") / "journal.jsonl"
    path.write_bytes(data[:cut])
    before, offset = read(path)
    assert len(before) == data[:cut].count(b"\n")
    assert data[:offset].endswith(b"\n") or not offset
    path.write_bytes(data)
    assert repr(before + read(path, offset)[0]) == repr(facts)


def test_a_damaged_line_hides_no_other(path: Path) -> None:
    with opened(path) as journal:
        journal.append([sample(1)])
    damage = (b"\xff\xfe", b"{}", b"", b'{"type":"tomorrow","step":1}', encode(sample(2))[:-9])
    with path.open("ab") as file:
        file.writelines(line + b"\n" for line in damage)
        file.write(encode(sample(3)) + b"\n")
    facts, offset = read(path)
    assert facts == [sample(1), sample(3)]
    assert offset == path.stat().st_size


@pytest.mark.parametrize("torn", [b"{", b'{"type":"sample","step":2', b"x" * 200_000])
def test_a_torn_last_line_is_cut_when_the_journal_is_opened_again(path: Path, torn: bytes) -> None:
    with opened(path) as journal:
        journal.append([sample(1)])
    with path.open("ab") as file:
        file.write(torn)
    with opened(path) as journal:
        journal.append([sample(2)])
    assert path.read_bytes() == encode(sample(1)) + b"\n" + encode(sample(2)) + b"\n"


@pytest.mark.parametrize("content", [b"", b"{", encode(sample(1)) + b"\n"])
def test_opening_keeps_exactly_the_whole_lines(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    Journal(path).close()
    assert path.read_bytes() == content[: content.rfind(b"\n") + 1]


def test_a_second_writer_is_refused_and_changes_nothing(path: Path) -> None:
    with opened(path) as journal:
        journal.append([sample(1)])
        before = path.read_bytes()
        with pytest.raises(JournalBusy, match=r"another process.*output\.run"):
            Journal(path)
        assert path.read_bytes() == before
        assert journal.append([sample(2)])
    with opened(path) as journal:  # once the first is gone the next may write
        journal.append([sample(3)])
    assert [fact.step for fact in read(path)[0]] == [1, 2, 3]


def test_a_place_where_no_journal_can_be_is_a_journal_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "journal.jsonl", tmp_path):
        with pytest.raises(JournalError, match="cannot be opened"):
            Journal(path)


KILLED = """
import sys
from pathlib import Path
from typing import Any
from facts import sample
from heldout.store.journal import Journal
journal = Journal(Path(sys.argv[1]))
step = 0
while True:
    step += 1
    journal.append([sample(step), sample(step + 1)])
    print(step, flush=True)
"""


def test_a_process_killed_at_any_moment_has_lost_nothing_it_recorded(path: Path) -> None:
    paths = {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(command, env=paths, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = [int(process.stdout.readline()) for _ in range(500)]
        process.send_signal(signal.SIGKILL)
        printed += [int(line) for line in process.stdout.read().splitlines() if line]
    data = path.read_bytes()
    facts, offset = read(path)
    written = [fact.step for fact in facts if isinstance(fact, Sample)][::2]
    assert written[: len(printed)] == printed
    assert len(written) <= len(printed) + 1  # the last may not have got as far as printing
    # a kill inside `write` may end it at a page's border: what is cut there was never announced
    assert len(data) - offset < 2 * len(data) / len(written), "no more than one write is torn"


def test_a_full_disk_loses_count_of_nothing_and_leaves_no_half_line(path: Path) -> None:
    with opened(path) as journal:
        assert journal.append([sample(1)])
        whole = path.read_bytes()
        with disk_full_after(len(whole) + 30):  # room for part of a line
            assert not journal.append([sample(2), sample(3)])
            assert path.read_bytes() == whole
            assert not journal.append([sample(4)])
            assert journal.lost == 3
        assert journal.append([sample(5)])
        assert journal.lost == 0
        assert journal.append([sample(6)])
    facts, _ = read(path)
    assert [fact.step for fact in facts] == [1, 5, 5, 6]
    assert isinstance(facts[1], Note)
    assert facts[1].topic == "lost"
    assert facts[1].text.startswith("3 records could not be written")


@pytest.mark.parametrize("written", [0, 7])
def test_a_disk_that_refuses_is_not_raised_to_the_training_loop(
    path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """Also when undoing the half-written line is refused, as on a disk that has gone away."""

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with opened(path) as journal:
        journal.append([sample(1)])
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", (lambda *_: written) if written else refuse)
            patch.setattr(os, "ftruncate", refuse)
            patch.setattr(os, "fsync", refuse)
            assert not journal.append([sample(2)], durable=True)
            journal.sync()
        assert journal.lost == 1


def test_a_half_line_that_could_not_be_undone_swallows_no_later_row(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with opened(path) as journal:
        journal.append([sample(1)])
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda file, data: real(file, data[:7]))
            patch.setattr(os, "ftruncate", refuse)
            journal.append([sample(2)])
        assert journal.append([sample(3)])
    facts, _ = read(path)
    assert [type(fact) for fact in facts] == [Sample, Note, Sample]
    assert facts[-1] == sample(3)


def test_appending_nothing_is_no_trouble(path: Path) -> None:
    with opened(path) as journal:
        assert list(journal.append([])) == []
        with disk_full_after(0):
            journal.append([sample(1)])
        journal.append([])
    assert len(read(path)[0]) <= 1


def test_a_closed_journal_writes_into_no_other_file(path: Path, tmp_path: Path) -> None:
    journal = Journal(path)
    journal.close()
    other = tmp_path / "other"
    with other.open("wb") as file:  # takes the file number the journal had
        assert not journal.append([sample(1)])
        assert journal.lost == 1
        journal.close()  # a second time is no error, and closes nobody else's file
        file.write(b"mine")
    assert other.read_bytes() == b"mine"


def test_a_value_that_is_no_json_is_recorded_as_its_text(path: Path) -> None:
    with opened(path) as journal:
        assert journal.append([run(config={"folder": Path("somewhere")})])
    (fact,) = read(path)[0]
    assert isinstance(fact, Run)
    assert fact.config == {"folder": "somewhere"}


def test_a_value_that_holds_itself_is_refused_without_a_word_to_the_training_loop(
    path: Path,
) -> None:
    config: dict[str, Any] = {}
    config["me"] = config
    journal = Journal(path)
    assert not journal.append([Run(id="r", time=0.0, model="m", total_steps=1, config=config)])
    assert journal.lost == 1


def test_a_name_that_is_not_unicode_is_recorded(path: Path) -> None:
    """File names on Linux are bytes; Python reads the others as lone surrogates."""
    with opened(path) as journal:
        assert journal.append([note(1, "failure", "no such file: \udcff.bin")])
    (fact,) = read(path)[0]
    assert isinstance(fact, Note)
    assert fact.text.endswith(".bin")
