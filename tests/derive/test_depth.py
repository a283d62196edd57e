"""Where in depth the adapters moved, said only when it is so."""

from __future__ import annotations

import math

import pytest
from facts import layers

from heldout.derive.depth import READINGS, depth_sentence, top_layers
from heldout.records import Layer, Layers

EVEN = [1.0 + 0.01 * (i % 3) for i in range(20)]
HIGH = [1.0] * 12 + [2.0] * 4 + [1.0] * 4


def readings(*moved: list[float], stack: str = "") -> list[Layers]:
    return [layers(step, row, stack) for step, row in enumerate(moved)]


def test_a_window_that_stands_out_in_every_reading_is_named() -> None:
    sentence = depth_sentence(readings(HIGH, HIGH, HIGH))
    assert sentence == "layers 12-15 moved most (2.0x the median layer)"


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
    assert depth_sentence(readings(*moved)).startswith("movement is even over depth (max/min ")


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
    assert "moved most" not in depth_sentence(readings(*moved))


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
    assert first == "layers 12-15 of text moved most (2.0x the median layer)"
    assert second.startswith("movement is even over depth of vision")


def test_the_top_layers_come_largest_first() -> None:
    reading = layers(1, [3.0, 1.0, 4.0, 1.5, 9.0, 2.6])
    assert [layer.layer for layer in top_layers(reading)] == [4, 2, 0, 5, 3]
    assert [layer.layer for layer in top_layers(reading, 2)] == [4, 2]
    assert top_layers(layers(1, [])) == []


def test_a_reading_before_anything_moved_says_nothing_of_depth() -> None:
    readings = [layers(0, [0.0] * 12), layers(5, [1.0] * 12), layers(9, [1.0] * 12)]
    assert depth_sentence(readings).startswith("movement is even over depth")
