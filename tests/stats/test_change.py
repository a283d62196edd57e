"""Better, as good or worse, and what is excluded where nobody can say."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from runs import simulated

from heldout.stats.change import BEFORE, LAST, Change, last_change

Bools = NDArray[np.bool_]
LOOKS = 21


def judged(rows_KN: NDArray[np.generic], ce: float = 0.5, **more: object) -> Change:
    """The last of these evaluations, at a cross-entropy that stays."""
    scores_KN = rows_KN.astype(np.float64)
    return last_change(scores_KN, np.full(scores_KN.shape, ce), **more)  # type: ignore[arg-type]


def first(*counts: int, n: int = 400) -> Bools:
    """One evaluation a count, with the first that many examples right."""
    return np.array([np.arange(n) < count for count in counts])


def words(scores_KN: NDArray[np.float64], ce_KN: NDArray[np.float64]) -> list[str]:
    looks = range(2, len(scores_KN) + 1)
    return [last_change(scores_KN[:k], ce_KN[:k], planned=len(scores_KN)).trend for k in looks]


@pytest.mark.parametrize(
    ("counts", "trend", "blocks"),
    [
        ((200,), "inconclusive", (0, 0)),
        ((100, 200), "improving", (1, 1)),
        ((200, 100), "regressing", (1, 1)),
        ((200, 202, 201), "plateau", (1, 2)),
        ((200, 212, 224, 236), "improving", (2, 2)),
        ((*range(100, 300, 10),), "improving", (4, 12)),
        ((*range(300, 100, -10),), "regressing", (4, 12)),
        ((100, *[300] * 9), "plateau", (4, 4)),  # a rise that is over
        ((100, *[300] * 4, *[240] * 4), "regressing", (4, 4)),  # an earlier rise hides no fall
    ],
)
def test_the_last_block_is_compared_with_those_before(
    counts: tuple[int, ...], trend: str, blocks: tuple[int, int]
) -> None:
    rows_KN = first(*counts)
    rows_KN[:, -1] = (
        np.arange(len(counts)) % 2
    )  # one example always changes, so exact match can tell
    found = judged(rows_KN)
    assert found.trend == trend
    assert (found.last, found.before) == blocks
    assert found.low <= found.contrast.change <= found.high
    assert found.reference == len(counts) - 1 - found.last
    assert (LAST, BEFORE) == (4, 12)


def test_nothing_and_one_example_say_nothing() -> None:
    for rows_KN in (first(0, 0, n=0), first(0, 1, n=1)):
        found = judged(rows_KN)
        assert (found.trend, found.low, found.high) == ("inconclusive", -1.0, 1.0)
        assert math.isfinite(found.p)


@pytest.mark.parametrize("right", [0, 300, 400])
@pytest.mark.parametrize(
    ("losses", "trend", "motion"),
    [
        ((3.0, 2.5, 2.2, 2.0, 1.8, 1.6, 1.5, 1.4), "inconclusive", "falling"),
        ((1.5,) * 8, "plateau", "flat"),
        ((1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7), "inconclusive", "rising"),
    ],
)
def test_where_exact_match_cannot_tell_cross_entropy_decides(
    right: int, losses: tuple[float, ...], trend: str, motion: str
) -> None:
    """Nothing right, or no example that changed: no plateau while cross-entropy moves."""
    rows_KN = first(*[right] * 8).astype(np.float64)
    ce_KN = np.outer(losses, np.linspace(0.5, 1.5, 400))
    found = last_change(rows_KN, ce_KN)
    assert (found.trend, found.ce_motion, found.speaks) == (trend, motion, False)


def test_there_is_no_plateau_while_cross_entropy_surely_falls() -> None:
    rng = np.random.default_rng(1)
    scores_KN, _ = simulated(rng, [0.6] * 12, 500)
    still_KN = np.tile(rng.random(500), (12, 1))
    falling_KN = still_KN * np.linspace(1.0, 0.6, 12)[:, None]
    assert last_change(scores_KN, still_KN).trend == "plateau"
    assert last_change(scores_KN, falling_KN).trend == "inconclusive"


def test_a_margin_is_asked_for_or_what_the_set_can_show() -> None:
    rng = np.random.default_rng(2)
    scores_KN, ce_KN = simulated(rng, [0.7] * 12, 500)
    own = last_change(scores_KN, ce_KN)
    assert own.margin == own.detectable
    assert own.trend == "plateau"
    assert last_change(scores_KN, ce_KN, margin=0.001).trend == "inconclusive"


def test_a_pinned_evaluation_is_the_only_one_to_compare_with() -> None:
    rows_KN = first(40, 360, 200, 202, 201)
    trends = [judged(rows_KN, pinned=pinned).trend for pinned in (0, 1, 3, 9)]
    assert trends == ["improving", "regressing", "plateau", "inconclusive"]
    assert judged(rows_KN, pinned=1).pair.forgotten == 159


def test_the_more_evaluations_are_planned_the_wider_is_the_interval() -> None:
    rows_KN = first(200, 210)
    spans = [judged(rows_KN, planned=planned).high for planned in (0, 21, 100, 1000)]
    assert spans[0] == spans[1] < spans[2] < spans[3]


def test_a_group_counts_as_few() -> None:
    rows_KN = first(100, 160)
    assert judged(rows_KN).trend == "improving"
    assert judged(rows_KN, groups_N=np.arange(400) // 100).trend == "inconclusive"


def test_a_flat_run_is_rarely_called_better_or_worse_also_where_checkpoints_wobble() -> None:
    """A plain test at each look is wrong in most such runs; ours may be in 5 % either way."""
    rng = np.random.default_rng(7)
    plain = better = worse = twice = 0
    for i in range(80):
        em = 0.7 + 0.005 * (i % 2) * rng.normal(size=LOOKS)
        scores_KN, ce_KN = simulated(rng, em.tolist(), 500)
        plain += any(_plain(scores_KN[0], now_N) for now_N in scores_KN[1:])
        said = words(scores_KN, np.full_like(ce_KN, 0.5))
        better += "improving" in said
        worse += "regressing" in said
        twice += ("regressing", "regressing") in pairwise(said)
    assert plain >= 30
    assert better <= 4
    assert worse <= 4
    assert twice <= 1


def _plain(then_N: NDArray[np.float64], now_N: NDArray[np.float64]) -> bool:
    return bool(abs((now_N - then_N).sum()) > 1.96 * math.sqrt((now_N != then_N).sum()))


@pytest.mark.parametrize(("sign", "word"), [(1, "improving"), (-1, "regressing")])
def test_three_points_over_five_evaluations_are_called(sign: int, word: str) -> None:
    """500 examples, of which 6 % change from one evaluation to the next: at least 4 of 5 runs."""
    rng = np.random.default_rng(8)
    em = [0.7 + sign * 0.03 * min(1.0, max(0, k - 7) / 5) for k in range(LOOKS)]
    runs = [simulated(rng, em, 500) for _ in range(40)]
    assert sum(word in words(*run) for run in runs) >= 30


def test_what_is_excluded_is_said_at_every_look_and_holds() -> None:
    rng = np.random.default_rng(9)
    for _ in range(10):
        scores_KN, ce_KN = simulated(rng, [0.6] * 12, 500)
        for looks in range(2, 13):
            found = last_change(scores_KN[:looks], ce_KN[:looks])
            assert found.low < 0 < found.high
            assert min(found.high, -found.low) < 2 * found.detectable < 0.25
