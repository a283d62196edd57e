"""Which of several checkpoints to keep.

Tied is not equal: the earliest of those that chance may tell from the best loses points of true exact match,
while the highest smoothed one loses tenths (benchmarks/decisions). So the best is named, and an earlier
one only as cheaper, with what it costs at most.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from heldout.stats.groups import Groups, standard_error
from heldout.stats.helped import helped, smooth, speaks, unit_of
from heldout.stats.intervals import CONFIDENCE

Floats = NDArray[np.float64]

CHEAPER = 0.02
"""An earlier checkpoint is offered where it surely costs less than two points."""
EQUAL = 1e-6
"""Means closer than this, in exact match or nats, differ by no more than the arithmetic of float32."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Merit:
    """How good each of K checkpoints is, by example; higher is better."""

    by: Literal["em", "ce"]
    """What decides: exact match with the help of cross-entropy or, where exact match cannot tell, minus
    cross-entropy."""
    value_KN: Floats
    ce_K: Floats


def merit(score_KN: Floats, ce_KN: Floats, planned: int = 0, ordered: bool = True) -> Merit:
    """Judge K checkpoints scored on the same N examples.

    Those of one run, in order of their steps, are smoothed over their neighbours, over more of them
    where more are `planned`. Checkpoints that are no run (`ordered` False) are taken as they are.
    """
    ce_K = ce_KN.mean(axis=1) if ce_KN.size else np.zeros(len(ce_KN))
    if not score_KN.size:
        return Merit(by="em", value_KN=score_KN, ce_K=ce_K)
    if not speaks(score_KN):
        return Merit(by="ce", value_KN=-(smooth(ce_KN) if ordered else ce_KN), ce_K=ce_K)
    unit = unit_of(max(planned, len(score_KN)))
    value_KN = helped(score_KN, ce_KN, unit) if ordered else score_KN
    return Merit(by="em", value_KN=value_KN, ce_K=ce_K)


def choose(found: Merit, among: Sequence[int]) -> int | None:
    """Return the best of the checkpoints `among`; None without one.

    Of equals it is the one with less cross-entropy, then the earlier.
    """
    if not among:
        return None
    value_K = found.value_KN.mean(axis=1) if found.value_KN.size else np.zeros(len(found.ce_K))
    best = [i for i in among if value_K[i] >= max(value_K[j] for j in among) - EQUAL]
    least = min(found.ce_K[i] for i in best)
    return min(i for i in best if found.ce_K[i] <= least + EQUAL)


def cheaper(
    found: Merit, best: int, among: Sequence[int], groups_N: Groups = None
) -> tuple[int, float] | None:
    """Return the earliest checkpoint that surely costs less than `CHEAPER` against `best`, and that cost.

    The cost is the upper 95 % end of the difference in exact match. None without such a one, and
    where exact match cannot tell.
    """
    z = NormalDist().inv_cdf(CONFIDENCE)
    for i in sorted(i for i in among if i < best and found.by == "em"):
        lost_N = found.value_KN[best] - found.value_KN[i]
        most = float(lost_N.mean()) + z * standard_error(lost_N, groups_N)
        if math.isfinite(most) and most < CHEAPER:
            return i, max(most, 0.0)
    return None
