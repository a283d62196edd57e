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


def compute_token_entropy(logits: Tensor) -> float:
    """Return the mean entropy in nats over all positions of `logits` [..., V].

    Between 0 (certain) and ln V (uniform). Waits for the device. NaN for no positions.
    """
    with torch.no_grad():
        return float(row_entropies(logits).mean())
