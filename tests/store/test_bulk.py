"""Long journals read fast say what they say read line by line."""

from __future__ import annotations

import math
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from facts import at, checkpoint, evaluation, note, run, score
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.derive.clock import Clock
from heldout.derive.history import History
from heldout.derive.overview import Overview
from heldout.derive.pulse import Pulse
from heldout.records import AnyRecord, Sample, Samples, encode
from heldout.store import bulk, journal

NAMES = ["loss/step", "loss/streaming", "lr", 'a "quoted" \\ name', "é\n", "n0"]
FLOATS = st.floats(-1e6, 1e6) | st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 5e-324])
SAMPLES = st.builds(
    lambda step, values: Sample(step=step, time=at(step), values=values),
    st.integers(0, 40),
    st.dictionaries(st.sampled_from(NAMES), FLOATS, max_size=4),
)
RISING = st.lists(st.dictionaries(st.sampled_from(NAMES[:3]), FLOATS, min_size=1), max_size=30).map(
    lambda rows: [Sample(step=i, time=at(i), values=row) for i, row in enumerate(rows)]
)
OTHERS = st.sampled_from(
    [
        *([each] for each in (run(), run(step=7, time=at(50)), note(9, "finished"), checkpoint(4))),
        evaluation(5, score(60)),
    ]
)
RECORDS = st.lists(st.lists(SAMPLES, max_size=12) | RISING | OTHERS, max_size=8).map(
    lambda parts: [record for part in parts for record in part]
)
ONE = b'{"type":"sample","step":3,"time":1,"values":{"lr":1}}'
BAD = [
    b"",
    b"{",
    b"\xff",
    b'{"type":"sample"',
    b'{"type":"sample","step":"x"}',
    b'{"type":"later"}',
    b'{"type":"sample","step":9223372036854775808,"time":1,"values":{"lr":1}}',
    b'{"type":"sample","step":-1,"time":1,"values":{"lr":1}}',
    b'{"type":"sample","step":3,"time":1,"values":{"\xff":1}}',
    b'{"type":"sample","step":3,"time":1,"new":' + b"[" * 9000 + b"]" * 9000 + b',"values":{}}',
    b'{"type":"sample","step":3,"time":1,"values":{"lr":null}}',
    ONE + ONE,
    ONE.replace(b",", b",\r"),
    ONE.replace(b",", b",\n"),
    ONE + b"\r",
]


def told(records: list[AnyRecord | Samples]) -> list[Any]:
    """All that the folds make of records, in a form that compares NaN."""
    history, clock, overview, pulse = History.of(records), Clock(), Overview(), Pulse()
    for record in records:
        clock.add(record)
        overview.add(record)
        pulse.add(record)
    columns = {**history.columns.series, "the clock": clock.seconds}
    return [
        {n: [s.steps.tolist(), list(map(repr, s.values))] for n, s in sorted(columns.items())},
        sorted((name, repr(value)) for name, value in history.latest.items()),
        [history.step, history.time, history.state],
        repr([history.evals, history.items, history.checkpoints, history.notes, history.run]),
        repr(overview.summary()),
        [pulse.step_seconds, pulse.longest_pause, pulse.history.step, pulse.history.time],
    ]


@settings(max_examples=300)
@given(RECORDS, st.lists(st.tuples(st.integers(0, 99), st.sampled_from(BAD)), max_size=4))
def test_every_fold_is_the_same_as_line_by_line(
    records: list[AnyRecord], bad: list[tuple[int, bytes]]
) -> None:
    """Also of lines that are none, and of what a decoder of many lines would take together."""
    lines = [encode(record) for record in records]
    for place, line in bad:
        lines.insert(place, line)
    data = b"".join(line + b"\n" for line in lines)
    plain = list(journal.decode_lines(data))
    found = bulk.gathered(BytesIO(data), 0, len(data))
    assert told(found) == told(plain)
    assert told(plain) == told(list(records)) or any(line.startswith(ONE[:9]) for _, line in bad)


@given(RECORDS)
def test_a_bare_reading_has_the_steps_and_times(records: list[AnyRecord]) -> None:
    data = b"".join(encode(record) + b"\n" for record in records)
    found = bulk.gathered(BytesIO(data), 0, len(data), bare=True)
    whole, bare = Pulse(), Pulse()
    for record in records:
        whole.add(record)
    for each in found:
        bare.add(each)
    assert bare.step_seconds == whole.step_seconds
    assert bare.longest_pause == whole.longest_pause
    assert [bare.history.step, bare.history.time, bare.history.ended] == [
        whole.history.step,
        whole.history.time,
        whole.history.ended,
    ]


def written(path: Path, steps: int, *, torn: bytes = b"") -> list[AnyRecord]:
    records: list[AnyRecord] = [run()]
    for step in range(1, steps):
        records.append(Sample(step=step, time=at(step), values={"a": step / 7, "b": -step / 3}))
        if step % 10 == 0:
            records.append(Sample(step=step, time=at(step), values={"lr": 1 / step}))
        if step % 1000 == 0:
            records.append(checkpoint(step))
    path.write_bytes(b"".join(encode(record) + b"\n" for record in records) + torn)
    return records


def test_lines_of_two_kinds_that_alternate_stay_few_columns(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    written(path, 999)
    found = bulk.decoded(path, 0, path.stat().st_size)
    assert [type(record).__name__ for record in found] == ["Run", "Samples"]
    (samples,) = (record for record in found if isinstance(record, Samples))
    assert [table.names for table in samples.tables] == [("a", "b"), ("lr",)]
    assert len(samples.steps) == 998 + 99


def test_steps_that_are_logged_are_put_into_the_same_columns(tmp_path: Path) -> None:
    records: list[AnyRecord] = [
        Sample(
            step=i, time=at(i), values={"a": i / 1, "b": -i / 3} | ({} if i % 7 else {"lr": i / 7})
        )
        for i in range(1, 3000)
    ]
    data = b"".join(encode(record) + b"\n" for record in records)
    found = bulk.gathered(BytesIO(data), 0, len(data))
    assert len(found) == 1
    assert told(found) == told(list(records))


@pytest.mark.process
@pytest.mark.parametrize("limit", [None, 1_100_000])
@pytest.mark.parametrize("torn", [b"", b'{"type":"sample","step":99999999,"ti'])
def test_processes_of_their_own_find_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: bytes, limit: int | None
) -> None:
    path = tmp_path / "journal.jsonl"
    records = written(path, 12_000, torn=torn)
    monkeypatch.setattr(bulk, "MANY_BYTES", 1 << 18)
    monkeypatch.setattr(bulk, "_cores", lambda: 3)
    found: list[AnyRecord | Samples] = []
    offset = 0
    while True:
        more, end = bulk.read(path, offset, limit)
        if end == offset:
            break
        found += more
        offset = end
    assert offset == path.stat().st_size - len(torn)
    assert told(found) == told(list(records))
    assert limit or len(found) < 100  # what is left after a limit may be little


@pytest.mark.process
def test_where_no_process_can_be_started_this_one_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.jsonl"
    records = written(path, 12_000)
    monkeypatch.setattr(bulk, "MANY_BYTES", 1 << 18)
    monkeypatch.setattr(bulk, "_cores", lambda: 2)
    for broken in ("/nowhere/python", sys.executable):
        monkeypatch.setattr(sys, "executable", broken)
        monkeypatch.setenv("PYTHONHOME", "/nowhere")  # ends a process that does start
        assert told(bulk.read(path)[0]) == told(list(records))


@pytest.mark.process
def test_nothing_in_the_folder_it_is_started_in_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.jsonl"
    records = written(path, 12_000)
    for module in ("pickle", "heldout", "msgspec"):
        (tmp_path / f"{module}.py").write_text("open('was-run', 'w')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bulk, "MANY_BYTES", 1 << 18)
    monkeypatch.setattr(bulk, "_cores", lambda: 2)
    monkeypatch.setattr(bulk, "decoded", None)  # not by this process
    assert told(bulk.read(path)[0]) == told(list(records))
    assert not (tmp_path / "was-run").exists()


def test_little_is_read_record_by_record(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    records = written(path, 50)
    assert bulk.read(path) == journal.read(path) == (records, path.stat().st_size)
    assert bulk.read(path, path.stat().st_size) == ([], path.stat().st_size)


def test_a_file_without_a_whole_line_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"x" * (bulk.FEW_BYTES + 5))
    assert bulk.read(path) == ([], 0)
    path.write_bytes(b"x" * (bulk.FEW_BYTES + 5) + b"\n" + encode(note(1, "finished")) + b"\nhalf")
    found, end = bulk.read(path)
    assert found == [note(1, "finished")]
    assert end == path.stat().st_size - len(b"half")


@pytest.mark.process
@pytest.mark.parametrize("half", [1, bulk.FEW_BYTES, 3 * bulk.FEW_BYTES])
def test_a_line_that_is_being_written_hides_none_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, half: int
) -> None:
    path = tmp_path / "journal.jsonl"
    monkeypatch.setattr(bulk, "MANY_BYTES", 1 << 18)
    monkeypatch.setattr(bulk, "_cores", lambda: 4)
    records = [*written(path, 8000), note(8000, "finished")]
    whole = b"".join(encode(record) + b"\n" for record in records)
    path.write_bytes(whole + b"x" * half)
    found, end = bulk.read(path)
    assert end == len(whole)
    assert told(found) == told(list(records))
