"""Entropy of next-token distributions."""

from __future__ import annotations

import torch
from torch import Tensor

AT_ONCE = 2**17
"""Logits that are worked on at once where the host waits anyway: half a megabyte of float32."""


def row_entropies(logits: Tensor) -> Tensor:
    """Return the entropy in nats of each distribution in `logits` [..., V], as float32 [...].

    A logit of -inf is a token of probability zero; NaN gives NaN.
    """
    log_p = torch.log_softmax(logits.float(), dim=-1)
    p = log_p.exp()
    entropies: Tensor = -torch.linalg.vecdot(p, log_p.clamp_min_(-1e4))
    return entropies


def summed_entropy(logits_BTV: Tensor, b_R: Tensor, t_R: Tensor) -> float:
    """Return the sum in nats of the entropies at rows `b_R` and columns `t_R`; waits for the device.

    A few positions at a time, which stay in the processor's cache. A logit of -inf is a token of
    probability zero; NaN gives NaN.
    """
    size = max(1, AT_ONCE // logits_BTV.shape[-1])
    parts = [(b_R, t_R)]
    if b_R.shape[0] > size:
        parts = list(zip(torch.split(b_R, size), torch.split(t_R, size), strict=True))
    total = 0.0
    for b_N, t_N in parts:
        logits_NV = logits_BTV[b_N, t_N]
        log_p = torch.log_softmax(logits_NV.float(), dim=-1)
        found = -log_p.exp().mul_(log_p).sum().item()
        # 0 times -inf is NaN as well: only then it takes another pass to tell them apart
        total += found if found == found else row_entropies(logits_NV).sum().item()
    return total


def compute_token_entropy(logits: Tensor) -> float:
    """Return the mean entropy in nats over all positions of `logits` [..., V].

    Between 0 (certain) and ln V (uniform). Waits for the device. NaN for no positions.
    """
    with torch.no_grad():
        return float(row_entropies(logits).mean())
