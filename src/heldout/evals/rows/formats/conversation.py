"""Conversations: messages with roles, or ShareGPT's turns."""

from __future__ import annotations

from heldout.evals.rows.fields import MESSAGE_KEYS, Fields
from heldout.evals.rows.format import Conversation, Format
from heldout.evals.rows.messages import turns


def _matches(fields: Fields) -> bool:
    own = fields.keys.prompt is not None or fields.keys.response is not None
    return not own and fields.first(MESSAGE_KEYS) is not None


def _read(fields: Fields) -> Conversation:
    key = fields.first(MESSAGE_KEYS) or ""
    found = turns(fields, key)
    if len(found.messages) < 2:
        raise ValueError(f"{key!r} must hold at least a user's and the assistant's turn")
    return Conversation(messages=found.messages, masked=found.masked)


FORMAT = Format(
    name="conversation",
    rank=10,
    fields="`messages` (`role`, `content`) or `conversations` (ShareGPT: `from`, `value`)",
    rule="The last answer is golden (`eval.turns: all`: each). Reasoning, calls of tools and their results "
    "stay where they are. A turn marked `weight: 0` or `train: false` is neither trained nor golden.",
    matches=_matches,
    read=_read,
)
