"""The best score with the luck of having been chosen taken off."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from heldout.stats.best import best
from heldout.stats.groups import Groups


def biases(runs: int, groups_N: Groups, repeat: int) -> NDArray[np.float64]:
    """Mean excess over the truth of the raw and the corrected best of 20 equal checkpoints."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(runs):
        chance_N = rng.beta(0.5, 0.5, 500)
        rows_KN = np.repeat(rng.random((20, 500)) < chance_N, repeat, axis=1)
        chosen = best(rows_KN.astype(np.float64), groups_N)
        assert chosen is not None
        found.append((chosen.score - chance_N.mean(), chosen.corrected - chance_N.mean()))
    return np.mean(found, axis=0)


def test_the_best_of_twenty_equal_checkpoints_is_three_points_too_high_until_corrected() -> None:
    raw, corrected = biases(runs=150, groups_N=None, repeat=1)
    assert raw == pytest.approx(0.030, abs=0.005)
    assert corrected == pytest.approx(0.0, abs=0.005)


def test_copies_of_examples_are_left_out_together() -> None:
    raw, corrected = biases(runs=60, groups_N=np.repeat(np.arange(500), 3), repeat=3)
    assert raw == pytest.approx(0.030, abs=0.007)
    assert corrected == pytest.approx(0.0, abs=0.007)
    _, fooled = biases(runs=60, groups_N=None, repeat=3)
    assert fooled > 0.015


def test_a_best_beyond_doubt_needs_no_correction() -> None:
    scores_KN = np.array([np.arange(200) < k for k in (20, 180, 60)], dtype=np.float64)
    found = best(scores_KN)
    assert found is not None
    assert (found.index, found.score, found.corrected) == (1, 0.9, 0.9)


def test_a_single_checkpoint_was_not_chosen() -> None:
    row_KN = (np.random.default_rng(6).random((1, 300)) < 0.4).astype(np.float64)
    found = best(row_KN)
    assert found is not None
    assert found.corrected == found.score == row_KN.mean()


def test_of_equals_the_earliest_is_the_best() -> None:
    found = best(np.ones((3, 50)))
    assert found is not None
    assert (found.index, found.corrected) == (0, 1.0)


def test_nothing_is_best_without_scores() -> None:
    assert best(np.zeros((0, 5))) is None
    assert best(np.zeros((3, 0))) is None


@settings(max_examples=40)
@given(
    st.integers(1, 5).flatmap(
        lambda k: st.lists(st.lists(st.booleans(), min_size=k, max_size=k), min_size=1, max_size=20)
    )
)
def test_the_correction_never_raises_and_is_always_the_same(answers: list[list[bool]]) -> None:
    scores_KN = np.array(answers, dtype=np.float64).T
    found = best(scores_KN)
    assert found is not None
    assert found.score == pytest.approx(scores_KN.mean(axis=1).max())
    assert -1 < found.corrected <= found.score
    assert found == best(scores_KN.copy())
