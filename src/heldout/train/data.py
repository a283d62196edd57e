"""The training set as TRL wants it: prompt and completion, so that only the answer is trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from heldout.derive.patterns import Patterns, classify
from heldout.errors import DataError
from heldout.evals.fixed_set import Row, read_rows


def load_rows(path: str | Path) -> tuple[list[Row], list[str]]:
    """Return the usable rows and a sentence for each line that is not; `DataError` if none is."""
    rows, skipped = read_rows(path)
    if not rows:
        raise DataError(f"{path}: no usable example. " + (" ".join(skipped[:5]) or "It is empty."))
    return rows, skipped


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
