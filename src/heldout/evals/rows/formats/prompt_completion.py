"""Prompt and completion as lists of messages (TRL)."""

from __future__ import annotations

from heldout.evals.rows.fields import RESPONSE_KEYS, Fields
from heldout.evals.rows.format import Conversation, Format
from heldout.evals.rows.messages import turns
from heldout.evals.rows.question import asked, is_turns


def _key(fields: Fields) -> str | None:
    if fields.keys.response is not None:
        return fields.keys.response
    return fields.first(RESPONSE_KEYS)


def _matches(fields: Fields) -> bool:
    key = _key(fields)
    return key is not None and is_turns(fields.values.get(key))


def _read(fields: Fields) -> Conversation:
    before = asked(fields)
    said = turns(fields, _key(fields) or "")
    masked = {len(before) + i for i in said.masked}
    return Conversation(messages=[*before, *said.messages], start=len(before), masked=masked)


FORMAT = Format(
    name="prompt and completion",
    rank=50,
    fields="`prompt`, `completion` as lists of messages (TRL)",
    rule="Only the completion is scored. With `label` (KTO) rows labelled false are neither trained nor "
    "golden.",
    matches=_matches,
    read=_read,
)
