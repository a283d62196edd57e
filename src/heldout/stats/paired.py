"""Two evaluations of the same examples compared example by example.

Legend: b examples went wrong -> right and c right -> wrong; the others say nothing of the change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from heldout.stats.groups import Groups, independent_share, standard_error
from heldout.stats.intervals import CONFIDENCE, bonett_price, detectable


def mcnemar(b: int, c: int) -> float:
    """Return the exact two-sided p-value of McNemar's test, 2 P(Binomial(b + c, 1/2) <= min(b, c)).

    1.0 without a discordant pair. Source: McNemar 1947, in its exact binomial form.
    """
    return min(1.0, 2 * float(scipy.special.bdtr(min(b, c), b + c, 0.5)))


def mcnemar_mid_p(b: int, c: int) -> float:
    """Return the mid-p-value of McNemar's test: the exact one less P(Binomial = min(b, c)).

    Less cautious than the exact test: its level is the nominal one on average and rarely above it.
    Source: Fagerland, Lydersen and Laake 2013.
    """
    few, pairs = min(b, c), b + c
    return float(
        scipy.special.bdtr(few, pairs, 0.5)
        + (scipy.special.bdtr(few - 1, pairs, 0.5) if few else 0.0)
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paired:
    """What changed between two evaluations, example by example: +1 learned, -1 forgotten, 0."""

    change_N: NDArray[np.float64]
    groups_N: Groups
    learned: int
    forgotten: int

    @property
    def n(self) -> int:
        """The examples compared."""
        return len(self.change_N)

    @property
    def change(self) -> float:
        """The difference of exact match, (b - c) / n; 0.0 without examples."""
        return (self.learned - self.forgotten) / self.n if self.n else 0.0

    @property
    def error(self) -> float:
        """The standard error of `change`, clustered by group; NaN for fewer than two groups."""
        return standard_error(self.change_N, self.groups_N)

    @property
    def p(self) -> float | None:
        """McNemar's exact p; None where groups make the examples dependent."""
        return mcnemar(self.learned, self.forgotten) if self.groups_N is None else None

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Return the interval of `change`: Bonett-Price, on as many examples as groups are worth."""
        return bonett_price(*self._worth(confidence), confidence)

    def detectable(self, confidence: float = CONFIDENCE) -> float:
        """Return the smallest change a test at `confidence` would see with 80 % power."""
        return detectable(*self._worth(confidence), confidence)

    def _worth(self, confidence: float) -> tuple[float, float, float]:
        share = independent_share(self.change_N, self.groups_N, confidence)
        return share * self.learned, share * self.forgotten, share * self.n


def paired(then_N: NDArray[np.bool_], now_N: NDArray[np.bool_], groups_N: Groups = None) -> Paired:
    """Compare two evaluations, the earlier first, of the same examples in the same order."""
    return Paired(
        change_N=now_N.astype(np.float64) - then_N,
        groups_N=groups_N,
        learned=int((now_N & ~then_N).sum()),
        forgotten=int((then_N & ~now_N).sum()),
    )
