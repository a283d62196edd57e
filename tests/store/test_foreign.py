"""Logs that heldout did not write: what is read of them, however strange or torn they are."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heldout.derive.history import History
from heldout.errors import DataError
from heldout.names import metric, named
from heldout.records import AnyRecord, Checkpoint, Metric, Note, Run, Sample, decode, encode
from heldout.store.foreign import open_any
from heldout.store.numbers import step_of
from heldout.store.reader import Row
from heldout.store.timeline import Timeline

LOG = [
    {"step": 10, "epoch": 0.5, "loss": 2.0, "grad_norm": 3.0, "learning_rate": 5e-5},
    {"step": 20, "epoch": 1.0, "loss": 1.5, "grad_norm": 2.0, "learning_rate": 1e-4},
    {"step": 20, "epoch": 1.0, "eval_loss": 1.4, "eval_accuracy": 0.5, "eval_runtime": 3.0},
    {"step": 30, "epoch": 1.5, "loss": 1.0, "grad_norm": 1.0, "learning_rate": 0.0},
]
SUMMARY = {"step": 30, "epoch": 1.5, "train_runtime": 9.0, "train_loss": 1.5, "total_flos": 1e9}


def state(rows: list[Any], **changes: Any) -> dict[str, Any]:
    return {"global_step": 30, "max_steps": 40, "logging_steps": 10, "log_history": rows} | changes


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def of(records: list[AnyRecord], kind: type) -> list[Any]:
    return [record for record in records if isinstance(record, kind)]


def said(records: list[AnyRecord]) -> list[str]:
    return [note.text for note in of(records, Note) if note.topic == "data"]


# Hugging Face's trainer_state.json


def test_a_trainer_state_becomes_a_run_with_heldouts_own_names(tmp_path: Path) -> None:
    records = open_any(write(tmp_path / "my-run" / "trainer_state.json", state(LOG)))
    (run,) = of(records, Run)
    assert (run.id, run.source, run.total_steps) == ("my-run", "trainer_state", 40)
    assert run.training == {"logging_steps": 10, "learning_rate": 1e-4, "warmup_steps": 20}
    samples = of(records, Sample)
    assert [each.step for each in samples] == [10, 20, 30]
    assert samples[1].values == {
        "epoch": 1.0,
        "loss/logged": 1.5,
        "grad/norm": 2.0,
        "learning_rate": 1e-4,
        "learning_rate/logged": 1e-4,
        "loss/trainer_eval": 1.4,
        "eval/accuracy": 0.5,
        "eval/runtime": 3.0,
    }
    times = [record.time for record in records if not isinstance(record, Metric)]
    assert times == sorted(times)
    assert said(records) == []
    assert not [note for note in of(records, Note) if note.topic == "finished"]
    metrics = {each.name: each for each in of(records, Metric)}
    assert set(metrics) == {name for each in samples for name in each.values}
    assert metrics["eval/accuracy"].direction == "higher"
    assert [decode(encode(record)) for record in records] == records


@pytest.mark.parametrize(
    ("rows", "changes", "ended"),
    [
        (LOG, {"max_steps": 30}, True),
        (LOG, {"max_steps": 31}, False),
        (LOG, {"max_steps": 0}, False),
        ([*LOG, SUMMARY], {}, True),  # stopped early: the Trainer says its last words all the same
        ([SUMMARY, *LOG], {}, False),  # trained on after it had ended
    ],
)
def test_it_is_finished_when_the_log_says_so(
    tmp_path: Path, rows: list[Any], changes: dict[str, Any], ended: bool
) -> None:
    records = open_any(write(tmp_path / "s.json", state(rows, **changes)))
    history = History.of(records)
    assert history.ended == ("finished" if ended else "")
    assert "loss/logged" in history.columns.series
    assert not any("train_loss" in name or "runtime" in name for name in history.latest)


def test_the_summary_tells_of_the_run_and_of_no_step(tmp_path: Path) -> None:
    records = open_any(write(tmp_path / "s.json", state([*LOG, SUMMARY])))
    assert records[0].environment["train_runtime"] == "9.0"
    assert [each.step for each in of(records, Sample)] == [10, 20, 30]


def test_bare_nan_and_infinity_are_numbers(tmp_path: Path) -> None:
    text = (
        '{"log_history": [{"step": 1, "loss": NaN, "grad_norm": Infinity, "eval_loss": -Infinity}]}'
    )
    (sample,) = of(open_any(write(tmp_path / "s.json", text)), Sample)
    assert math.isnan(sample.values["loss/logged"])
    assert sample.values["grad/norm"] == math.inf
    assert sample.values["loss/trainer_eval"] == -math.inf


def test_what_is_no_number_is_left_out_and_told(tmp_path: Path) -> None:
    rows = [
        {"step": 1, "loss": "NaN", "left": "59h", "flag": True, "none": None, "many": [1]},
        "not a row",
        {"loss": 3.0},
        {"step": 2.5, "loss": 3.0},
        {"step": True, "loss": 3.0},
        {"step": 1e300, "loss": 3.0},
        {"step": 2.0, "loss": "0.5", "left": "58h", "huge": 10**400},
    ]
    records = open_any(write(tmp_path / "s.json", state(rows)))
    samples = of(records, Sample)
    assert [each.step for each in samples] == [1, 2]
    assert math.isnan(samples[0].values["loss/logged"])
    assert samples[0].values["flag"] == 1.0
    assert samples[1].values == {"loss/logged": 0.5}
    told = "\n".join(said(records))
    assert "5 rows of log_history left out: row 2 is 'not a row'" in told
    assert "'left' holds no number 2 times (first in row 1: '59h')" in told
    for name in ("none", "many", "huge"):
        assert f"{name!r} holds no number 1 times" in told
    assert "2 numbers are written as text" in told


def test_a_cut_file_gives_every_whole_row_and_says_where_it_stops(tmp_path: Path) -> None:
    text = json.dumps(state(LOG), indent=2)
    cut = text.index('"loss": 1.0') + 9
    records = open_any(write(tmp_path / "s.json", text[:cut]))
    assert [each.step for each in of(records, Sample)] == [10, 20]
    assert "loss/trainer_eval" in of(records, Sample)[1].values
    assert records[0].total_steps == 40
    (told,) = said(records)
    assert told == f"s.json stops making sense at byte {text.rindex('}', 0, cut) + 2:,} of {cut:,}"


@given(st.integers(0, 900), st.sampled_from([None, 1, 2]))
def test_a_file_cut_anywhere_gives_a_prefix_of_its_rows_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, cut: int, indent: int | None
) -> None:
    text = json.dumps(state([*LOG, SUMMARY]), indent=indent)
    path = write(tmp_path_factory.mktemp("cut") / "trainer_state.json", text[:cut])
    whole = of(open_any(write(path.parent / "whole.json", text)), Sample)
    if cut < text.index("}", text.index("log_history")) + 1:
        with pytest.raises(DataError, match=path.name):
            open_any(path)
        return
    found = of(open_any(path), Sample)
    steps = [each.step for each in found]
    assert steps == [each.step for each in whole][: len(steps)]
    for ours, theirs in zip(found, whole, strict=False):
        assert ours.values.items() <= theirs.values.items()
    assert bool(said(open_any(path))) == (cut < len(text))


def test_a_number_cut_in_the_middle_is_no_number(tmp_path: Path) -> None:
    text = '{"log_history": [{"step": 1, "loss": 1.0}], "max_steps": 1234'
    records = open_any(write(tmp_path / "s.json", text))
    assert records[0].total_steps == 0
    assert len(said(records)) == 1


def test_damage_in_the_middle_ends_the_reading_there(tmp_path: Path) -> None:
    path = write(tmp_path / "s.json", state(LOG))
    data = path.read_bytes().replace(b'"step": 30', b'"st\xff\x00: 30')
    path.write_bytes(data)
    records = open_any(path)
    assert [each.step for each in of(records, Sample)] == [10, 20]
    assert f"of {len(data):,}" in said(records)[0]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("{}", "nothing readable"),
        ('{"log_history": []}', "0 rows and none with a step and a number"),
        ('{"log_history": [{"epoch": 1}]}', "1 rows and none with a step"),
        ('{"a": 1, "b": {"log_history": 1}}', "found a, b"),
        ("[[[[", "nothing readable"),
        ("[" * 5000, "log_history"),
        ('{"global_step": ' + "1" * 5000 + "}", "log_history"),
        ("", "starts with"),
        ("hello", "starts with"),
    ],
)
def test_a_file_with_nothing_usable_is_one_error_that_says_what_was_found(
    tmp_path: Path, content: str, found: str
) -> None:
    path = write(tmp_path / "trainer_state.json", content)
    if found == "starts with":
        path = path.rename(tmp_path / "x.json")
    with pytest.raises(DataError) as caught:
        open_any(path)
    assert str(path) in str(caught.value)
    if content:
        assert found in str(caught.value)


def test_the_one_evaluation_set_is_the_evaluation_loss_and_two_are_not(tmp_path: Path) -> None:
    one = [{"step": 1, "loss": 1.0, "eval_yahma/alpaca-cleaned_loss": 0.5}]
    values = of(open_any(write(tmp_path / "one.json", state(one))), Sample)[0].values
    assert values["loss/trainer_eval"] == values["eval/yahma/alpaca_cleaned_loss"] == 0.5
    two = [{"step": 1, "loss": 1.0, "eval_a_loss": 0.5, "eval_b_loss": 0.6}]
    values = of(open_any(write(tmp_path / "two.json", state(two))), Sample)[0].values
    assert values == {"loss/logged": 1.0, "eval/a_loss": 0.5, "eval/b_loss": 0.6}


def test_no_two_numbers_of_a_log_share_a_name() -> None:
    ours = named(
        ["loss", "train_loss", "Loss", "loss/logged", "A b", "a-b", "!!", "??", "eval_loss"]
    )
    flat = [name for names in ours.values() for name in names]
    assert len(flat) == len(set(flat))
    assert ours["loss/logged"] == ("loss/logged",)
    assert set(ours["A b"] + ours["a-b"]) == {"a_b", "a_b_2"}


# A folder of checkpoints


def output(folder: Path, steps: list[int], last: int = 30) -> Path:
    for step in steps:
        rows = [row for row in LOG if row["step"] <= step]
        content = state(rows, global_step=min(step, last))
        write(folder / f"checkpoint-{step}" / "trainer_state.json", content)
    return folder


def test_a_folder_of_checkpoints_is_read_from_the_newest(tmp_path: Path) -> None:
    folder = output(tmp_path / "out", [10, 20, 30])
    (folder / "checkpoint-best").mkdir()
    records = open_any(folder)
    assert records[0].id == "out"
    assert [each.step for each in of(records, Sample)] == [10, 20, 30]
    saved = [(each.step, each.path) for each in of(records, Checkpoint)]
    assert saved == [(step, f"checkpoint-{step}") for step in (10, 20, 30)]
    order = [r.step for r in records if isinstance(r, Sample | Checkpoint)]
    assert order == sorted(order)
    one = open_any(folder / "checkpoint-20")
    assert [each.step for each in of(one, Checkpoint)] == [10, 20]
    assert "checkpoint-30: of another run" in said(one)[0]


def test_a_torn_newest_state_gives_way_to_the_one_before(tmp_path: Path) -> None:
    folder = output(tmp_path / "out", [10, 20, 30])
    torn = folder / "checkpoint-30" / "trainer_state.json"
    torn.write_text(torn.read_text()[:40])
    records = open_any(folder)
    assert [each.step for each in of(records, Sample)] == [10, 20]
    assert "checkpoint-30/trainer_state.json: no 'log_history'" in said(records)[0]
    for step in (10, 20):
        (folder / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    with pytest.raises(DataError, match="checkpoint-10"):
        open_any(folder)


def test_the_folders_own_state_is_read_unless_a_checkpoint_is_further(tmp_path: Path) -> None:
    folder = output(tmp_path / "out", [10, 20, 30])
    own = write(folder / "trainer_state.json", state([*LOG, SUMMARY]))
    assert open_any(folder)[0].environment["train_runtime"] == "9.0"
    write(own, state([LOG[0], SUMMARY], global_step=10))  # continued since
    assert [each.step for each in of(open_any(folder), Sample)] == [10, 20, 30]


def test_a_checkpoint_before_the_first_row_is_there(tmp_path: Path) -> None:
    folder = output(tmp_path / "out", [30])
    (folder / "checkpoint-5").mkdir()
    records = open_any(folder)
    assert [each.step for each in of(records, Checkpoint)] == [5, 30]
    kept = [each for each in records if isinstance(each, Sample | Checkpoint)]
    assert [each.step for each in kept] == [5, 10, 20, 30, 30]


# CSV


@pytest.mark.parametrize(
    "text",
    [
        "step,loss,learning_rate\n1,2.0,1e-4\n2,1.5,1e-4\n3,nan,\n",
        "global_step;train_loss;lr\r\n1;2,0;1e-4\r\n2;1,5;1e-4\r\n3;NaN;\r\n",
        '"Step"\t"Train/Loss"\t"LR"\n1\t2\t0.0001\n\n2\t 1.5\t1E-4\n3\tnan\t\n',
        "\ufefftrain/global_step,train/loss,train/learning_rate\n1,2,1e-4\n2,1.5,1e-4\n3,NaN,\n",
        "iteration|loss|lr\n3|nan|\n2|1.5|1e-4\n1|2|1e-4\n",
    ],
)
def test_a_table_is_read_whatever_separates_its_cells(tmp_path: Path, text: str) -> None:
    records = open_any(write(tmp_path / "log.csv", text))
    samples = of(records, Sample)
    assert [each.step for each in samples] == [1, 2, 3]
    assert [each.values["loss/logged"] for each in samples[:2]] == [2.0, 1.5]
    assert math.isnan(samples[2].values["loss/logged"])
    assert samples[0].values["learning_rate"] == 1e-4
    assert "learning_rate" not in samples[2].values
    assert said(records) == []
    assert records[0].learning_rate == "constant"


def test_cells_that_are_no_number_are_named_by_line_and_column(tmp_path: Path) -> None:
    text = "step,loss,note\n1,2.0,a\n,1.0,b\n3,1.0,c\n4,inf,7\n5\n"
    records = open_any(write(tmp_path / "log.csv", text))
    assert [each.step for each in of(records, Sample)] == [1, 3, 4]
    assert of(records, Sample)[2].values == {"loss/logged": math.inf, "note": 7.0}
    assert said(records) == [
        "1 rows left out: line 3 (step '')",
        "'note' holds no number 2 times (first in line 2: 'a'); left out",
    ]


def test_a_table_without_steps_counts_its_rows_and_says_so(tmp_path: Path) -> None:
    records = open_any(write(tmp_path / "log.csv", "epoch,loss,val_loss\n1,2.0,2.1\n2,1.5,1.6\n"))
    assert [each.step for each in of(records, Sample)] == [1, 2]
    assert "loss/trainer_eval" in of(records, Sample)[0].values
    assert "no column of steps" in said(records)[0]


def test_unix_times_of_a_table_are_kept(tmp_path: Path) -> None:
    text = "step,timestamp,loss\n1,1700000000,2\n2,1700000060,1\n"
    assert [each.time for each in of(open_any(write(tmp_path / "l.csv", text)), Sample)] == [
        1700000000.0,
        1700000060.0,
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "the file is empty"),
        ("1,2\n2,3\n", ":1: no header: the first line is '1, 2'"),
        ("step,loss\n", "0 rows under the header step, loss"),
        ("step,loss\nx,y\n", "1 rows under the header"),
        ('step,loss\n1,"' + "x" * 200_000, "no table"),
    ],
)
def test_a_table_with_nothing_usable_is_one_error(tmp_path: Path, text: str, found: str) -> None:
    path = write(tmp_path / "log.csv", text)
    with pytest.raises(DataError) as caught:
        open_any(path)
    assert str(path) in str(caught.value)
    assert found in str(caught.value)


def test_a_log_without_a_loss_says_what_it_has(tmp_path: Path) -> None:
    records = open_any(write(tmp_path / "log.csv", "step,kl,reward\n1,2,3\n"))
    assert "no number is known as a loss (loss, train/loss, train_loss, ...); found kl, reward" in (
        said(records)
    )


# Which reader


def test_a_journal_goes_on_through_its_own_reader(tmp_path: Path) -> None:
    run = Run(id="r", time=1.0, model="m", total_steps=3)
    lines = [encode(run), encode(Sample(step=1, time=2.0, values={"loss/step": 1.0}))]
    journal = tmp_path / "runs" / "r" / "journal.jsonl"
    journal.parent.mkdir(parents=True)
    journal.write_bytes(b"\n".join(lines) + b"\n")
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(journal.read_bytes())
    for path in (journal, journal.parent, tmp_path / "runs", copy):
        assert open_any(path)[0] == run


@pytest.mark.parametrize("name", ["nothing", "folder", "file.bin"])
def test_what_is_no_log_is_an_error_that_says_what_can_be_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x.txt").write_text("x")
    (tmp_path / "file.bin").write_bytes(b"\x00\x01")
    with pytest.raises(DataError) as caught:
        open_any(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    if name != "nothing":
        assert "trainer_state.json" in str(caught.value)


# Rows in the order of steps


def line(rows: list[tuple[int, dict[str, float]]]) -> Timeline:
    timeline = Timeline()
    for step, values in rows:
        timeline.add(Row(step, values))
    return timeline


def test_a_row_that_says_otherwise_at_an_earlier_step_is_a_resume() -> None:
    found = line(
        [
            (1, {"loss": 5.0, "eval": 1.0}),
            (2, {"loss": 4.0}),
            (3, {"loss": 3.0, "eval": 2.0}),
            (2, {"loss": 4.5}),
        ]
    )
    assert [(row.step, dict(row.values)) for row in found.rows()] == [
        (1, {"loss": 5.0, "eval": 1.0}),
        (2, {"loss": 4.5}),
    ]
    assert found.resumes == [(3, 2)]


def test_rows_that_come_late_take_their_place() -> None:
    found = line(
        [
            (10, {"loss": 5.0, "epoch": 1.0}),
            (20, {"loss": 4.0, "epoch": 2.0}),
            (10, {"eval": 1.0, "epoch": 1.0}),
            (15, {"eval": 2.0, "epoch": 1.5}),
            (20, {"eval": math.nan, "epoch": 2.0}),
        ]
    )
    assert [row.step for row in found.rows()] == [10, 15, 20]
    assert found.resumes == []
    assert next(found.rows()).values == {"loss": 5.0, "epoch": 1.0, "eval": 1.0}


@given(st.lists(st.tuples(st.integers(0, 12), st.floats(allow_nan=True)), max_size=40))
def test_one_series_ends_as_history_would_leave_it(pairs: list[tuple[int, float]]) -> None:
    history = History()
    for step, value in pairs:
        history.add(Sample(step=step, time=0.0, values={"x": value}))
    found = line([(step, {"x": value}) for step, value in pairs])
    last: dict[int, float] = {}
    for step, value in pairs:  # what was said again unchanged does not undo what follows it
        same = step in last and (
            last[step] == value or (value != value and last[step] != last[step])
        )
        if not same:
            last = {at: old for at, old in last.items() if at < step} | {step: value}
    ours = [(row.step, row.values["x"]) for row in found.rows()]
    assert repr(ours) == repr(sorted(last.items()))
    series = history.columns.get("x")
    assert {int(step) for step in series.steps} <= {step for step, _ in ours}


def test_time_never_falls() -> None:
    timeline = Timeline()
    for step, time in ((1, 5.0), (2, 3.0), (3, None), (4, 9.0)):
        timeline.add(Row(step, {"x": 1.0}, time))
    assert [row.time for row in timeline.rows()] == [5.0, 5.0, 5.0, 9.0]


@pytest.mark.parametrize("value", [3, 3.0, "3", "3.0"])
def test_a_step_may_be_spelled_in_many_ways(value: Any) -> None:
    assert step_of(value) == 3


@pytest.mark.parametrize("value", [-1, 2.5, True, math.nan, math.inf, "x", None, 2**53])
def test_what_is_no_step_is_none(value: Any) -> None:
    assert step_of(value) is None


# What other tools call a number


def latest(path: Path, text: str) -> tuple[dict[str, float], list[AnyRecord]]:
    """The numbers of the last row of a table, and all records."""
    records = open_any(write(path, text))
    return dict(of(records, Sample)[-1].values), records


def test_epochs_are_the_steps_of_a_table_with_one_row_an_epoch(tmp_path: Path) -> None:
    header = "epoch,accuracy,learning_rate,loss,val_accuracy,val_loss\n"
    first = "0,0.5,1e-4,2.0,0.4,2.1\n1,0.6,2e-4,1.5,0.5,1.6\n2,0.7,1e-4,1.0,0.6,1.1\n"
    again = "0,0.5,1e-4,2.0,0.4,2.2\n1,0.6,2e-4,1.4,0.5,1.5\n"
    values, records = latest(tmp_path / "log.csv", header + first + again)
    assert [each.step for each in of(records, Sample)] == [0, 1]
    assert (values["loss/logged"], values["loss/trainer_eval"]) == (1.4, 1.5)
    assert (values["eval/accuracy"], values["accuracy"], values["epoch"]) == (0.5, 0.6, 1.0)
    assert said(records) == [
        "no column of steps: one row an epoch, so steps are epochs here",
        "it holds 2 runs, one behind the other (the steps begin again at 0): the last one is judged, "
        "2 rows",
    ]
    for cells in (["0.5", "1.0", "1.5"], ["1", "1", "2"], ["1", "3", "2"], ["1", "x", "2"]):
        rows = [f"{cell},{i}" for i, cell in enumerate(cells)]
        _, records = latest(tmp_path / "log.csv", "\n".join(["epoch,loss", *rows]))
        assert [each.step for each in of(records, Sample)] == [1, 2, 3], cells
        assert "rows are counted instead" in said(records)[0]


def test_ultralytics_names_are_known(tmp_path: Path) -> None:
    text = (
        "   epoch, time, train/box_loss, train/cls_loss, metrics/mAP50-95(B), val/box_loss, lr/pg0\n"
        "       1,  9.5,            1.5,            2.0,                0.25,          1.75,  1e-3\n"
        "       2, 19.5,            1.0,            1.5,                0.50,          1.25,  5e-4\n"
    )
    values, records = latest(tmp_path / "results.csv", text)
    assert [each.step for each in of(records, Sample)] == [1, 2]
    assert (values["loss/logged"], values["loss/trainer_eval"]) == (2.5, 1.25)
    assert (values["eval/map50_95"], values["learning_rate"]) == (0.5, 5e-4)
    directions = {each.name: each.direction for each in of(records, Metric)}
    assert directions["eval/map50_95"] == "higher"
    assert "'train/loss' is the sum of train/box_loss, train/cls_loss" in said(records)


def test_older_ultralytics_names_are_known(tmp_path: Path) -> None:
    text = "epoch,train/box_loss,train/obj_loss,metrics/mAP_0.5,val/box_loss,val/obj_loss,x/lr0\n"
    values, _ = latest(tmp_path / "results.csv", text + "0,1.0,2.0,0.5,1.5,2.5,0.01\n")
    assert (values["loss/logged"], values["loss/trainer_eval"]) == (3.0, 4.0)
    assert (values["eval/map_0_5"], values["learning_rate"]) == (0.5, 0.01)


def test_a_whole_loss_is_never_replaced_by_its_parts(tmp_path: Path) -> None:
    text = "step,loss,train/a_loss,train/b_loss\n1,9.0,1.0,2.0\n"
    values, records = latest(tmp_path / "log.csv", text)
    assert values["loss/logged"] == 9.0
    assert said(records) == []


def test_a_chart_that_wandb_exported_is_read_by_its_numbers_name(tmp_path: Path) -> None:
    text = (
        '"Step","sky-1 - train/loss","sky-1 - train/loss__MIN","sky-1 - train/loss__MAX",'
        '"sea-2 - train/loss","sea-2 - train/loss__MIN","sea-2 - train/loss__MAX"\n'
        '"1","2.0","1.0","3.0","9.0","9.0","9.0"\n"2","1.5","1.0","3.0","","",""\n'
    )
    values, records = latest(tmp_path / "w.csv", text)
    assert values == {"loss/logged": 1.5}
    assert said(records) == ["it holds 2 runs; sky-1 is read, not sea-2"]
    plain = "step,a - b\n1,2.0\n"  # no chart of W&B's: it has no lowest and highest
    assert latest(tmp_path / "p.csv", plain)[0] == {"a_b": 2.0}


def test_a_curve_that_tensorboard_exported_is_what_its_file_says(tmp_path: Path) -> None:
    falls = "Wall time,Step,Value\n1700000000.0,1,2.0\n1700000001.0,2,1.5\n1700000002.0,3,1.0\n"
    rises = falls.replace("1.0\n", "9.0\n")
    for name, text, expected in (
        ("run-x-tag-train_loss.csv", rises, {"loss/logged": 9.0}),
        ("run-x-tag-eval_loss.csv", falls, {"loss/trainer_eval": 1.0}),
        (
            "run-x-tag-train_learning_rate.csv",
            falls,
            {"learning_rate": 1.0, "learning_rate/logged": 1.0},
        ),
        ("export.csv", falls, {"loss/logged": 1.0}),
        ("export.csv", rises, {"value": 9.0}),
    ):
        values, records = latest(tmp_path / name, text)
        assert values == expected, name
        assert of(records, Sample)[0].time == 1700000000.0
        assert ("'Value'" in " ".join(said(records))) == (name == "export.csv"), name


def test_which_way_is_better_is_read_off_a_name() -> None:
    ways = {
        "higher": ("eval_accuracy", "eval_mAP", "eval_matthews_correlation", "eval_rougeL"),
        "lower": ("eval_wer", "eval_cer", "eval_ppl", "eval_word_error_rate", "eval_accuracy_loss"),
        "none": ("eval_memory", "eval_runtime", "eval_samples_per_second", "eval_answer"),
    }
    for direction, theirs in ways.items():
        found = {name: metric(named([name])[name][0], name).direction for name in theirs}
        assert found == dict.fromkeys(theirs, direction)


def test_what_the_state_says_of_its_best_checkpoint_is_kept(tmp_path: Path) -> None:
    best = {"best_metric": 0.5, "best_model_checkpoint": "/tmp/out/checkpoint-20/"}
    told = open_any(write(tmp_path / "s.json", state(LOG, **best)))[0].training
    assert told["best_metric"] == 0.5
    assert told["best_model_checkpoint"] == "checkpoint-20"
    assert told["best_global_step"] == 20
    told = open_any(write(tmp_path / "s.json", state(LOG, best_metric=None)))[0].training
    assert "best_metric" not in told
