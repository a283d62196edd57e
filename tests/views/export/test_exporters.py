"""Exports: every number of the run, in a format that others read."""

from __future__ import annotations

import csv
import io
import math

import pytest
from facts import checkpoint, evaluation, history, layers, run, sample, score, strict_json

from heldout.derive.history import History
from heldout.records import Layer, Layers, Part, Reading, Verdict
from heldout.views.export import EXPORTERS
from heldout.views.exporter import Exporter

NAMES = sorted(EXPORTERS)


def whole() -> History:
    return history(
        run(config={"prompt": 'a "quoted", line\nbreak'}),
        *evaluation(0, score(40)),
        sample(1, 0.1, grad_norm=2.0),
        sample(2, math.nan, **{"a,b": math.inf, 'say "c"': -math.inf}),
        layers(2, [0.5, math.nan]),
        *evaluation(2, score(60), ece=math.nan),
        checkpoint(2),
    )


def rows(folded: History, kind: str = "csv") -> list[dict[str, str]]:
    text = EXPORTERS[kind].write(folded).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_csv_has_a_row_a_step_and_a_column_a_metric() -> None:
    table = rows(whole())
    assert [row["step"] for row in table] == ["0", "1", "2"]
    expected = {"step", "loss/step", "grad/norm", "a,b", 'say "c"', "eval/em", "eval/ece"}
    assert table[0].keys() >= expected
    assert (table[1]["loss/step"], table[1]["grad/norm"]) == ("0.1", "2.0")
    assert (table[0]["eval/em"], table[2]["eval/em"]) == ("0.4", "0.6")
    assert table[0]["eval/n"] == "100"


def test_csv_tells_nan_from_never_recorded() -> None:
    table = rows(whole())
    assert (table[2]["loss/step"], table[2]["a,b"], table[2]['say "c"']) == (
        "NaN",
        "Infinity",
        "-Infinity",
    )
    assert table[2]["eval/ece"] == "NaN"
    assert (table[0]["loss/step"], table[1]["eval/em"], table[2]["grad/norm"]) == ("", "", "")


def test_csv_numbers_come_back_to_the_last_bit() -> None:
    values = [0.1 + 0.2, 1e-300, 1.7976931348623157e308, 5e-324]
    table = rows(history(*(sample(i, value) for i, value in enumerate(values))))
    assert [float(row["loss/step"]) for row in table] == values


def test_csv_of_a_run_without_evaluations_has_no_empty_columns() -> None:
    (row,) = rows(history(sample(1)))
    assert row.keys() == {"step", "loss/step"}


def test_csv_holds_what_was_judged_and_what_the_panels_show() -> None:
    alert = Verdict(
        step=2,
        time=0.0,
        rule="plateau",
        state="open",
        level="warning",
        message="EM is flat, at 60 %",
        action="Stop.",
    )
    facts = [*evaluation(2, score(60), pattern="math"), checkpoint(2), layers(2, [0.5, 0.25])]
    start, end = rows(history(run(), *evaluation(0, score(40), pattern="math"), *facts, alert))
    assert (start["pattern/math/em"], start["pattern/math/0-100/correct"]) == ("0.4", "40")
    assert (end["pattern/math/em"], end["pattern/math/seen"]) == ("0.6", "100")
    assert (end["lora/0/delta_norm"], end["lora/1/delta_norm"]) == ("0.5", "0.25")
    assert (start["eval/em_trend"], start["eval/best_ckpt"], start["alerts"]) == ("", "", "")
    assert (end["eval/em_trend"], end["eval/best_ckpt"]) == ("improving", "checkpoint-2")
    assert end["eval/ece_rise"] == "no"
    assert end["alerts"] == "open warning plateau: EM is flat, at 60 %"


def test_the_layers_have_a_row_a_step_a_layer_and_a_kind() -> None:
    mlp = Part(norm=0.5, relative=0.1, rank=3.0, state="stalled")
    layer = Layer(stack="text", layer=4, delta_norm=0.5, impact_share=math.nan, parts={"mlp": mlp})
    first, second = rows(history(Layers(step=7, time=0.0, layers=[layer])), "layers")
    place = ("7", "text", "4")
    assert (first["step"], first["stack"], first["layer"]) == place
    assert (second["step"], second["stack"], second["layer"]) == place
    assert (first["kind"], first["norm"], first["impact_share"]) == ("all", "0.5", "NaN")
    assert (first["relative"], first["impact"], first["state"]) == ("", "", "ok")
    assert (second["kind"], second["norm"], second["relative"]) == ("mlp", "0.5", "0.1")
    assert (second["rank"], second["speed"], second["state"]) == ("3.0", "", "stalled")


def test_the_layers_of_a_journal_without_parts_have_their_norms() -> None:
    table = rows(history(layers(2, [0.5], qkv=0.25)), "layers")
    assert [(row["kind"], row["norm"]) for row in table] == [("all", "0.5"), ("qkv", "0.25")]


def test_every_field_of_a_reading_is_a_column_of_the_layers() -> None:
    header = EXPORTERS["layers"].write(history()).decode().strip().split(",")
    assert header == ["step", "stack", "layer", "kind", "norm", *Reading.__struct_fields__]


def test_json_holds_the_whole_run_and_is_strict() -> None:
    data = EXPORTERS["json"].write(whole())
    assert data.endswith(b"}\n")
    export = strict_json(data)
    assert export["run"]["config"]["prompt"] == 'a "quoted", line\nbreak'
    assert export["series"]["loss/step"] == {"steps": [1, 2], "values": [0.1, "NaN"]}
    assert export["series"]["a,b"]["values"] == ["Infinity"]
    assert {step: len(items) for step, items in export["items"].items()} == {"0": 100, "2": 100}
    assert export["layers"][0]["layers"][1]["delta_norm"] == "NaN"
    assert export["evals"][1]["ece"] == "NaN"
    assert export["fixed_eval"]["em"] == 0.6


@pytest.mark.parametrize("exporter", EXPORTERS.values(), ids=NAMES)
@pytest.mark.parametrize(
    "folded", [history(), history(run()), whole()], ids=["empty", "begun", "whole"]
)
def test_every_exporter_writes_every_run(exporter: Exporter, folded: History) -> None:
    data = exporter.write(folded)
    assert isinstance(data, bytes)
    assert data or exporter.name == "rows", "only a list of rows may be empty"
    assert data == exporter.write(folded), "the same run gives the same file"


def test_the_rows_to_look_at_are_json_lines_that_name_their_file_and_line() -> None:
    looks = [fact for step in (0, 10, 20, 30) for fact in evaluation(step, [False, True])]
    lines = EXPORTERS["rows"].write(history(run(), *looks)).splitlines()
    (row,) = [strict_json(line) for line in lines]
    assert (row["why"], row["set"], row["id"]) == ("persistent", "eval", "e0")
    assert EXPORTERS["rows"].write(history(run())) == b""
