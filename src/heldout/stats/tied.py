"""Which checkpoints are as good as the best one, up to chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

REPLICATES = 1000
SEED = 20_250_101


def tied_set(scores_KN: NDArray[np.float64], alpha: float = 0.05) -> list[int]:
    """Return the checkpoints (row indices, ascending) that no other beats by more than chance.

    `scores_KN` holds one row a checkpoint and one column an example (0/1 for exact match), the
    same examples in each row. Checkpoint j stays when max_k (mean_k - mean_j) / se_kj is below the
    1 - alpha quantile of the same maximum over resampled examples, centred at the data, so the
    search over all k is paid for (multiple comparisons with the best; Hsu 1996, with the
    bootstrap of Romano and Wolf 2005). The resampling is seeded: the same scores give the same
    set. Costs one [1000, N] x [N, K] product. Empty for K = 0, all rows for N = 0.
    """
    num_checkpoints, n = scores_KN.shape
    if num_checkpoints == 0 or n == 0:
        return list(range(num_checkpoints))
    weights_BN = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), REPLICATES) / n
    boot_BK = weights_BN @ scores_KN.T
    mean_K = scores_KN.mean(axis=1)
    kept = []
    for j in range(num_checkpoints):
        se_K = (scores_KN - scores_KN[j]).std(axis=1) / np.sqrt(n)
        se_K = np.maximum(se_K, 1e-12)
        lead_K = mean_K - mean_K[j]
        noise_B = ((boot_BK - boot_BK[:, [j]] - lead_K) / se_K).max(axis=1)
        if not (lead_K / se_K).max() > max(np.quantile(noise_B, 1 - alpha), 0.0):
            kept.append(j)
    return kept
