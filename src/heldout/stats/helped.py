"""Exact match with the help of cross-entropy: less noise, so that neighbours can be told apart.

Exact match is right or wrong and jumps; cross-entropy moves smoothly and says mostly the same. So exact
match as cross-entropy predicts it carries what is fast, and the difference to the real one, averaged over
more evaluations, corrects any drift between the two. It only helps to choose, and is never shown as exact
match.

Legend: K evaluations of the same N examples, oldest first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NOTHING = 0.02
"""A best exact match up to this is nothing right yet: it cannot tell one checkpoint from another."""
WIDTH = 1.5
"""Evaluations over which the difference to the prediction is averaged (a Gaussian's standard deviation);
1 to 2 do as well on real trainings, and wider loses where cross-entropy drifts (benchmarks/decisions)."""
MOST, ROUNDS = 5000, 15
"""Points that the curve is fitted on, and Newton steps, which settle long before."""


def speaks(score_KN: Floats) -> bool:
    """Whether exact match says anything: some answers are right, and some changed."""
    if not score_KN.size or not score_KN.mean(axis=1).max() > NOTHING:
        return False
    return len(score_KN) == 1 or bool((score_KN != score_KN[0]).any())


def finite(ce_KN: Floats) -> Floats:
    """Return cross-entropies with those that are not finite as bad as the worst that is."""
    known = np.isfinite(ce_KN)
    if known.all():
        return ce_KN
    worst = float(ce_KN[known].max()) if known.any() else 0.0
    return np.where(known, ce_KN, worst)


def helped(score_KN: Floats, ce_KN: Floats, unit: int = 1) -> Floats:
    """Return exact match with the help of cross-entropy, per evaluation and example.

    `unit` widens the average of the difference where evaluations are many (`unit_of`).
    """
    by_ce_KN = predicted(score_KN, ce_KN)
    return smooth(by_ce_KN) + _wide(score_KN - by_ce_KN, WIDTH * unit)


def predicted(score_KN: Floats, ce_KN: Floats) -> Floats:
    """Return the exact match of each example that its cross-entropy alone predicts.

    One logistic curve of being right on log cross-entropy, fitted on all evaluations and examples.
    """
    x_KN = np.log(np.maximum(ce_KN, 0.0) + 1e-4)
    step = max(1, x_KN.size // MOST)
    x, y = x_KN.ravel()[::step], score_KN.ravel()[::step]
    middle, scale = float(x.mean()), float(x.std()) + 1e-9
    z = (x - middle) / scale
    level = slope = 0.0
    for _ in range(ROUNDS):
        p = np.clip(_logistic(level + slope * z), 1e-6, 1 - 1e-6)
        weight = p * (1 - p)
        # a whiff of ridge keeps the fit finite where all answers are right, or none
        toward_level = float((y - p).sum()) - 1e-3 * level
        toward_slope = float(((y - p) * z).sum()) - 1e-3 * slope
        a = float(weight.sum()) + 1e-3
        b = float((weight * z).sum())
        c = float((weight * z * z).sum()) + 1e-3
        level += (c * toward_level - b * toward_slope) / (a * c - b * b)
        slope += (a * toward_slope - b * toward_level) / (a * c - b * b)
    return _logistic(level + slope * (x_KN - middle) / scale)


def smooth(rows_KN: Floats) -> Floats:
    """Return each row averaged with its neighbours, weights 1/4, 1/2, 1/4; an end stands in for itself."""
    padded = np.concatenate([rows_KN[:1], rows_KN, rows_KN[-1:]])
    return 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]


def unit_of(planned: int) -> int:
    """Return by how much widths grow with the evaluations planned: 1 up to 30, 2 at 40, 5 at 100."""
    return max(1, round(planned / 20))


def _wide(rows_KN: Floats, width: float) -> Floats:
    at_K = np.arange(len(rows_KN))
    weight_KK = np.exp(-0.5 * ((at_K[:, None] - at_K) / width) ** 2)
    wide: Floats = weight_KK / weight_KK.sum(axis=1, keepdims=True) @ rows_KN
    return wide


def _logistic(x: Floats) -> Floats:
    value: Floats = 1 / (1 + np.exp(-np.clip(x, -30, 30)))
    return value
