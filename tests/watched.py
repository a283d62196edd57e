"""Data as a plain Trainer takes it, for runs that are watched."""

from __future__ import annotations

from typing import Any

import tiny
import torch
from datasets import Dataset


def encoded(tokenizer: Any, n: int = 24) -> Dataset:
    """Rows as a plain Trainer takes them: ids, mask and labels with the prompt masked."""
    found = []
    for row in tiny.rows(n):
        prompt = tokenizer.apply_chat_template(
            row["messages"][:-1], add_generation_prompt=True, return_dict=False
        )
        whole = tokenizer.apply_chat_template(row["messages"], return_dict=False)
        labels = [-100] * len(prompt) + whole[len(prompt) :]
        found.append({"input_ids": whole, "attention_mask": [1] * len(whole), "labels": labels})
    return Dataset.from_list(found)


def collate(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    width = max(len(row["input_ids"]) for row in rows)
    pads = {"input_ids": 0, "attention_mask": 0, "labels": -100}
    return {
        key: torch.tensor([row[key] + [pad] * (width - len(row[key])) for row in rows])
        for key, pad in pads.items()
    }
