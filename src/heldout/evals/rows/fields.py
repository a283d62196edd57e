"""The fields of one row that are not null, and which of them are used."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from heldout.evals.rows.row import Keys

MESSAGE_KEYS = ("messages", "conversations", "conversation")
PROMPT_KEYS = ("prompt", "user_prompt", "question", "instruction", "input")
RESPONSE_KEYS = ("response", "golden_response", "completion", "answer", "output", "target")
REFERENCE_KEYS = ("references", "answers")
CONTEXT_KEYS = ("context", "passage", "document", "documents", "article", "background")
CHOICE_KEYS = ("choices", "options")
SYSTEM_KEYS = ("system", "system_prompt")
GROUP_KEYS = ("group", "document_id")
"""Fields that name a shared text. `source` is none of them: it mostly names the data set."""
REASONS = ("reasoning_content", "reasoning", "thinking")
ASKS = {
    *(*PROMPT_KEYS, *CONTEXT_KEYS, *CHOICE_KEYS, *SYSTEM_KEYS, *REASONS),
    *("history", "text", "tools", "functions"),
}
"""Fields that usually belong to what is asked or said: unused ones are worth a warning."""
SHOWN_KEYS = 12


class Fields:
    """One row's fields; nulls count as absent. `used` names those that a row was made of.

    Fields of messages are called `messages[].name`.
    """

    def __init__(self, values: Mapping[str, Any], keys: Keys) -> None:
        self.values = {str(key): value for key, value in values.items() if value is not None}
        self.keys = keys
        self.seen = dict.fromkeys(self.values)
        self.used: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def first(self, usual: Iterable[str]) -> str | None:
        """The first of these fields that is there."""
        return next((key for key in usual if key in self.values), None)

    def take(self, key: str) -> Any:
        """The value of a field, which is used by that; None where it is absent."""
        if key in self.values:
            self.used.add(key)
        return self.values.get(key)

    def inside(self, name: str, inner: Mapping[str, Any], used: Iterable[str]) -> None:
        """Note the fields of a message or the like, and which of them are used."""
        self.seen |= dict.fromkeys(f"{name}[].{key}" for key in inner if inner[key] is not None)
        self.used |= {f"{name}[].{key}" for key in used if key in inner}

    def named(self, what: str) -> str:
        """The field that holds the prompt or the response; says what would work where there is none."""
        mapped = self.keys.prompt if what == "prompt" else self.keys.response
        usual = PROMPT_KEYS if what == "prompt" else (*RESPONSE_KEYS, *REFERENCE_KEYS)
        wanted: Sequence[str] = usual if mapped is None else (mapped,)
        key = self.first(wanted)
        if key is not None:
            return key
        names = list(self.values)
        more = f" and {len(names) - SHOWN_KEYS} more" if len(names) > SHOWN_KEYS else ""
        found = (", ".join(map(repr, names[:SHOWN_KEYS])) or "none") + more
        close = [key for key in names if difflib.get_close_matches(key.lower(), wanted, n=1)]
        remedy = self.keys.remedy
        hint = f" Did you mean {close[0]!r}? {remedy(what, close[0])}" if close else ""
        if not close and mapped is None:
            hint = f" Name the field: {remedy(what, 'FIELD')}"
        said = "" if mapped is None else f", which {self.keys.section}.{what}_key names,"
        raise ValueError(f"{wanted[0]!r}{said} is missing. Found keys: {found}.{hint}")


def written(name: str, value: object) -> str:
    """A text, a number or a truth value as text (`29`, `true`); raises `ValueError` for others."""
    if isinstance(value, str):
        return sound(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    raise ValueError(f"{name!r} must be text, found {value!r:.60}")


def text(name: str, value: object) -> str:
    """The same, of something that is not empty."""
    if isinstance(value, str | int | float) and str(value).strip() and value == value:
        return written(name, value)
    raise ValueError(f"{name!r} must be text that is not empty, found {value!r:.60}")


def sound(value: str) -> str:
    """`value` itself; JSON can spell half a surrogate pair, which is no text and no tokens."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        half = value[error.start].encode("unicode_escape").decode()
        raise ValueError(f"it holds half a character ({half}), which no text may") from None
    return value


def is_scalar(value: object) -> bool:
    """Whether a value can be written as text."""
    return isinstance(value, str | int | float)
