"""Better, as good or worse, and how sure: over one look and over many."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from heldout.stats.change import WINDOW, last_change
from heldout.stats.intervals import spent_confidence
from heldout.stats.paired import mcnemar

Bools = NDArray[np.bool_]

LOOKS = 50


def pair(b: int, c: int, n: int) -> tuple[Bools, Bools]:
    """Two evaluations between which b examples went right and c went wrong."""
    then_N, now_N = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    then_N[b : b + c] = True
    now_N[:b] = True
    return then_N, now_N


def first(*counts: int, n: int = 400) -> Bools:
    """One evaluation a count, with the first that many examples right."""
    return np.array([np.arange(n) < count for count in counts])


@pytest.mark.parametrize(
    ("b", "c", "n", "margin", "trend"),
    [
        (30, 10, 1000, 0.01, "improving"),
        (30, 10, 1000, 0.05, "plateau"),
        (5, 4, 2000, 0.01, "plateau"),
        (40, 35, 500, 0.02, "inconclusive"),
        (10, 30, 1000, 0.01, "regressing"),
        (10, 30, 1000, 0.05, "plateau"),  # a fall, but one that does not matter
        (0, 0, 400, 0.01, "plateau"),
        (0, 0, 50, 0.01, "inconclusive"),  # too small to see its margin
        (0, 0, 0, 0.01, "inconclusive"),
    ],
)
def test_the_trend_agrees_with_the_published_vectors(
    b: int, c: int, n: int, margin: float, trend: str
) -> None:
    then_N, now_N = pair(b, c, n)
    found = last_change(np.array([then_N, then_N, now_N]), margin)
    low, high = found.pair.interval(found.confidence)
    assert found.trend == trend
    assert found.pair.change == pytest.approx((b - c) / n if n else 0.0)
    assert low <= found.pair.change <= high
    assert found.reference == 0


def test_the_first_evaluation_says_nothing_yet() -> None:
    found = last_change(np.ones((1, 400), dtype=bool))
    assert (found.trend, found.pair.change, found.reference) == ("inconclusive", 0.0, 0)


def test_a_plateau_needs_a_full_window() -> None:
    trends = [last_change(np.ones((k, 400), dtype=bool)).trend for k in (1, 2, 3, 4)]
    assert WINDOW == 2
    assert trends == ["inconclusive", "inconclusive", "plateau", "plateau"]


@pytest.mark.parametrize(
    ("counts", "trend", "reference"),
    [
        ((40, 360, 40), "regressing", 1),  # not below the one a window ago, but below the best
        ((40, 360, 40, 40, 40), "regressing", 1),  # flat there, and still below the best
        ((200, 360, 350, 200), "regressing", 1),  # a window ago comes first where it says it too
        ((360, 40, 60, 120), "improving", 1),  # rising again, though below the first
        ((40, 360, 360, 360), "plateau", 1),
        ((200, 198, 199, 197, 198), "inconclusive", 2),
    ],
)
def test_worse_is_against_any_earlier_evaluation_and_better_against_a_window_ago(
    counts: tuple[int, ...], trend: str, reference: int
) -> None:
    found = last_change(first(*counts))
    assert (found.trend, found.reference) == (trend, reference)


def test_a_comparison_chosen_among_several_pays_for_all_of_them() -> None:
    found = last_change(first(40, 360, 40, 40, 40))
    spent = 1 - spent_confidence(4)
    assert 1 - found.confidence == pytest.approx(spent / 4)
    exact = mcnemar(found.pair.learned, found.pair.forgotten)
    assert found.p == pytest.approx(exact * 4 * 0.05 / spent)


@pytest.mark.parametrize(
    ("pinned", "trend"), [(0, "improving"), (1, "regressing"), (2, "plateau"), (9, "inconclusive")]
)
def test_a_pinned_evaluation_is_the_only_reference(pinned: int, trend: str) -> None:
    found = last_change(first(40, 360, 200, 200, 200), pinned=pinned)
    assert (found.trend, found.reference) == (trend, min(pinned, 4))


def test_later_looks_need_more_to_be_called_a_change() -> None:
    then_N, now_N = pair(24, 10, 1000)
    assert last_change(np.array([then_N, now_N])).trend == "improving"
    assert last_change(np.array([then_N] * 20 + [now_N])).trend == "inconclusive"


def test_dependent_examples_need_more_to_be_called_a_change() -> None:
    then_N, now_N = pair(30, 10, 1000)
    rows_KN = np.array([then_N, then_N, now_N])
    assert last_change(rows_KN).trend == "improving"
    assert last_change(rows_KN, groups_N=np.arange(1000) // 10).trend == "inconclusive"


def flat_run(rng: np.random.Generator, n: int = 500) -> Bools:
    """A run that learns nothing: each example has its own chance and is drawn anew each time.

    The first evaluation, of the model before training, gives each example's likelier answer.
    """
    chance_N = rng.beta(0.5, 0.5, n)
    correct_KN = rng.random((LOOKS + 1, n)) < chance_N
    correct_KN[0] = chance_N > 0.5
    return correct_KN


def naive_alarms(correct_KN: Bools) -> tuple[bool, bool]:
    """Whether plain 5 % tests at each look ever differ from the first, and from the best so far."""
    score_K = correct_KN.sum(axis=1)
    against_first = against_best = False
    for look in range(1, len(correct_KN)):
        best = int(score_K[:look].argmax())
        against_first |= plain_test(correct_KN[0], correct_KN[look])
        against_best |= plain_test(correct_KN[best], correct_KN[look])
    return against_first, against_best


def plain_test(then_N: Bools, now_N: Bools) -> bool:
    discordant = int((then_N ^ now_N).sum())
    return abs(int(now_N.sum()) - int(then_N.sum())) > 1.96 * math.sqrt(discordant)


def test_a_flat_run_is_rarely_called_better_or_worse_over_fifty_looks() -> None:
    """Plain tests are wrong in most such runs; ours may be in 5 %."""
    rng = np.random.default_rng(7)
    runs = [flat_run(rng) for _ in range(300)]
    first_rate, best_rate = np.mean([naive_alarms(run) for run in runs], axis=0)
    assert first_rate == pytest.approx(0.79, abs=0.06)
    assert best_rate >= 0.98
    seen = [{last_change(run[: k + 1]).trend for k in range(1, LOOKS + 1)} for run in runs]
    assert sum("regressing" in trends for trends in seen) <= 0.05 * len(runs)
    assert sum("improving" in trends for trends in seen) <= 0.05 * len(runs)


def test_a_true_fall_is_found() -> None:
    rng = np.random.default_rng(8)
    before_N = rng.random(500) < 0.7
    forgot_N = before_N & (rng.random(500) > 0.15)
    assert last_change(np.array([before_N, before_N, forgot_N])).trend == "regressing"


def test_a_slow_decline_is_found_though_each_window_hides_it() -> None:
    """From 70 % down by half a point an evaluation, of 1,000 examples a fifth of which waver."""
    rng = np.random.default_rng(9)
    found = hidden = 0
    for _ in range(20):
        skill_N = rng.random(1000)
        waver_KN = np.where(rng.random((31, 1000)) < 0.2, rng.random((31, 1000)), skill_N)
        correct_KN = waver_KN < 0.7 - 0.005 * np.arange(31)[:, None]
        found += last_change(correct_KN).trend == "regressing"
        windows = (
            last_change(correct_KN[: k + 1], pinned=k - WINDOW).trend for k in range(WINDOW, 31)
        )
        hidden += "regressing" not in windows
    assert found == 20
    assert hidden >= 17
