"""The best score, and what is left of it once the luck of being the best is taken off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heldout.stats.groups import Groups, group_sums
from heldout.stats.resample import draws, means


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The checkpoint with the highest mean score, the earliest of equals."""

    index: int
    score: float
    corrected: float
    """`score` less the optimism of having chosen the highest of K on the same examples."""


def best(scores_KN: NDArray[np.float64], groups_N: Groups = None) -> Best | None:
    """Return the best of K checkpoints scored on the same N examples; None without scores.

    The optimism is found out of bag: on each resample the checkpoint best there is scored on the
    examples the resample left out, and `corrected` is the mean of those scores (bootstrap bias
    corrected selection, BBC; Tsamardinos, Greasidou and Borboudakis 2018). The overall best's own
    scores on the left-out examples, whose mean is known to be `score`, are subtracted as a control
    variate: less noise, and no correction at all where the same checkpoint always wins. The luck of
    a set that is easy for all checkpoints alike stays in it; only a set never used to choose is
    free of that.
    """
    if not scores_KN.size:
        return None
    n = scores_KN.shape[1]
    sums_KG, sizes_G = group_sums(scores_KN, groups_N), group_sums(np.ones(n), groups_N)
    times_BG = draws(len(sizes_G))
    left_out_BG = times_BG == 0
    some_B = left_out_BG.any(axis=1)
    chosen_B = means(times_BG.astype(np.float64), sums_KG, sizes_G).argmax(axis=1)[some_B]
    out_BK = means(left_out_BG.astype(np.float64), sums_KG, sizes_G)[some_B]
    mean_K = sums_KG.sum(axis=1) / n
    index = int(mean_K.argmax())
    lead_B = out_BK[:, index] - out_BK[np.arange(len(chosen_B)), chosen_B]
    optimism = float(lead_B.mean()) if len(lead_B) else 0.0
    score = float(mean_K[index])
    return Best(index=index, score=score, corrected=score - max(0.0, optimism))
