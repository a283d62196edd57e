"""Where in depth the adapters moved, said only when it is so."""

from __future__ import annotations

import math

import pytest
from facts import layers

from heldout.derive.depth import (
    OUTSIDE,
    READINGS,
    depth_sentence,
    is_relative,
    stack_names,
    top_impact,
    top_layers,
    top_moved,
)
from heldout.records import Layer, Layers

EVEN = [1.0 + 0.01 * (i % 3) for i in range(20)]
HIGH = [1.0] * 12 + [2.0] * 4 + [1.0] * 4


def readings(*moved: list[float], stack: str = "") -> list[Layers]:
    return [layers(step, row, stack) for step, row in enumerate(moved)]


def test_a_window_that_stands_out_in_every_reading_is_named() -> None:
    sentence = depth_sentence(readings(HIGH, HIGH, HIGH))
    assert sentence == "layers 12-15 adapting most (Δ=2, 2.0x the median layer)"


@pytest.mark.parametrize(
    "moved",
    [
        pytest.param((EVEN, EVEN, EVEN), id="even"),
        pytest.param((EVEN, HIGH, HIGH), id="only in the last two"),
        pytest.param((HIGH[::-1], HIGH, HIGH), id="elsewhere before"),
        pytest.param(([1.0] * 19 + [9.0], EVEN, EVEN), id="no longer"),
    ],
)
def test_movement_that_does_not_stand_out_is_called_even(moved: tuple[list[float], ...]) -> None:
    assert depth_sentence(readings(*moved)).startswith("movement is even over depth (Δ=")


@pytest.mark.parametrize(
    "moved",
    [
        pytest.param((), id="none"),
        pytest.param((HIGH, HIGH), id="too few readings"),
        pytest.param(([1.0, 9.0],) * 3, id="too few layers"),
        pytest.param(([0.0] * 20,) * 3, id="nothing moved"),
        pytest.param((HIGH, HIGH, [math.nan, *HIGH[1:]]), id="NaN"),
        pytest.param((HIGH, HIGH, [math.inf, *HIGH[1:]]), id="infinite"),
    ],
)
def test_where_nothing_is_known_nothing_is_said(moved: tuple[list[float], ...]) -> None:
    assert depth_sentence(readings(*moved)) == ""


@pytest.mark.parametrize("place", [0, 1])
def test_a_nan_in_an_earlier_reading_does_not_name_a_window(place: int) -> None:
    moved = [HIGH, HIGH, HIGH]
    moved[place] = [math.nan, *HIGH[1:]]
    assert "adapting most" not in depth_sentence(readings(*moved))


def test_readings_without_layers_do_not_count() -> None:
    empty = Layers(step=9, time=9.0, layers=[], note="weights are sharded")
    assert depth_sentence([*readings(HIGH, HIGH), empty]) == ""
    assert "12-15" in depth_sentence([*readings(HIGH, HIGH, HIGH), empty])
    assert READINGS == 3


def test_movement_relative_to_the_weights_is_preferred() -> None:
    flat = [
        Layers(
            step=step,
            time=0.0,
            layers=[
                Layer(stack="", layer=i, delta_norm=x, relative=0.1) for i, x in enumerate(HIGH)
            ],
        )
        for step in range(3)
    ]
    assert depth_sentence(flat).startswith("movement is even")


def test_each_stack_has_its_own_sentence() -> None:
    both = [
        Layers(
            step=step,
            time=0.0,
            layers=layers(step, HIGH, "text").layers + layers(step, EVEN, "vision").layers,
        )
        for step in range(3)
    ]
    first, second = depth_sentence(both).split("; ")
    assert first == "layers 12-15 of text adapting most (Δ=2, 2.0x the median layer)"
    assert second.startswith("movement is even over depth of vision")


def test_the_top_layers_come_largest_first() -> None:
    reading = layers(1, [3.0, 1.0, 4.0, 1.5, 9.0, 2.6])
    assert [layer.layer for layer in top_layers(reading)] == [4, 2, 0, 5, 3]
    assert [layer.layer for layer in top_layers(reading, 2)] == [4, 2]
    assert top_layers(layers(1, [])) == []


def test_a_reading_before_anything_moved_says_nothing_of_depth() -> None:
    readings = [layers(0, [0.0] * 12), layers(5, [1.0] * 12), layers(9, [1.0] * 12)]
    assert depth_sentence(readings).startswith("movement is even over depth")


def carrying(share: float | None, *, moved: list[float] = HIGH, stack: str = "") -> list[Layers]:
    """Readings whose layers 12 to 15 carry `share` of the impact together, the others the rest."""
    in_window = range(12, 16)
    rest = None if share is None else (1 - share) / (len(moved) - len(in_window))
    rows = []
    for i, norm in enumerate(moved):
        own = share if share is None else share / len(in_window)
        own = own if i in in_window else rest
        rows.append(Layer(stack=stack, layer=i, delta_norm=norm, impact=own, impact_share=own))
    return [Layers(step=step, time=0.0, layers=rows) for step in range(READINGS)]


@pytest.mark.parametrize(
    ("share", "said"),
    [
        pytest.param(0.52, " and carry 52 % of the impact", id="more than their share"),
        pytest.param(0.2, " and carry 20 % of the impact", id="just their share of 4 in 20"),
        pytest.param(0.09, " but carry only 9 % of the impact", id="less"),
        pytest.param(0.0, " but carry only 0 % of the impact", id="nothing"),
        pytest.param(None, "", id="unknown"),
        pytest.param(math.nan, "", id="NaN"),
        pytest.param(math.inf, "", id="infinite"),
    ],
)
def test_movement_is_told_together_with_impact(share: float | None, said: str) -> None:
    assert depth_sentence(carrying(share)) == (
        f"layers 12-15 adapting most (Δ=2, 2.0x the median layer){said}"
    )


def test_even_movement_is_not_paired() -> None:
    assert depth_sentence(carrying(0.52, moved=EVEN)) == (
        "movement is even over depth (Δ=1.01, max/min 1.0x)"
    )


def test_the_share_of_a_stack_is_of_the_whole_model() -> None:
    halves = [
        Layers(step=first.step, time=0.0, layers=[*first.layers, *second.layers])
        for first, second in zip(
            carrying(0.15, stack="text"), layers_of("vision", HIGH), strict=True
        )
    ]
    first, _ = depth_sentence(halves).split("; ")
    assert first.endswith("and carry 15 % of the impact"), "4 of 40 layers are a tenth"


def layers_of(stack: str, moved: list[float]) -> list[Layers]:
    return [layers(step, moved, stack) for step in range(READINGS)]


def test_what_lies_outside_of_the_layers_has_no_depth() -> None:
    outside = Layer(stack="", layer=OUTSIDE, delta_norm=99.0)
    rows = [
        Layers(step=reading.step, time=0.0, layers=[outside, *reading.layers])
        for reading in readings(HIGH, HIGH, HIGH)
    ]
    assert depth_sentence(rows) == "layers 12-15 adapting most (Δ=2, 2.0x the median layer)"
    alone = [Layers(step=step, time=0.0, layers=[outside]) for step in range(READINGS)]
    assert depth_sentence(alone) == ""


def test_movements_of_two_units_are_never_compared() -> None:
    rows = [
        Layer(stack="", layer=i, delta_norm=x, relative=None if i == 3 else 0.1 * x)
        for i, x in enumerate(HIGH)
    ]
    mixed = [Layers(step=step, time=0.0, layers=rows) for step in range(READINGS)]
    assert depth_sentence(mixed) == "layers 12-15 adapting most (Δ=2, 2.0x the median layer)"
    assert not is_relative(rows)
    assert is_relative(rows[:3])
    assert not is_relative([])


def test_modules_outside_of_the_layers_do_not_decide_the_unit() -> None:
    outside = Layer(stack="", layer=OUTSIDE, delta_norm=1.0)
    inside = Layer(stack="", layer=0, delta_norm=1.0, relative=0.1)
    assert is_relative([outside, inside])
    assert not is_relative([outside])


def test_the_layers_that_moved_most_are_sorted_by_what_compares() -> None:
    far, near = (
        Layer(stack="", layer=0, delta_norm=1.0, relative=0.2),
        Layer(stack="", layer=1, delta_norm=9.0, relative=0.1),
    )
    reading = Layers(step=1, time=0.0, layers=[near, far])
    assert [layer.layer for layer in top_moved(reading)] == [0, 1]
    assert [layer.layer for layer in top_layers(reading)] == [1, 0]
    lost = Layer(stack="", layer=2, delta_norm=1.0, relative=math.nan)
    unread = Layer(stack="", layer=OUTSIDE, delta_norm=1.0)
    reading = Layers(step=1, time=0.0, layers=[unread, near, far, lost])
    assert [layer.layer for layer in top_moved(reading)] == [2, 0, 1]


def test_the_layers_the_loss_depends_on_are_those_whose_impact_is_known() -> None:
    impacts = [0.1, None, 0.4, math.nan, 0.2]
    rows = [Layer(stack="", layer=i, delta_norm=1.0, impact=x) for i, x in enumerate(impacts)]
    reading = Layers(step=1, time=0.0, layers=rows)
    assert [layer.layer for layer in top_impact(reading)] == [2, 4, 0]
    assert [layer.layer for layer in top_impact(reading, 1)] == [2]
    assert top_impact(layers(1, [1.0, 2.0])) == []


@pytest.mark.parametrize(
    ("stacks", "names"),
    [
        pytest.param([""], {}, id="one stack"),
        pytest.param(["text", "vision"], {"text": "text", "vision": "vision"}, id="short"),
        pytest.param(
            ["", "model.language_model.layers", "model.vision_tower.encoder.layers"],
            {
                "model.language_model.layers": "language_model",
                "model.vision_tower.encoder.layers": "vision_tower.encoder",
            },
            id="what they share goes",
        ),
        pytest.param(
            ["model.layers", "model.mtp.layers"],
            {"model.layers": "model.layers", "model.mtp.layers": "model.mtp.layers"},
            id="nothing would be left",
        ),
        pytest.param(
            ["encoder.block", "decoder.block"],
            {"encoder.block": "encoder", "decoder.block": "decoder"},
            id="encoder and decoder",
        ),
    ],
)
def test_a_stack_is_named_by_what_tells_it_apart(stacks: list[str], names: dict[str, str]) -> None:
    rows = [Layer(stack=stack, layer=i, delta_norm=1.0) for stack in stacks for i in range(2)]
    assert stack_names(rows) == names
