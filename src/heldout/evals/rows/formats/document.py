"""Documents: one text with no border between question and answer, which cannot be scored."""

from __future__ import annotations

from heldout.evals.rows.fields import PROMPT_KEYS, RESPONSE_KEYS, Fields
from heldout.evals.rows.format import Conversation, Format


def _matches(fields: Fields) -> bool:
    keys = fields.keys
    own = keys.prompt is not None or keys.response is not None
    return not own and "text" in fields and fields.first((*PROMPT_KEYS, *RESPONSE_KEYS)) is None


def _read(fields: Fields) -> Conversation:
    rest = [key for key in fields.values if key != "text"]
    remedy = fields.keys.remedy
    named = (
        f" If 'text' is the question and {rest[0]!r} the answer, name them: "
        f"{remedy('prompt', 'text')} {remedy('response', rest[0])}"
        if rest
        else ""
    )
    raise ValueError(
        "its 'text' does not say where the answer begins. Give each row a 'prompt' and a 'response', or "
        f"'messages' (role and content).{named}"
    )


FORMAT = Format(
    name="document",
    rank=40,
    fields="`text`",
    rule="Refused: nothing says where the answer begins.",
    matches=_matches,
    read=_read,
)
