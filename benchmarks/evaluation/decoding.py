"""Greedy generation for the ways that decode: what `model.generate` gives, as lists of ids."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel


def generate(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    eos_ids: Sequence[int],
) -> list[list[int]]:
    """Answer the prompts in one left-padded batch; each answer is cut after its first EOS."""
    ids_BT, mask_BT = left_padded(prompts)
    with torch.no_grad():
        out_BT = model.generate(
            input_ids=ids_BT.to(model.device),
            attention_mask=mask_BT.to(model.device),
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=list(eos_ids),
            pad_token_id=eos_ids[0],
        )
    return [_ended(row, eos_ids) for row in out_BT[:, ids_BT.shape[1] :].tolist()]


def left_padded(prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Return ids and attention mask, both [B, T]."""
    width = max(len(prompt) for prompt in prompts)
    ids_BT = torch.zeros(len(prompts), width, dtype=torch.long)
    mask_BT = torch.zeros_like(ids_BT)
    for row, prompt in enumerate(prompts):
        ids_BT[row, width - len(prompt) :] = torch.tensor(prompt)
        mask_BT[row, width - len(prompt) :] = 1
    return ids_BT, mask_BT


def right_padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Return ids and attention mask, both [B, T]."""
    width = max(len(row) for row in rows)
    ids_BT = torch.zeros(len(rows), width, dtype=torch.long)
    mask_BT = torch.zeros_like(ids_BT)
    for i, row in enumerate(rows):
        ids_BT[i, : len(row)] = torch.tensor(row)
        mask_BT[i, : len(row)] = 1
    return ids_BT, mask_BT


def same(produced: Sequence[int], golden: Sequence[int], eos_ids: Sequence[int]) -> bool:
    """Tell whether the answer is the golden one; any EOS ends it as well as another."""
    produced = produced[: len(golden)]
    if len(produced) != len(golden) or list(produced[:-1]) != list(golden[:-1]):
        return False
    return produced[-1] == golden[-1] or {produced[-1], golden[-1]} <= set(eos_ids)


def _ended(ids: list[int], eos_ids: Sequence[int]) -> list[int]:
    ends = [i for i, token in enumerate(ids) if token in eos_ids]
    return ids[: ends[0] + 1] if ends else ids
