"""What a row asks, put together from its fields: prompt, input, context, choices, earlier turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from heldout.evals.rows.fields import CONTEXT_KEYS, PROMPT_KEYS, REASONS, Fields, is_scalar, text
from heldout.evals.rows.messages import turns
from heldout.evals.rows.row import Message


def question(fields: Fields) -> str:
    """The user's text: the context, the prompt and its input, with blank lines between them.

    Behind an `instruction` the context follows, as an input does. A prompt whose field was named by
    you, and is none of the usual ones, stands alone. What the prompt holds already is not repeated.
    """
    key = fields.named("prompt")
    prompt = text(key, fields.take(key))
    if key not in PROMPT_KEYS:
        return prompt
    context = [_context(fields, name) for name in CONTEXT_KEYS if name in fields]
    more = [_context(fields, "input")] if key != "input" and "input" in fields else []
    parts = [prompt, *context, *more] if key == "instruction" else [*context, prompt, *more]
    return "\n\n".join(part for part in parts if part is prompt or (part and part not in prompt))


def _context(fields: Fields, key: str) -> str:
    """The text of a field that belongs to the question, "" where it is empty; a list is joined."""
    value = fields.take(key)
    if isinstance(value, str) and not value.strip():
        return ""
    several = value if isinstance(value, list | tuple) else [value]
    if not all(map(is_scalar, several)):
        raise ValueError(
            f"{key!r} belongs to the question and must be text or a list of texts, "
            f"found {value!r:.60}"
        )
    return "\n\n".join(text(key, each) for each in several)


def earlier(fields: Fields) -> list[Message]:
    """The turns of `history`: pairs of question and answer, or messages."""
    if "history" not in fields or not fields.values["history"]:
        fields.take("history")
        return []
    pairs = fields.take("history")
    if isinstance(pairs, list | tuple) and isinstance(pairs[0], Mapping):
        return turns(fields, "history").messages
    found: list[Message] = []
    for pair in pairs if isinstance(pairs, list | tuple) else [pairs]:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(map(is_scalar, pair)):
            raise ValueError(
                f"'history' must be a list of [question, answer] pairs or of messages, "
                f"found {pair!r:.60}"
            )
        asked, said = (text("history", each) for each in pair)
        found += [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    return found


def asked(fields: Fields) -> list[Message]:
    """Everything before the answer: earlier turns and the question, or the messages of the prompt."""
    key = fields.named("prompt")
    if isinstance(fields.values[key], list | tuple):
        return [*earlier(fields), *turns(fields, key).messages]
    return [*earlier(fields), {"role": "user", "content": question(fields)}]


def answer(fields: Fields, content: str) -> Message:
    """The assistant's message, with the reasoning beside it where the row holds one."""
    reasons = {key: text(key, fields.take(key)) for key in REASONS if fields.values.get(key)}
    return {"role": "assistant", "content": content, **reasons}


def is_turns(value: object) -> bool:
    """Whether a value is a list of messages."""
    return isinstance(value, Sequence) and bool(value) and isinstance(value[0], Mapping)
