"""Multiple choice: a question, its choices, and which of them is right."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence

from heldout.evals.rows.fields import CHOICE_KEYS, RESPONSE_KEYS, Fields, is_scalar, text, written
from heldout.evals.rows.format import Conversation, Format
from heldout.evals.rows.question import answer, earlier, question

ANSWER_KEYS = (
    *RESPONSE_KEYS,
    *(
        "answerKey",
        "answer_key",
        "answer_idx",
        "answer_index",
        "correct",
        "correct_answer",
        "label",
    ),
)
LABELLED = re.compile(r"\(?([A-Za-z0-9])[).:]\s*\S")
"""A choice that begins with a label of its own, as `A) ant` does."""


def _matches(fields: Fields) -> bool:
    key = fields.first(CHOICE_KEYS)
    return key is not None and _labelled(fields.values[key]) is not None


def _read(fields: Fields) -> Conversation:
    key = fields.first(CHOICE_KEYS) or ""
    options = _labelled(fields.take(key)) or []
    listed = "\n".join(_line(label, option) for label, option in options)
    before = [
        *earlier(fields),
        {"role": "user", "content": f"{question(fields)}\n\n{listed}"},
    ]
    name = fields.keys.response or fields.first(ANSWER_KEYS) or fields.named("response")
    found = fields.take(name)
    several = found if isinstance(found, list | tuple) and found else [found]
    answers = [_answer(name, each, options) for each in several]
    said = answer(fields, answers[0])
    return Conversation(messages=[*before, said], start=len(before), others=answers[1:])


def _labelled(value: object) -> list[tuple[str, str]] | None:
    """Each choice with its label: letters, or the labels that the row gives; None for no choices."""
    if isinstance(value, Mapping) and {"label", "text"} <= set(value):  # ARC
        labels, texts = value["label"], value["text"]
        if not isinstance(labels, list | tuple) or not isinstance(texts, list | tuple):
            return None
        return _pairs(labels, texts) if len(labels) == len(texts) else None
    if isinstance(value, Mapping):
        return _pairs(list(value), list(value.values()))
    if not isinstance(value, list | tuple):
        return None
    if value and all(
        isinstance(each, Mapping) and {"label", "text"} <= set(each) for each in value
    ):
        return _pairs([each["label"] for each in value], [each["text"] for each in value])
    return _pairs(string.ascii_uppercase, value)


def _pairs(labels: Sequence[object], texts: Sequence[object]) -> list[tuple[str, str]] | None:
    pairs = list(zip(labels, texts, strict=False))
    if not 2 <= len(texts) <= len(labels) or not all(is_scalar(x) for pair in pairs for x in pair):
        return None
    if not all(len(str(label)) <= 2 for label in labels):  # an object of something else
        return None
    return [(str(label), written("choices", option)) for label, option in pairs]


def _line(label: str, option: str) -> str:
    own = LABELLED.match(option)
    return option if own and own[1].upper() == label.upper() else f"{label}. {option}"


def _answer(name: str, value: object, options: list[tuple[str, str]]) -> str:
    """The label of the right choice, or its text where the row gives that.

    A number is an index from 0, unless the labels or the choices themselves are numbers.
    """
    said = text(name, value)
    labels, texts = [label for label, _ in options], [option for _, option in options]
    bare = said.strip().strip("().:").upper()
    by_label = [i for i, label in enumerate(labels) if label.upper() == bare]
    by_text = [i for i, option in enumerate(texts) if option.strip() == said.strip()]
    digits = bare.isdecimal() and not isinstance(value, bool)
    by_index = [int(bare)] if digits and not by_label and int(bare) < len(options) else []
    if isinstance(value, int) and by_index:
        by_text = []  # the choices are texts, so a number counts them
    meant = {*by_label[:1], *by_text[:1], *by_index}
    if len(meant) > 1:
        raise ValueError(
            f"{name!r} {value!r} means one choice by its label or place and another by its text. "
            "Give the letter of the right one."
        )
    if by_text:
        return said
    if meant:
        return labels[meant.pop()]
    if len(bare) == 1 or digits:
        raise ValueError(
            f"{name!r} {value!r} is none of the choices {labels[0]} to {labels[-1]}. Give a letter, an "
            "index from 0, or the choice's text."
        )
    return said


FORMAT = Format(
    name="choices",
    rank=30,
    fields="`question`, `choices` or `options`, `answer` (letter, index from 0, or text)",
    rule="The choices follow the question, one a line as `A. ant`. A letter or an index makes the letter "
    "golden, a choice's text makes that golden.",
    matches=_matches,
    read=_read,
)
