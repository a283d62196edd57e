"""Evidence that a fixed set is answered worse, as e-values, and many of them judged together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import scipy


def fall_evidence(learned: float, forgotten: float) -> float:
    """Return the e-value of a paired fall: how many times likelier than chance makes it.

    If nothing changed, an example that changed went either way with equal chance, and the mean of this
    number is 1 at most; a fall makes it large. It is the likelihood ratio with the chance of
    forgetting uniform on (1/2, 1): 2^(b+c+1) B(c+1, b+1) P(Beta(c+1, b+1) > 1/2), for b learned and c
    forgotten, which may be fractions. Source: the mixture of Robbins 1970, as in Ramdas et al. 2023,
    Game-theoretic statistics and safe anytime-valid inference.
    """
    log_beta = float(scipy.special.betaln(forgotten + 1, learned + 1))
    tail = float(scipy.special.betaincc(forgotten + 1, learned + 1, 0.5))
    power = (learned + forgotten + 1) * math.log(2)
    return math.exp(min(power + log_beta, 700.0)) * tail


def e_bh(evidence: Sequence[float], alpha: float) -> list[int]:
    """Return which of m e-values to believe, so that on average at most `alpha` of them are false.

    The k largest, for the largest k whose smallest is at least m / (alpha k); they may depend on each
    other in any way. NaN is never believed. Source: Wang and Ramdas 2022, the e-BH procedure.
    """
    known = [i for i, e in enumerate(evidence) if e >= 0]
    order = sorted(known, key=lambda i: -evidence[i])
    believed = [k for k, i in enumerate(order, 1) if evidence[i] >= len(evidence) / (alpha * k)]
    return sorted(order[: max(believed, default=0)])
