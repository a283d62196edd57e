"""Preferences: a chosen and a rejected answer."""

from __future__ import annotations

from heldout.evals.rows.fields import PROMPT_KEYS, Fields, text
from heldout.evals.rows.format import Conversation, Format
from heldout.evals.rows.messages import turns
from heldout.evals.rows.question import answer, asked, is_turns


def _matches(fields: Fields) -> bool:
    return fields.keys.response is None and "chosen" in fields and "rejected" in fields


def _read(fields: Fields) -> Conversation:
    alone = fields.keys.prompt is None and fields.first(PROMPT_KEYS) is None
    if not is_turns(fields.values["chosen"]):
        before = asked(fields)
        golden = answer(fields, text("chosen", fields.take("chosen")))
        return Conversation(messages=[*before, golden], start=len(before))
    chosen = turns(fields, "chosen")
    said = chosen.messages
    if alone or any(message["role"] == "user" for message in said):  # the prompt is in it
        return Conversation(messages=said, start=len(said) - 1)
    before = asked(fields)
    return Conversation(messages=[*before, *said], start=len(before))


FORMAT = Format(
    name="preference",
    rank=20,
    fields="`prompt`, `chosen`, `rejected` (texts, or lists of messages with or without the prompt)",
    rule="The chosen answer is golden; the rejected one is neither trained nor scored.",
    matches=_matches,
    read=_read,
)
