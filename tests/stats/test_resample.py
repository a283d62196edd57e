"""The draws are those of a bootstrap, and the same for all who ask."""

from __future__ import annotations

import math

import numpy as np

from heldout.stats.resample import REPLICATES, draws, means


def test_each_replicate_draws_as_many_as_there_are() -> None:
    drawn_BG = draws(50)
    assert drawn_BG.shape == (REPLICATES, 50)
    assert (drawn_BG.sum(axis=1, dtype=int) == 50).all()
    assert abs((drawn_BG == 0).mean() - (1 - 1 / 50) ** 50) < 0.01


def test_the_spread_of_the_resampled_mean_is_its_standard_error() -> None:
    row_KN = (np.arange(400) < 100).astype(np.float64)[None]
    mean_BK = means(draws(400).astype(np.float64), row_KN, np.ones(400))
    assert abs(mean_BK.std() / math.sqrt(0.25 * 0.75 / 400) - 1) < 0.08


def test_all_who_ask_get_the_same_draws_and_cannot_change_them() -> None:
    first_BG = draws(30).copy()
    draws(31)
    assert (draws(30) == first_BG).all()
    assert draws(30) is draws(30)
    assert not draws(30).flags.writeable


def test_a_mean_over_no_example_is_not_a_number() -> None:
    assert np.isnan(means(np.zeros((1, 3)), np.ones((2, 3)), np.ones(3))).all()
