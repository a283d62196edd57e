"""Find held-out rows that the training set gives away."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from heldout.evals.rows import Message, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Held-out rows that training rows give away: one sentence a held-out row, with both places."""

    same: list[str]
    """The prompt and an accepted answer are in the training set."""
    other_answer: list[str]
    """The prompt is in the training set, with other answers only."""


def overlap(held_out: Iterable[Row], train: Iterable[Row]) -> Overlap:
    """Find held-out rows whose prompt is in the training set, with the same answer or with others.

    Letter case and whitespace are ignored on both sides. The answer may be any turn of a training
    conversation. System messages count for prompts with another answer, where they can change what
    is asked for, and not for prompts with the same one. Costs one pass over `train`; `held_out` is
    held in memory.
    """
    rows = list(held_out)
    pairs: dict[str, list[int]] = {}
    prompts: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        before: Sequence[Message] = row.messages[:-1]
        for answer in (row.response, *row.references):
            pairs.setdefault(_pair(before, answer), []).append(i)
        prompts.setdefault(_plain(before), []).append(i)
    same: dict[int, list[str]] = {}
    other: dict[int, list[str]] = {}
    for row in train if rows else ():
        for before, answer in _answered(row):
            for i in pairs.get(_pair(before, answer), ()):
                same.setdefault(i, []).append(row.place)
            for i in prompts.get(_plain(before), ()):
                other.setdefault(i, []).append(row.place)
    return Overlap(
        same=[f"{rows[i].place} is also {_places(same[i])}" for i in sorted(same)],
        other_answer=[
            f"{rows[i].place} has the prompt of {_places(other[i])}, with another answer"
            for i in sorted(other)
            if i not in same
        ],
    )


def _answered(row: Row) -> Iterable[tuple[Sequence[Message], str]]:
    """Each of the assistant's turns with what is before it, and the last with each reference."""
    for i, message in enumerate(row.messages):
        if i and message["role"] == "assistant":
            yield row.messages[:i], message["content"]
    for reference in row.references:
        yield row.messages[:-1], reference


def _pair(before: Sequence[Message], answer: str) -> str:
    asked = [message for message in before if message["role"] != "system"]
    return _plain([*asked, {"role": "assistant", "content": answer}])


def _plain(messages: Sequence[Message]) -> str:
    """A digest that is the same where only letter case and whitespace differ."""
    return digest([(m["role"], " ".join(m["content"].split()).casefold()) for m in messages])


def _places(places: Sequence[str]) -> str:
    """The first of the places, and how many more there are; a row counts once."""
    distinct = list(dict.fromkeys(places))
    more = len(distinct) - 1
    return distinct[0] + (f" (and {more} more)" if more else "")


def digest(content: object) -> str:
    """Sixteen hexadecimal digits that name a JSON-like value."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
