"""When going on is not worth it: simulated runs with the truth known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from runs import curve, simulated

from heldout.stats.stopping import stopping

Floats = NDArray[np.float64]


def ends(scores_KN: Floats, ce_KN: Floats, planned: int = 0) -> int:
    """The evaluation behind which an end is first spoken for; the last where never."""
    looks = len(scores_KN)
    for k in range(2, looks):
        found = stopping(scores_KN[:k], ce_KN[:k], planned=planned or looks)
        if found.flat or found.fell:
            return k - 1
    return looks - 1


def test_a_run_that_rises_to_the_end_is_never_ended() -> None:
    rng = np.random.default_rng(1)
    em = np.linspace(0.3, 0.8, 21).tolist()
    assert [ends(*simulated(rng, em, 500)) for _ in range(15)] == [20] * 15


def test_a_run_that_rises_and_falls_is_ended_after_its_best() -> None:
    rng = np.random.default_rng(2)
    em = np.concatenate([curve(0.4, 0.75, 11), np.linspace(0.74, 0.65, 10)])
    stops = [ends(*simulated(rng, em.tolist(), 500)) for _ in range(15)]
    assert sum(stop < 20 for stop in stops) >= 14
    assert all(em.max() - em[: stop + 1].max() < 0.01 for stop in stops)
    assert np.mean(stops) < 16


@pytest.mark.parametrize("looks", [12, 21, 41])
def test_a_flat_stretch_must_last_a_fifth_of_what_is_planned(looks: int) -> None:
    rng = np.random.default_rng(3)
    scores_KN, ce_KN = simulated(rng, [0.7] * looks, 2000)
    still_KN = np.full_like(ce_KN, 0.5)
    stop = ends(scores_KN, still_KN)
    assert stop >= 2 * max(3, round(looks / 5)) - 1
    assert stopping(scores_KN[: stop + 1], still_KN[: stop + 1], planned=looks).width == max(
        3, round(looks / 5)
    )


def test_there_is_no_end_while_cross_entropy_falls() -> None:
    rng = np.random.default_rng(4)
    scores_KN, ce_KN = simulated(rng, [0.7] * 16, 2000)
    fall_K1 = np.linspace(1.0, 0.7, 16)[:, None]
    assert ends(scores_KN, np.full_like(ce_KN, 0.5) * fall_K1) == 15
    assert ends(scores_KN, np.full_like(ce_KN, 0.5)) < 15


def test_where_exact_match_cannot_tell_cross_entropy_decides() -> None:
    """A run that ends at 60 % may have nothing right for long."""
    rng = np.random.default_rng(5)
    nothing_KN = np.zeros((12, 200))
    spread_N = rng.uniform(0.5, 1.5, 200)
    falling = stopping(nothing_KN, np.outer(np.linspace(3.7, 2.0, 12), spread_N))
    assert (falling.by, falling.flat, falling.fell) == ("ce", False, False)
    flat = stopping(nothing_KN, np.outer(np.full(12, 2.0), spread_N))
    assert (flat.by, flat.flat) == ("ce", True)
    always_right = stopping(nothing_KN + 1, np.outer(np.linspace(0.5, 0.1, 12), spread_N))
    assert (always_right.by, always_right.flat) == ("ce", False)


def test_a_collapse_is_a_fall_at_its_second_evaluation_and_no_plateau() -> None:
    rng = np.random.default_rng(6)
    scores_KN, ce_KN = simulated(rng, [0.5, 0.6, 0.7, 0.7, 0.7, 0.7, 0.2, 0.2, 0.2], 500)
    fell = [stopping(scores_KN[:k], ce_KN[:k]).fell for k in range(2, 10)]
    assert fell[:5] == [False] * 5
    assert fell[-1]
    dead_KN = scores_KN.copy()
    dead_KN[-6:] = 0
    dead_KN[0, :20] = 1
    assert not stopping(dead_KN, ce_KN).flat


def test_one_bad_evaluation_or_a_fall_that_is_made_up_for_ends_nothing() -> None:
    rng = np.random.default_rng(7)
    for em in ([0.5, 0.55, 0.6, 0.6, 0.6, 0.45, 0.6], [0.5, 0.55, 0.6, 0.6, 0.47, 0.53, 0.59]):
        scores_KN, ce_KN = simulated(rng, em, 1000)
        assert not any(stopping(scores_KN[:k], ce_KN[:k]).fell for k in range(2, 8))


def test_too_few_evaluations_or_examples_say_nothing() -> None:
    for shape in ((1, 50), (5, 50), (8, 0), (8, 1)):
        found = stopping(np.ones(shape), np.ones(shape))
        assert not found.fell
        assert not found.flat or shape == (8, 1)
