"""The training set's tokens and labels as TRL's SFTTrainer makes them, before it cuts or drops any.

Done here for whole batches of rows and with the lines they come from, since the SFTTrainer drops rows
that the cut leaves without a label and says nothing. A test compares every row with the SFTTrainer's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from trl import SFTConfig

from heldout.errors import DataError
from heldout.evals.rows import Row
from heldout.evals.training_rows import IGNORED, Ids

KEEP_START = "keep_start"
"""SFTConfig's way of cutting; its other one is deprecated."""
BATCH = 512
"""Rows tokenised together."""
OTHERWISE = ("packing", "assistant_only_loss", "chat_template_path", "dataset_kwargs")
"""Fields of SFTConfig with which rows are made in ways that only the SFTTrainer knows."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tokens:
    """One row as the model gets it, and how long it is before the cut."""

    row: Row
    ids: Ids
    labels: Ids
    length: int


def made_otherwise(args: SFTConfig) -> str:
    """The field of `args` because of which rows are not those of `tokens_of`; "" if there is none."""
    if getattr(args, "truncation_mode", KEEP_START) != KEEP_START:
        return "truncation_mode"
    return next((name for name in OTHERWISE if getattr(args, name, None)), "")


def tokens_of(rows: Sequence[Row], tokenizer: Any, args: SFTConfig) -> Iterator[Tokens]:
    """Yield each row's tokens and labels; raises `DataError` where the chat template refuses one."""
    only_answer = args.completion_only_loss is not False
    kept = slice(args.max_length)
    for first in range(0, len(rows), BATCH):
        batch = rows[first : first + BATCH]
        prompts, wholes = _tokenised(batch, tokenizer, args.eos_token or tokenizer.eos_token)
        for row, prompt, whole in zip(batch, prompts, wholes, strict=True):
            ids = np.asarray(whole, dtype=np.int64)
            labels = ids.copy()
            if only_answer:
                labels[: _common(np.asarray(prompt, dtype=np.int64), ids)] = IGNORED
            yield Tokens(row=row, ids=ids[kept], labels=labels[kept], length=len(ids))


def _tokenised(
    rows: Sequence[Row], tokenizer: Any, eos: str | None
) -> tuple[list[list[int]], list[list[int]]]:
    """The token ids of the prompts, and of the whole rows."""
    if tokenizer.chat_template:
        asked = [_rendered(row, tokenizer, whole=False) for row in rows]
        said = [_rendered(row, tokenizer, whole=True) for row in rows]
    else:
        asked = [row.prompt for row in rows]
        said = [row.prompt + _ended(row.response, eos) for row in rows]
    special = not tokenizer.chat_template  # a template writes its own

    def ids(texts: list[str]) -> list[list[int]]:
        return list(tokenizer(texts, add_special_tokens=special)["input_ids"])

    return ids(asked), ids(said)


def _rendered(row: Row, tokenizer: Any, whole: bool) -> str:
    messages = list(row.messages if whole else row.messages[:-1])
    try:
        return str(
            tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=not whole)
        )
    except Exception as error:  # a template is a program of its own and may refuse a role
        remedy = "Change or remove this line."
        raise DataError(f"{row.place}: the chat template refuses it: {error}. {remedy}") from error


def _ended(text: str, eos: str | None) -> str:
    return text if not eos or text.endswith(eos) else text + eos


def _common(a: Ids, b: Ids) -> int:
    """The number of first tokens that both have."""
    n = min(len(a), len(b))
    unlike = np.flatnonzero(a[:n] != b[:n])
    return int(unlike[0]) if len(unlike) else n
