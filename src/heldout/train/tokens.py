"""The training set's texts, tokens and labels as TRL's SFTTrainer makes them, before it cuts or drops any.

Made here, by the rendering that scores the held-out set too, since the SFTTrainer drops rows that the cut
leaves without a label and says nothing, and ends at the first row that the chat template refuses. A test
compares every row with the SFTTrainer's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from trl import SFTConfig

from heldout.adapters.training_template import training_template
from heldout.errors import DataError, HeldoutError
from heldout.evals.rendering import Renderer, Style, common
from heldout.evals.rows import Row
from heldout.evals.training_rows import IGNORED, Ids

KEEP_START = "keep_start"
"""SFTConfig's way of cutting; its other one is deprecated."""
BATCH = 512
"""Rows tokenised together."""
OTHERWISE = ("packing", "assistant_only_loss", "chat_template_path", "dataset_kwargs")
"""Fields of SFTConfig with which rows are made in ways that only the SFTTrainer knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One row as training writes it: its prompt with the generation prompt, and the whole."""

    row: Row
    prompt: str
    whole: str


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


def training_renderer(
    tokenizer: Any, args: SFTConfig, template_kwargs: Mapping[str, Any]
) -> Renderer:
    """What renders training rows; gives the tokenizer the end token that `args` name, as TRL does."""
    if args.eos_token:
        tokenizer.eos_token = args.eos_token
    style = Style(
        template_kwargs=template_kwargs, training_template=training_template(args, tokenizer)
    )
    return Renderer(tokenizer, style)


def rendered(
    rows: Sequence[Row], renderer: Renderer
) -> tuple[list[Text], list[tuple[Row, HeldoutError]]]:
    """Each row's texts, and the rows that cannot be rendered with the reason.

    The chat template refuses them (`DataError`), or they are conversations and there is no template
    (`ModelError`): their earlier turns would be lost without a word.
    """
    texts, refused = [], []
    for row in rows:
        try:
            prompt, whole = renderer.texts(row)
        except HeldoutError as error:
            refused.append((row, error))
        else:
            texts.append(Text(row=row, prompt=prompt, whole=whole))
    return texts, refused


def sentences(refused: Sequence[tuple[Row, HeldoutError]]) -> list[str]:
    """What is said of rows that cannot be rendered: place, reason, remedy."""
    remedy = ". Change or remove this line."
    return [
        f"{row.place}: {error}" + (remedy if isinstance(error, DataError) else "")
        for row, error in refused
    ]


def tokens_of(texts: Sequence[Text], renderer: Renderer, args: SFTConfig) -> Iterator[Tokens]:
    """Yield each row's tokens and labels."""
    only_answer = args.completion_only_loss is not False
    kept = slice(args.max_length)
    special = not renderer.templated  # a template writes its own

    def ids(written: list[str]) -> list[list[int]]:
        return list(renderer.tokenizer(written, add_special_tokens=special)["input_ids"])

    for first in range(0, len(texts), BATCH):
        batch = texts[first : first + BATCH]
        prompts = ids([text.prompt for text in batch])
        wholes = ids([text.whole for text in batch])
        for text, prompt, whole in zip(batch, prompts, wholes, strict=True):
            labels = np.asarray(whole, dtype=np.int64)
            if only_answer:
                labels[: common(prompt, whole)] = IGNORED
            yield Tokens(
                row=text.row,
                ids=np.asarray(whole, dtype=np.int64)[kept],
                labels=labels[kept],
                length=len(whole),
            )
