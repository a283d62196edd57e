"""What a series is made of: proper numbers, NaN, zeros."""

from __future__ import annotations

import math

import pytest

from heldout.stats.sound import Soundness

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("values", "since_bad", "in_a_row", "zeros", "first_bad"),
    [
        ([], INF, 0, 0, 0),
        ([1.0, 0.0], INF, 0, 1, 0),
        ([0.0, -0.0, 0.0], INF, 0, 3, 0),
        ([0.0, 1e-300], INF, 0, 0, 0),
        ([1.0, NAN], 0, 1, 0, 2),
        ([NAN, INF, -INF], 0, 3, 0, 1),
        ([NAN, 0.0, 1.0, 0.0], 3, 0, 1, 1),
        ([0.0, NAN, 0.0], 1, 0, 1, 2),
    ],
)
def test_a_series_is_told_by_its_end(
    values: list[float], since_bad: float, in_a_row: int, zeros: int, first_bad: int
) -> None:
    sound = Soundness()
    for step, value in enumerate(values, start=1):
        sound.add(step, value)
    assert (sound.since_bad, sound.bad_in_a_row, sound.zeros) == (since_bad, in_a_row, zeros)
    assert sound.first_bad == first_bad
    assert sound.finite == sum(map(math.isfinite, values))
    assert sound.step == len(values)
