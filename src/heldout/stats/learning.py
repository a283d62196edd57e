"""How the error of one kind of example falls as more of them are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

LEAST = 4
"""Evaluations a curve is fitted to at least: two parameters leave two degrees of freedom."""


@dataclass(frozen=True, slots=True)
class Learning:
    """Error falls as (examples seen) ** -`rate`; `low` and `high` are its 95 % interval."""

    error: float
    """Share of wrong answers now."""
    rate: float
    low: float
    high: float

    def gain(self, times: float) -> tuple[float, float, float]:
        """Exact match gained with `times` as many examples: expected, and its 95 % interval.

        A rate below 0 is no gain: nothing here says that more examples of it do harm.
        """
        expected, low, high = (
            self.error * (1 - times ** -max(0.0, rate)) for rate in (self.rate, self.low, self.high)
        )
        return expected, low, high


def learning(steps: Sequence[int], wrong: Sequence[int], n: int) -> Learning | None:
    """Fit the errors `wrong` of `n` at `steps` (above 0, ascending) by a power law.

    Weighted least squares on logarithms, binomial weights, residuals scaled to what they show
    (Hestness et al. 2017, Deep Learning Scaling is Predictable, for the form). None below `LEAST`
    evaluations. The same examples are scored each time, so what is special about them moves the level
    and hardly the rate.
    """
    if len(steps) < LEAST or not n:
        return None
    error = (np.array(wrong, dtype=np.float64) + 0.5) / (n + 1)
    x, y = np.log(np.array(steps, dtype=np.float64)), np.log(error)
    weight = n * error / (1 - error)
    centre = np.average(x, weights=weight)
    spread = float(np.sum(weight * (x - centre) ** 2))
    slope = float(np.sum(weight * (x - centre) * y)) / spread
    residual = y - np.average(y, weights=weight) - slope * (x - centre)
    free = len(steps) - 2
    scale = max(1.0, float(np.sum(weight * residual**2)) / free)
    margin = float(scipy.special.stdtrit(free, 0.975)) * float(np.sqrt(scale / spread))
    return Learning(float(wrong[-1]) / n, -slope, -slope - margin, -slope + margin)
