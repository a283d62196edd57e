"""One forward pass over prompt + response tells what greedy decoding would answer.

Greedy decoding reproduces the golden response if and only if the teacher-forced argmax is the golden
token at every response position, EOS included: up to the first difference both see the same prefix.
So one pass gives exact match, cross-entropy, entropy and confidence, at about the cost of eval loss.

Only the rows that predict a response token reach the output head. The pass goes through the model
itself; a hook in front of the head drops the other rows, so scaling or soft-capping that the model
does behind its head is still the model's own.

Shapes: B sequences in a batch, T padded length, R response rows in the batch, V vocabulary, H hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from heldout.evals.calibration import NUM_BINS, bin_sums
from heldout.evals.fixed_set import Example
from heldout.evals.neutral import neutral

TOKEN_BUDGET = 4096
"""Padded tokens in one forward pass."""
LOGIT_BUDGET = 2**25
"""Logits of one forward pass, rows x vocabulary: 128 MiB in float32."""
SIMILAR = 0.8
WORTHWHILE = 512
"""A batch of so many tokens takes no example shorter than this share of its longest one: on a set of
mixed lengths padding would otherwise be more than half of the work."""
CHUNK = 256
"""Rows whose statistics are computed at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """N examples scored, one entry an example, in the order given. Sums are over response tokens."""

    tokens: NDArray[np.int64]
    hits: NDArray[np.int64]
    ce_sum: NDArray[np.float64]
    entropy_sum: NDArray[np.float64]
    divergence: NDArray[np.int64]
    """0-based position of the first wrong token; -1 where the whole response is reproduced."""
    finite: NDArray[np.bool_]
    bins: NDArray[np.float64]
    """[N, 10, 4] calibration sums."""

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether greedy decoding gives the golden response token by token."""
        return self.finite & (self.divergence < 0)


def score(model: nn.Module, examples: Sequence[Example], eos_ids: Sequence[int] = ()) -> Scores:
    """Score `examples` with `model`, leaving the model and all random states as they were.

    `eos_ids` are the tokens that end a generation; where the golden response ends with one, any of
    them counts as the end. An example whose logits are not finite is not correct. Cost: one forward pass.
    """
    model = getattr(model, "_orig_mod", model)
    n = len(examples)
    found = Scores(
        tokens=np.array([len(example.response_ids) for example in examples], dtype=np.int64),
        hits=np.zeros(n, np.int64),
        ce_sum=np.zeros(n),
        entropy_sum=np.zeros(n),
        divergence=np.full(n, -1, np.int64),
        finite=np.ones(n, np.bool_),
        bins=np.zeros((n, NUM_BINS, 4)),
    )
    device = next(model.parameters()).device
    with neutral(model):
        for batch in batches(examples, _vocabulary(model)):
            stats_R4 = _forward(model, [examples[i] for i in batch], eos_ids, device)
            start = 0
            for i in batch:
                rows = stats_R4[start : start + found.tokens[i]]
                start += int(found.tokens[i])
                _reduce(found, i, rows)
    return found


def batches(examples: Sequence[Example], vocabulary: int) -> Iterator[list[int]]:
    """Yield index lists, longest examples first, of similar lengths, within both budgets.

    The largest batch comes first, so a machine with too little memory says so at once.
    """
    lengths = [len(e.prompt_ids) + len(e.response_ids) for e in examples]
    batch: list[int] = []
    rows = 0
    for i in sorted(range(len(examples)), key=lambda i: (-lengths[i], i)):
        longest = lengths[batch[0]] if batch else lengths[i]
        more_rows = rows + len(examples[i].response_ids)
        full = longest * (len(batch) + 1) > TOKEN_BUDGET or more_rows * vocabulary > LOGIT_BUDGET
        shorter = lengths[i] < SIMILAR * longest and longest * len(batch) >= WORTHWHILE
        if batch and (full or shorter):
            yield batch
            batch, more_rows = [], len(examples[i].response_ids)
        batch.append(i)
        rows = more_rows
    if batch:
        yield batch


def _forward(
    model: nn.Module, batch: Sequence[Example], eos_ids: Sequence[int], device: torch.device
) -> NDArray[np.float64]:
    """Return [R, 4]: cross-entropy, entropy, top probability, hit; response rows in batch order."""
    width = max(len(e.prompt_ids) + len(e.response_ids) for e in batch)
    ids_BT = torch.zeros(len(batch), width, dtype=torch.long)
    mask_BT = torch.zeros_like(ids_BT)
    keep_BT = torch.zeros_like(ids_BT, dtype=torch.bool)
    for row, example in enumerate(batch):
        ids = torch.tensor(example.prompt_ids + example.response_ids)
        ids_BT[row, : len(ids)] = ids
        mask_BT[row, : len(ids)] = 1
        keep_BT[row, len(example.prompt_ids) - 1 : len(ids) - 1] = True
    gold_R = torch.tensor([token for e in batch for token in e.response_ids], device=device)
    last_R = torch.tensor(
        [p == len(e.response_ids) - 1 for e in batch for p in range(len(e.response_ids))],
        device=device,
    )
    keep_BT = keep_BT.to(device)
    with head_rows(model, keep_BT):
        out = model(input_ids=ids_BT.to(device), attention_mask=mask_BT.to(device), use_cache=False)
    logits = out.logits
    rows_RV = logits[0] if logits.shape[:2] == (1, len(gold_R)) else logits[keep_BT]
    eos_E = torch.tensor(list(eos_ids), dtype=torch.long, device=device)
    parts = [
        _statistics(rows_RV[i : i + CHUNK], gold_R[i : i + CHUNK], last_R[i : i + CHUNK], eos_E)
        for i in range(0, len(gold_R), CHUNK)
    ]
    return torch.cat(parts).cpu().double().numpy()


@contextmanager
def head_rows(model: nn.Module, keep_BT: Tensor) -> Iterator[None]:
    """Let only the hidden rows in `keep_BT` reach the output head, as one sequence [1, R, H].

    A model without an output head to hook (`get_output_embeddings` is None) is left alone and
    answers with all its logits.
    """
    head = output_head(model)
    if head is None:
        yield
        return

    def drop_rows(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden_BTH, *rest = args
        if hidden_BTH.shape[:2] != keep_BT.shape:
            return args
        return (hidden_BTH[keep_BT.to(hidden_BTH.device)].unsqueeze(0), *rest)

    handle = head.register_forward_pre_hook(drop_rows)
    try:
        yield
    finally:
        handle.remove()


def output_head(model: nn.Module) -> nn.Module | None:
    """Return the module that turns hidden rows into logits; None if the model names none."""
    getter = getattr(model, "get_output_embeddings", None)
    head = getter() if callable(getter) else None
    return head if isinstance(head, nn.Module) else None


def _statistics(logits_RV: Tensor, gold_R: Tensor, last_R: Tensor, eos_E: Tensor) -> Tensor:
    """[R, 4] of CE, entropy, top probability and hit, from one softmax in float32."""
    z_RV = logits_RV.float()
    top_R, argmax_R = z_RV.max(dim=-1)
    z_RV = z_RV - top_R[:, None]
    gold_logit_R = z_RV.gather(1, gold_R[:, None]).squeeze(1)
    e_RV = z_RV.exp()
    sum_R = e_RV.sum(dim=-1)
    log_sum_R = sum_R.log()
    entropy_R = log_sum_R - (z_RV.clamp_min(-1e4) * e_RV).sum(dim=-1) / sum_R
    both_end_R = last_R & torch.isin(gold_R, eos_E) & torch.isin(argmax_R, eos_E)
    hit_R = (argmax_R == gold_R) | both_end_R
    return torch.stack([log_sum_R - gold_logit_R, entropy_R, 1 / sum_R, hit_R.float()], dim=1)


def _reduce(found: Scores, i: int, rows_R4: NDArray[np.float64]) -> None:
    ce, entropy, confidence, hit = rows_R4.T
    hit = hit > 0
    found.hits[i] = hit.sum()
    found.ce_sum[i] = ce.sum()
    found.entropy_sum[i] = entropy.sum()
    found.finite[i] = bool(np.isfinite(rows_R4[:, :3]).all())
    wrong = np.flatnonzero(~hit)
    found.divergence[i] = wrong[0] if len(wrong) else -1
    found.bins[i] = bin_sums(confidence, hit)


def _vocabulary(model: nn.Module) -> int:
    config: Any = getattr(model, "config", None)
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    return int(getattr(text, "vocab_size", 0) or 1)
