"""Patterns of work by length of answer: where the model is right, and where nobody knows.

`classify` sorts a prompt and its golden length into a cell; `matrix` folds the examples of an
evaluation into cells with counts and Wilson intervals. A cell below `ENOUGH` examples says
"unknown" instead of a rate.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from heldout.records import Item
from heldout.stats.intervals import wilson

BINS = ((100, "0-100"), (300, "100-300"), (500, "300-500"), (1000, "500-1000"), (2000, "1000-2000"))
LAST_BIN = "2000+"
BIN_NAMES = [name for _, name in BINS] + [LAST_BIN]
UNMATCHED = "unmatched"
ENOUGH = 10
"""Examples below which a cell's rate is not shown: its Wilson interval is wider than 0.5."""

Patterns = Mapping[str, str]


def get_default_patterns() -> dict[str, str]:
    """Return the default patterns by name, each a regular expression tried in this order.

    The first that is found in the prompt (ignoring case) wins, so the specific come before the
    general; a prompt that matches none is `unmatched`, never silently one of them.
    """
    return {
        "coding": r"\b(python|code|program|function|javascript|sql|regex|snippet)\b|\bprint\(|```",
        "creative": r"\b(poems?|rhymes?|stor(y|ies)|chants?|verses?|songs?|lyrics|limericks?|haikus?)\b",
        "reasoning": r"\b(puzzle|order them|in (what|which) order|step by step|deduce|logic"
        r"|therefore|(taller|older|younger|shorter|faster|slower|heavier|lighter) than"
        r"|(tall|old|young|short|fast|slow|heavi|light)est)\b",
        "math": r"\b(calculate|compute|arithmetic|sum|product|difference|quotient|remainder|plus"
        r"|minus|times|divided by|multiply|equation|solve)\b|\d\s*[-+*/x×÷]\s*\d",
        "factual": r"\b(what|who|where|when|which|name|define|capital|symbol|atomic)\b",
    }


def length_bin(num_tokens: int) -> str:
    """Return the bin of a golden response of `num_tokens` tokens; a bin's upper edge is its own."""
    return next((name for upper, name in BINS if num_tokens <= upper), LAST_BIN)


def classify(prompt: str, num_tokens: int, patterns: Patterns) -> tuple[str, str]:
    """Return the (pattern, length bin) of a prompt and its golden response's token count."""
    found = (name for name, regex in patterns.items() if re.search(regex, prompt, re.IGNORECASE))
    return next(found, UNMATCHED), length_bin(num_tokens)


class PatternTracker:
    """Counts right and wrong answers by cell; the face of this module for hand-written loops."""

    def __init__(self, patterns: Patterns) -> None:
        self.patterns = dict(patterns)
        self._seen: Counter[tuple[str, str]] = Counter()
        self._correct: Counter[tuple[str, str]] = Counter()

    def classify(self, prompt: str, num_tokens: int) -> tuple[str, str]:
        """Return the (pattern, length bin) this prompt belongs to."""
        return classify(prompt, num_tokens, self.patterns)

    def record(self, pattern: str, bin_name: str, correct: bool) -> None:
        """Count one answered example."""
        self._seen[pattern, bin_name] += 1
        self._correct[pattern, bin_name] += bool(correct)

    def get_matrix(self) -> dict[str, Any]:
        """Return the matrix as `matrix` does; its default patterns are rows even when empty."""
        return _matrix(self._seen, self._correct, list(self.patterns))


def matrix(items: Iterable[Item]) -> dict[str, Any]:
    """Fold examples into `{patterns, bins, cells, rows}`.

    A cell is `{pattern, bin, seen, correct, em, em_low, em_high, known}`, present where something
    was seen; a row is the same for a whole pattern. `known` is False below `ENOUGH` examples.
    """
    seen: Counter[tuple[str, str]] = Counter()
    correct: Counter[tuple[str, str]] = Counter()
    for item in items:
        seen[item.pattern, item.bin] += 1
        correct[item.pattern, item.bin] += item.correct
    return _matrix(seen, correct, [])


def _matrix(
    seen: Counter[tuple[str, str]], correct: Counter[tuple[str, str]], always: list[str]
) -> dict[str, Any]:
    names = sorted({pattern for pattern, _ in seen} | set(always))
    rows = []
    for name in names:
        keys = [key for key in seen if key[0] == name]
        total, right = sum(seen[key] for key in keys), sum(correct[key] for key in keys)
        rows.append({"pattern": name, **_rate(right, total)})
    cells = [
        {"pattern": pattern, "bin": bin_name, **_rate(correct[pattern, bin_name], count)}
        for (pattern, bin_name), count in sorted(seen.items())
    ]
    return {"patterns": names, "bins": BIN_NAMES, "cells": cells, "rows": rows}


def _rate(correct: int, n: int) -> dict[str, Any]:
    low, high = wilson(correct, n)
    return {
        "seen": n,
        "correct": correct,
        "em": correct / n if n else None,
        "em_low": low,
        "em_high": high,
        "known": n >= ENOUGH,
    }
