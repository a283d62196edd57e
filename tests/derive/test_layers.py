"""A reading of the layers summed up, and the modules that are not ok."""

from __future__ import annotations

import math
from typing import get_args

import pytest
from facts import layers

from heldout.derive.layers import (
    MEANINGS,
    MOST_TROUBLES,
    POINTS,
    kinds,
    over_time,
    parts,
    states,
    troubles,
)
from heldout.records import Layer, Layers, LayerState, Part


def layer(index: int, **by_kind: Part) -> Layer:
    return Layer(stack="", layer=index, delta_norm=1.0, parts=by_kind)


def reading(*rows: Layer, **bad: LayerState) -> Layers:
    return Layers(step=1, time=0.0, layers=list(rows), troubles=bad)


def test_a_kind_is_summed_over_the_layers_that_have_it() -> None:
    rows = reading(
        layer(0, mlp=Part(norm=3.0, impact=0.1, impact_share=0.25), qkv=Part(norm=1.0)),
        layer(1, mlp=Part(norm=4.0, impact=0.2, impact_share=0.5)),
    )
    query, mlp = kinds(rows)
    assert query == {"kind": "qkv", "norm": 1.0, "impact": None, "share": None}
    assert (mlp["kind"], mlp["norm"], mlp["share"]) == ("mlp", 5.0, 0.75)
    assert mlp["impact"] == pytest.approx(0.3)


def test_an_impact_unknown_in_one_layer_is_unknown_in_all() -> None:
    rows = reading(
        layer(0, mlp=Part(norm=3.0, impact=0.1, impact_share=1.0)), layer(1, mlp=Part(norm=4.0))
    )
    (mlp,) = kinds(rows)
    assert (mlp["norm"], mlp["impact"], mlp["share"]) == (5.0, None, None)


def test_a_norm_that_is_not_finite_stays_so() -> None:
    (mlp,) = kinds(reading(layer(0, mlp=Part(norm=math.nan)), layer(1, mlp=Part(norm=1.0))))
    assert math.isnan(mlp["norm"])


def test_a_journal_without_parts_has_its_norms() -> None:
    old = Layer(stack="", layer=0, qkv=1.0, mlp=0.0, delta_norm=1.0)
    assert parts(old) == {"qkv": Part(norm=1.0), "mlp": Part(norm=0.0)}
    assert [row["kind"] for row in kinds(reading(old))] == ["qkv", "mlp"]
    assert kinds(layers(1, [])) == []


def test_troubles_come_worst_first_with_what_they_mean() -> None:
    found = troubles(reading(a="frozen", b="stalled", c="blow-up", d="no-gradient", e="rounding"))
    assert [row["module"] for row in found] == ["c", "e", "b", "d", "a"]
    assert found[0]["meaning"] == MEANINGS["blow-up"]


def test_only_the_worst_troubles_are_named_and_all_are_counted() -> None:
    many: dict[str, LayerState] = {f"m{i}": "frozen" for i in range(30)}
    rows = reading(**many, bad="blow-up")
    found = troubles(rows)
    assert len(found) == MOST_TROUBLES
    assert found[0] == {"module": "bad", "state": "blow-up", "meaning": MEANINGS["blow-up"]}
    assert [(row["state"], row["modules"]) for row in states(rows)] == [
        ("blow-up", 1),
        ("frozen", 30),
    ]


def test_every_state_but_ok_has_a_meaning() -> None:
    assert {"ok", *MEANINGS} == set(get_args(LayerState))


def test_curves_keep_the_first_and_the_latest_reading() -> None:
    rows = [layers(step, [float(step), 1.0]) for step in range(1, 501)]
    curves = over_time(rows, rows[-1].layers[:1])
    assert len(curves["steps"]) == POINTS
    assert (curves["steps"][0], curves["steps"][-1]) == (1, 500)
    (curve,) = curves["layers"]
    assert (curve["stack"], curve["layer"]) == ("", 0)
    assert curve["moved"] == [float(step) for step in curves["steps"]]
    assert set(curve["impact_share"]) == {None}


def test_a_layer_named_twice_has_one_curve_and_one_not_read_a_hole() -> None:
    rows = [layers(1, [1.0]), layers(2, [1.0, 2.0])]
    curves = over_time(rows, [*rows[1].layers, *rows[1].layers])
    assert [(curve["layer"], curve["moved"]) for curve in curves["layers"]] == [
        (0, [1.0, 1.0]),
        (1, [None, 2.0]),
    ]


def test_without_a_reading_there_is_no_curve() -> None:
    assert over_time([], []) == {"steps": [], "layers": []}
    assert over_time([layers(1, [])], []) == {"steps": [], "layers": []}
