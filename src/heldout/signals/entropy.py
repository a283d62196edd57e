"""Entropy of next-token distributions."""

from __future__ import annotations

import torch
from torch import Tensor


def row_entropies(logits: Tensor) -> Tensor:
    """Return the entropy in nats of each distribution in `logits` [..., V], as float32 [...].

    A logit of -inf is a token of probability zero; NaN gives NaN.
    """
    log_p = torch.log_softmax(logits.float(), dim=-1)
    p = log_p.exp()
    entropies: Tensor = -torch.linalg.vecdot(p, log_p.clamp_min_(-1e4))
    return entropies


def summed_entropy(logits_RV: Tensor) -> float:
    """Return the sum of the rows' entropies in nats; waits for the device.

    A logit of -inf is a token of probability zero; NaN gives NaN.
    """
    log_p = torch.log_softmax(logits_RV.float(), dim=-1)
    total = -log_p.exp().mul_(log_p).sum().item()
    # 0 times -inf is NaN as well: only then it takes another pass to tell them apart
    return total if total == total else row_entropies(logits_RV).sum().item()


def compute_token_entropy(logits: Tensor) -> float:
    """Return the mean entropy in nats over all positions of `logits` [..., V].

    Between 0 (certain) and ln V (uniform). Waits for the device. NaN for no positions.
    """
    with torch.no_grad():
        return float(row_entropies(logits).mean())
