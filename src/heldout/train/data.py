"""The training set as TRL wants it: prompt and completion, so that only the answer is trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from heldout.derive.patterns import Patterns, classify
from heldout.errors import DataError
from heldout.evals.rows import DETECT, Keys, Row, read_rows

NO_TEMPLATE = (
    "it is a conversation, and the tokenizer has no chat template. Name an instruct model in "
    "model.name, or give prompt/response pairs."
)


def load_rows(path: str | Path, keys: Keys = DETECT) -> tuple[list[Row], list[str]]:
    """Return the usable rows and a sentence for each line that is not; `DataError` if none is."""
    rows, skipped = read_rows(path, keys)
    if not rows:
        raise DataError(f"{path}: no usable example. " + (" ".join(skipped[:5]) or "It is empty."))
    return rows, skipped


def renderable(rows: Sequence[Row], tokenizer: Any) -> tuple[list[Row], list[str]]:
    """Return the rows the tokenizer can show, and a sentence for each it cannot.

    Without a chat template a conversation is none: its earlier turns would be lost without a word.
    Raises `DataError` if no row is left.
    """
    if tokenizer.chat_template:
        return list(rows), []
    fit = [row for row in rows if [m["role"] for m in row.messages] == ["user", "assistant"]]
    kept = {id(row) for row in fit}
    skipped = [f"{row.place}: {NO_TEMPLATE}" for row in rows if id(row) not in kept]
    if not fit:
        raise DataError(" ".join(skipped[:1]))
    return fit, skipped


def as_dataset(rows: Sequence[Row], tokenizer: Any) -> Dataset:
    """Return rows in TRL's prompt-completion form: conversations, or text without a template."""
    if tokenizer.chat_template:
        return Dataset.from_dict(
            {
                "prompt": [list(row.messages[:-1]) for row in rows],
                "completion": [[row.messages[-1]] for row in rows],
            }
        )
    return Dataset.from_dict(
        {"prompt": [row.prompt for row in rows], "completion": [row.response for row in rows]}
    )


def count_patterns(rows: Sequence[Row], patterns: Patterns) -> dict[str, int]:
    """Return the number of rows by pattern, the most frequent first."""
    counts = Counter(row.pattern or classify(row.prompt, 0, patterns)[0] for row in rows)
    return dict(counts.most_common())
