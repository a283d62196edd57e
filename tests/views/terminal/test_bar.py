"""The line of numbers while training."""

from __future__ import annotations

import math

import pytest
from facts import history, sample

from heldout.views.terminal.progress import _numbers, about


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (3, "5 s"),
        (42, "40 s"),
        (89, "90 s"),
        (91, "2 min"),
        (740, "12 min"),
        (5340, "89 min"),
        (7000, "2 h"),
        (7750, "2 h 10 min"),
        (129_000, "35 h 50 min"),
        (259_200, "3 d"),
        (273_600, "3 d 4 h"),
    ],
)
def test_a_time_is_told_as_roughly_as_it_is_known(seconds: float, text: str) -> None:
    assert about(seconds) == text


def test_the_numbers_end_with_the_time_left() -> None:
    assert _numbers(history(sample(1, 1.0, **{"time/remaining": 740.0}))) == "about 12 min left"


@pytest.mark.parametrize("left", [0.0, math.nan, math.inf])
def test_a_time_that_is_not_known_is_not_told(left: float) -> None:
    assert _numbers(history(sample(1, 1.0, **{"time/remaining": left}))) == ""
    assert _numbers(history(sample(1))) == ""
