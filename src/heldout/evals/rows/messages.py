"""The turns of a conversation, as OpenAI, TRL, ShareGPT and LLaMA-Factory write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from heldout.evals.rows.fields import REASONS, Fields, sound
from heldout.evals.rows.row import Message

ROLES = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "ipython": "ipython",
    "function_call": "assistant",
    "tool_call": "assistant",
}
"""Who speaks, by every usual name."""
CALLS = ("function_call", "tool_call")
"""Senders whose text is a call of a tool (LLaMA-Factory)."""
KEPT = (*REASONS, "name", "tool_call_id")
WEIGHTS = ("weight", "loss_weight", "train", "training")
"""Fields by which OpenAI, Axolotl and others leave a turn or a row out of the loss."""
NO_TURNS = "must be a list of at least a user's and the assistant's turn"
MEDIA = ("image", "images", "audio", "audios", "video", "videos", "pixel_values")


class Turns:
    """Messages, and the indices of those that are marked not to be trained."""

    def __init__(self, messages: list[Message], masked: set[int]) -> None:
        self.messages = messages
        self.masked = masked


def turns(fields: Fields, key: str) -> Turns:
    """The messages that a field holds; raises `ValueError` for anything else."""
    value = fields.take(key)
    if not isinstance(value, list | tuple) or not value:
        found = f", found text: {value:.40}" if isinstance(value, str) else ""
        raise ValueError(f"{key!r} {NO_TURNS}{found}")
    messages = [_message(fields, key, each, number) for number, each in enumerate(value, start=1)]
    return Turns(messages, {i for i, each in enumerate(value) if is_off(each)})


def is_off(value: Mapping[str, Any]) -> str:
    """The field that marks a turn or a row as not to be trained, with its value; "" for none."""
    for key in WEIGHTS:
        weight = value.get(key)
        if isinstance(weight, str):
            weight = {"0": 0, "0.0": 0, "false": 0}.get(weight.strip().lower())
        if isinstance(weight, int | float) and weight == 0:
            return f"{key}: {value[key]}"
    return ""


def refuse_media(value: Mapping[str, Any], where: str = "it") -> None:
    """Raise `ValueError` where a row or message comes with pictures, sound or film."""
    for key in MEDIA:
        held = value.get(key)
        if held is not None and (not hasattr(held, "__len__") or len(held)):
            kind = "images" if key in ("image", "images", "pixel_values") else f"{key.rstrip('s')}s"
            raise ValueError(f"{where} has {key!r}: {kind} cannot be scored, only text")


def _message(fields: Fields, key: str, value: object, number: int) -> Message:
    if not isinstance(value, Mapping):
        raise ValueError(f"message {number}: expected an object, found {type(value).__name__}")
    refuse_media(value, f"message {number}")
    sharegpt = "from" in value and value.get("role") is None
    who, said = ("from", "value") if sharegpt else ("role", "content")
    role = _role(value, who, number)
    calls = _calls(value, number)
    called = value[who] in CALLS
    if called:
        calls = [_call(value.get(said), number)]
    silent = called or (calls and value.get(said) is None)
    message: Message = {"role": role, "content": "" if silent else _content(value, said, number)}
    if calls:
        message["tool_calls"] = calls
    for name in KEPT:
        if value.get(name):
            message[name] = value[name]
    weighed = [name for name in WEIGHTS if value.get(name) in (0, 1)]
    used = (who, said, "tool_calls", "function_call", *KEPT, *weighed)
    fields.inside(key, value, used)
    return message


def _role(value: Mapping[str, Any], who: str, number: int) -> str:
    role = value.get(who)
    if role is None:
        raise ValueError(f"each message needs 'role' and 'content'; message {number} has no role")
    if not isinstance(role, str) or role not in ROLES:
        raise ValueError(
            f"message {number} is from {role!r:.40}; known are {', '.join(ROLES)}. Rename the {who}."
        )
    return ROLES[role]


def _calls(value: Mapping[str, Any], number: int) -> list[Any]:
    """The calls of tools in a message; the one call of OpenAI's older form as one of the newer."""
    calls = value.get("tool_calls") or []
    if isinstance(calls, str):
        calls = _json(calls, f"'tool_calls' of message {number}")
    if not isinstance(calls, list | tuple) or not all(isinstance(each, Mapping) for each in calls):
        raise ValueError(f"'tool_calls' of message {number} must be a list, found {calls!r:.60}")
    older = value.get("function_call")
    return [*map(dict, calls), *([_call(older, number)] if older else [])]


def _call(value: object, number: int) -> Message:
    """A call by its name and arguments, in the form that chat templates take."""
    if isinstance(value, str):
        value = _json(value, f"the call in message {number}")
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise ValueError(
            f"the call in message {number} must have a name and arguments, found {value!r:.60}"
        )
    arguments = value.get("arguments", {})
    if isinstance(arguments, str):
        arguments = _json(arguments or "{}", f"the arguments in message {number}")
    return {"type": "function", "function": {"name": value["name"], "arguments": arguments}}


def _json(value: str, what: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError(f"{what} must be JSON, found {value!r:.60}") from None


def _content(message: Mapping[str, Any], key: str, number: int) -> str:
    """A message's text; a list of text parts is joined."""
    content = message.get(key)
    if isinstance(content, str):
        return sound(content)
    if not isinstance(content, list | tuple):
        raise ValueError(
            f"each message needs a role and text: {key!r} of message {number} is {content!r:.40}"
        )
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
        if kind != "text" or not isinstance(part.get("text"), str):
            raise ValueError(
                f"message {number} has a part of type {kind!r:.40}; only text can be scored"
            )
    return sound("".join(part["text"] for part in content))
