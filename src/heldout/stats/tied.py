"""Which checkpoints are as good as the best one, up to chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from heldout.stats.groups import Groups, group_sums
from heldout.stats.resample import draws, means


def tied_set(
    scores_KN: NDArray[np.float64], alpha: float = 0.05, groups_N: Groups = None
) -> list[int]:
    """Return the checkpoints (row indices, ascending) that no other beats by more than chance.

    `scores_KN` holds one row a checkpoint and one column an example (0/1 for exact match), the
    same examples in each row. Checkpoint j stays when max_k (mean_k - mean_j) / se_kj is below the
    1 - alpha quantile of the same maximum over resampled groups of examples, centred at the data,
    so the search over all k is paid for (multiple comparisons with the best; Hsu 1996, with the
    bootstrap of Romano and Wolf 2005). The resampling is seeded: the same scores give the same
    set. Costs one [1000, N] x [N, K] product. Empty for K = 0, all rows for N = 0.
    """
    num_checkpoints, n = scores_KN.shape
    if num_checkpoints == 0 or n == 0:
        return list(range(num_checkpoints))
    sums_KG, sizes_G = group_sums(scores_KN, groups_N), group_sums(np.ones(n), groups_N)
    boot_BK = means(draws(len(sizes_G)).astype(np.float64), sums_KG, sizes_G)
    mean_K = sums_KG.sum(axis=1) / n
    se_KK = _errors_of_differences(sums_KG - mean_K[:, None] * sizes_G, n)
    kept = []
    for j in range(num_checkpoints):
        lead_K = mean_K - mean_K[j]
        noise_B = ((boot_BK - boot_BK[:, [j]] - lead_K) / se_KK[j]).max(axis=1)
        if not (lead_K / se_KK[j]).max() > max(np.quantile(noise_B, 1 - alpha), 0.0):
            kept.append(j)
    return kept


def _errors_of_differences(residual_KG: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """The standard error of the difference of any two rows; never zero, so that one may divide."""
    product_KK = residual_KG @ residual_KG.T
    own_K = product_KK.diagonal()
    square_KK = own_K[:, None] + own_K - 2 * product_KK
    error_KK: NDArray[np.float64] = np.sqrt(np.maximum(square_KK, 1e-12)) / n
    return error_KK
