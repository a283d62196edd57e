"""Prompt and response as texts, under any of the usual names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heldout.evals.rows.fields import Fields, text
from heldout.evals.rows.format import Conversation, Format
from heldout.evals.rows.question import answer, asked

TEXTS = ("text", "value")
"""Where SQuAD and TriviaQA keep an answer that is an object."""


def _read(fields: Fields) -> Conversation:
    before = asked(fields)
    key = fields.named("response")
    answers = _answers(key, fields.take(key))
    said = answer(fields, answers[0])
    return Conversation(messages=[*before, said], start=len(before), others=answers[1:])


def _answers(key: str, value: Any) -> list[str]:
    """Every accepted answer, the golden one first."""
    if isinstance(value, Mapping):
        inner = next((name for name in TEXTS if name in value), None)
        if inner is not None:
            more = value.get("aliases") or []
            return [*_answers(key, value[inner]), *(text(key, each) for each in more)]
    if isinstance(value, list | tuple) and value:
        return [text(key, each) for each in value]
    return _as_said(key, value)


def _as_said(key: str, value: object) -> list[str]:
    """One answer; a truth value counts in Python's spelling too."""
    said = text(key, value)
    return [said, said.capitalize()] if isinstance(value, bool) else [said]


FORMAT = Format(
    name="prompt and response",
    rank=90,
    fields="`prompt`, `question` or `instruction` with `response`, `answer`, `completion` or `output`",
    rule="`input`, `context`, `passage`, `document` and the like join the question: before it, behind an "
    "`instruction`. `history` makes earlier turns. Numbers and truth values are read as text (`29`, `true`; "
    "`True` counts too). Of a list of answers the first is golden and all are accepted.",
    matches=lambda _: True,
    read=_read,
)
