"""The training set as TRL's SFTTrainer takes it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from heldout.derive.patterns import Patterns, classify
from heldout.errors import DataError
from heldout.evals.rendering import Renderer
from heldout.evals.rows import DETECT, Keys, Reading, Row, nothing_in, read
from heldout.train.tokens import Tokens


def load_rows(path: str | Path, keys: Keys = DETECT) -> Reading:
    """Return the usable rows and a sentence for each row that is not; `DataError` if none is."""
    found = read(path, keys)
    if not found.rows:
        raise DataError(nothing_in(path, found.left_out))
    return found


def as_dataset(tokens: Iterable[Tokens]) -> Dataset:
    """Return rows as the model gets them, so that nothing is rendered a second time."""
    rows = list(tokens)
    return Dataset.from_dict(
        {"input_ids": [row.ids for row in rows], "labels": [row.labels for row in rows]}
    )


def as_conversations(rows: Sequence[Row], renderer: Renderer, why: str) -> Dataset:
    """Return rows in TRL's prompt-completion form, for ways to train that only TRL knows.

    A column of its own gives the chat template's arguments. Raises `DataError` where they differ by row:
    a column holds the same names in every row, and a template takes null for another answer than none.
    `why` names the setting because of which TRL makes the tokens.
    """
    if not renderer.templated:
        return Dataset.from_dict(
            {"prompt": [row.prompt for row in rows], "completion": [row.response for row in rows]}
        )
    columns: dict[str, list[Any]] = {
        "prompt": [list(row.messages[:-1]) for row in rows],
        "completion": [[row.messages[-1]] for row in rows],
    }
    asked = [renderer.template_kwargs(row) for row in rows]
    if any(set(each) != set(asked[0]) for each in asked):
        raise DataError(
            f"chat_template_kwargs differ by row, which cannot be trained with train.extra.{why}. "
            f"Leave {why} out, or give every row the same names."
        )
    if asked and asked[0]:
        columns["chat_template_kwargs"] = asked
    if any(row.tools for row in rows):
        columns["tools"] = [json.dumps(row.tools) if row.tools else None for row in rows]
    return Dataset.from_dict(columns)


def count_patterns(rows: Sequence[Row], patterns: Patterns) -> dict[str, int]:
    """Return the number of rows by pattern, the most frequent first."""
    counts = Counter(row.pattern or classify(row.prompt, 0, patterns)[0] for row in rows)
    return dict(counts.most_common())
