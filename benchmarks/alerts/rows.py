"""Rows of a training set: in chat form, as token ids, and as a file."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Encoded = dict[str, list[int]]


def encode(tokenizer: Any, row: Row) -> Encoded:
    """Ids and labels with the prompt masked; the answer's end token is trained on."""
    prompt = tokenizer.apply_chat_template(
        row["messages"][:-1], add_generation_prompt=True, return_dict=False
    )
    whole = tokenizer.apply_chat_template(row["messages"], return_dict=False)
    labels = [-100] * len(prompt) + whole[len(prompt) :]
    return {"input_ids": whole, "attention_mask": [1] * len(whole), "labels": labels}


def write(path: Path, rows: Iterable[Row]) -> Path:
    """Rows as JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path) -> list[Row]:
    """Rows of a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
