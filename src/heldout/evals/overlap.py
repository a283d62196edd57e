"""Find held-out rows that the training set gives away, and training rows that repeat."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
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

    `shared` says what counts as the same. Costs one pass over `train`; `held_out` is held in memory.
    """
    rows = list(held_out)
    same: dict[int, list[str]] = {}
    other: dict[int, list[str]] = {}
    for row, answered, asked in shared(rows, train):
        for i in answered:
            same.setdefault(i, []).append(row.place)
        for i in asked:
            other.setdefault(i, []).append(row.place)
    return Overlap(
        same=[f"{rows[i].place} is also {_places(same[i])}" for i in sorted(same)],
        other_answer=[
            f"{rows[i].place} has the prompt of {_places(other[i])}, with another answer"
            for i in sorted(other)
            if i not in same
        ],
    )


def shared(
    held_out: Sequence[Row], train: Iterable[Row]
) -> Iterator[tuple[Row, list[int], list[int]]]:
    """Yield each training row that gives a held-out one away, with the indices of those.

    First those whose prompt and an accepted answer it holds, then those whose prompt it holds.
    Letter case and whitespace are ignored on both sides. The answer may be any turn of a training
    conversation. System messages count for prompts with another answer, where they can change what
    is asked for, and not for prompts with the same one.
    """
    pairs: dict[str, list[int]] = {}
    prompts: dict[str, list[int]] = {}
    for i, row in enumerate(held_out):
        before: Sequence[Message] = row.messages[:-1]
        for answer in (row.response, *row.references):
            pairs.setdefault(_pair(before, answer), []).append(i)
        prompts.setdefault(_plain(before), []).append(i)
    for row in train if held_out else ():
        answered: list[int] = []
        asked: list[int] = []
        for before, answer in _answered(row):
            answered += pairs.get(_pair(before, answer), ())
            asked += prompts.get(_plain(before), ())
        if answered or asked:
            yield row, answered, asked


def repeated(rows: Iterable[Row]) -> Iterator[tuple[Row, Row]]:
    """Yield each row that says the same as an earlier one but for case and whitespace, and that one."""
    first: dict[str, Row] = {}
    for row in rows:
        earlier = first.setdefault(_plain(row.messages), row)
        if earlier is not row:
            yield row, earlier


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


def content_id(row: Row) -> str:
    """The name of what a row asks and accepts, whatever tokenizer and template show it."""
    content: list[object] = [row.messages, sorted(row.references)]
    asked = [list(row.tools), dict(row.template_kwargs)]
    return digest(content + asked if any(asked) else content)


def digest(content: object) -> str:
    """Sixteen hexadecimal digits that name a JSON-like value."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
