"""Read rows from JSON Lines: find the conversation in each line, and name the lines without one.

A line is a JSON object in one of four forms, told apart by its keys or mapped by `Keys`:

    messages         [{"role": "user", "content": ...}, ..., {"role": "assistant", ...}]
    conversations    [{"from": "human", "value": ...}, ..., {"from": "gpt", ...}]     (ShareGPT)
    prompt, response text under any of the usual names; `instruction` may have an `input`
    prompt, completion   lists of messages                                            (TRL)

Every form becomes the same `Row`, so the same content under other keys is the same row. A field
that is null counts as absent. A bad line is named with file, line and remedy; the others count.
"""

from __future__ import annotations

import codecs
import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from heldout.errors import ConfigError, DataError
from heldout.evals.rows.row import DETECT, Keys, Message, Row

MESSAGE_KEYS = ("messages", "conversations", "conversation")
PROMPT_KEYS = ("prompt", "user_prompt", "question", "instruction", "input")
RESPONSE_KEYS = ("response", "golden_response", "completion", "answer", "output", "target")
REFERENCE_KEYS = ("references", "answers")
GROUP_KEYS = ("group", "source", "document_id")
SYSTEM_KEYS = ("system", "system_prompt")
SHAREGPT_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}
REASONS = ("reasoning_content", "reasoning", "thinking")
TURNS = ("last", "all")
SHOWN_KEYS = 12
TO_LINES = (
    'python -c "import json, sys; [print(json.dumps(row)) for row in json.load(sys.stdin)]"'
    " < rows.json > rows.jsonl"
)


def read_rows(
    path: str | Path, keys: Keys = DETECT, turns: str = "last"
) -> tuple[list[Row], list[str]]:
    """Return the usable rows of a JSONL file, and a sentence for each line that is not usable.

    With `turns` "last" a conversation is one row and its last message is the golden response. With
    "all" each assistant turn that answers something is a row of its own, with what came before as
    its prompt; rows of one line then share a group, unless the file gives one.

    Raises `DataError` if the file cannot be read or is not JSON Lines, `ConfigError` for other turns.
    """
    if turns not in TURNS:
        raise ConfigError(f"{keys.section}.turns must be 'last' or 'all', found {turns!r}")
    rows: list[Row] = []
    skipped: list[str] = []
    for number, line in _lines(path):
        try:
            rows += _rows(str(path), number, json.loads(line.decode()), keys, turns)
        except UnicodeDecodeError as error:
            skipped.append(f"{path}:{number}: not UTF-8 at byte {error.start}. Save it as UTF-8.")
        except json.JSONDecodeError as error:
            skipped.append(f"{path}:{number}: not JSON: {error.msg} at column {error.colno}")
        except RecursionError:
            skipped.append(f"{path}:{number}: nested too deeply to be read")
        except ValueError as error:
            skipped.append(f"{path}:{number}: {error}")
    return rows, skipped


def _lines(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, numbered from 1. Only LF and CRLF end a line, as in JSONL."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{path}: it is UTF-16. Save it as UTF-8.")
    data = data.removeprefix(codecs.BOM_UTF8)
    _refuse_one_document(path, data)
    lines = enumerate(data.split(b"\n"), start=1)
    return ((number, line) for number, line in lines if line.strip())


def _refuse_one_document(path: str | Path, data: bytes) -> None:
    """Raise `DataError` where the whole file is one JSON array, or one object over several lines."""
    first = data.lstrip().split(b"\n", 1)[0].strip()
    array = first.startswith(b"[")
    if not array and first != b"{":
        return
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return
    kind = f"array of {len(document)}" if array else "object over several lines"
    remedy = f" Convert it: {TO_LINES}" if array else ""
    raise DataError(f"{path}: one JSON {kind}, not JSON Lines (an object on each line).{remedy}")


def _rows(path: str, number: int, value: object, keys: Keys, turns: str) -> list[Row]:
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, found {type(value).__name__}")
    if value.get("tools"):
        raise ValueError("it offers 'tools', which cannot be scored yet")
    found = {key: item for key, item in value.items() if item is not None}
    messages, start, references = _conversation(found, keys)
    group, label = _group(found, keys), found.get("pattern")
    template_kwargs = found.get("chat_template_kwargs", {})
    if not isinstance(template_kwargs, dict):
        raise ValueError(f"'chat_template_kwargs' must be an object, found {template_kwargs!r:.60}")
    pattern = label if isinstance(label, str) and label else None
    ends = _scored(messages, start, turns)
    if len(ends) > 1:
        group = group or f"line {number}"
    return [
        Row(
            line=number,
            messages=tuple(messages[: end + 1]),
            pattern=pattern,
            references=references if end == len(messages) - 1 else (),
            group=group,
            path=path,
            turn=turn if len(ends) > 1 else 0,
            template_kwargs=template_kwargs,
        )
        for turn, end in enumerate(ends, start=1)
    ]


def _conversation(
    value: Mapping[str, Any], keys: Keys
) -> tuple[list[Message], int, tuple[str, ...]]:
    """The messages, the index from which they may be scored, and the other accepted answers."""
    name = next((key for key in MESSAGE_KEYS if key in value), None)
    if name and keys.prompt is None and keys.response is None:
        messages, start = _messages(value[name], name), 0
        answers: list[str] = [messages[-1]["content"]]
        if len(messages) < 2:
            raise ValueError(f"{name!r} must hold at least a user's and the assistant's turn")
    else:
        prompt = _prompt(value, keys)
        response, answers = _response(value, keys)
        messages, start = prompt + response, len(prompt)
    system = next((value[key] for key in SYSTEM_KEYS if key in value), None)
    if isinstance(system, str) and system.strip() and messages[0]["role"] != "system":
        messages, start = [{"role": "system", "content": _sound(system)}, *messages], start + 1
    others = dict.fromkeys(answers[1:] + _references(value, keys))
    return messages, start, tuple(text for text in others if text != answers[0])


def _prompt(value: Mapping[str, Any], keys: Keys) -> list[Message]:
    key = _key(value, keys.prompt, PROMPT_KEYS, "prompt", keys)
    prompt = value[key]
    if isinstance(prompt, list):
        return _messages(prompt, key)
    text = _text(key, prompt)
    extra = value.get("input")
    if key == "instruction" and isinstance(extra, str) and extra.strip():
        text = f"{text}\n\n{_sound(extra)}"
    return [{"role": "user", "content": text}]


def _response(value: Mapping[str, Any], keys: Keys) -> tuple[list[Message], list[str]]:
    """The messages of the response, and every accepted answer with the golden one first."""
    usual = (*RESPONSE_KEYS, *REFERENCE_KEYS)
    key = _key(value, keys.response, usual, "response", keys)
    response = value[key]
    if isinstance(response, list) and response and isinstance(response[0], dict):
        messages = _messages(response, key)
        return messages, [messages[-1]["content"]]
    several = isinstance(response, list) and response
    answers = [_text(key, each) for each in (response if several else [response])]
    return [{"role": "assistant", "content": answers[0]}], answers


def _references(value: Mapping[str, Any], keys: Keys) -> list[str]:
    """Text or a list of texts; a detected field that holds something else is something else."""
    if keys.references is not None and keys.references not in value:
        return []
    usual = REFERENCE_KEYS if keys.references is None else (keys.references,)
    found: object = next((value[key] for key in usual if key in value), [])
    texts = [found] if isinstance(found, str) else found
    if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
        return [_sound(text) for text in texts if text.strip()]
    if keys.references is not None:
        raise ValueError(f"{keys.references!r} must be a list of texts, found {found!r:.60}")
    return []


def _group(value: Mapping[str, Any], keys: Keys) -> str:
    usual = GROUP_KEYS if keys.group is None else (keys.group,)
    found = next((value[key] for key in usual if key in value), "")
    is_name = isinstance(found, str | int | float) and not isinstance(found, bool)
    return str(found) if is_name else ""


def _scored(messages: Sequence[Message], start: int, turns: str) -> list[int]:
    """The indices of the messages to score; every one answers something and is not empty."""
    last = messages[-1]["role"]
    if turns == "last":
        if last != "assistant":
            raise ValueError(
                f"the last message is the {last!r}'s, not the assistant's: nothing to score"
            )
        ends = [len(messages) - 1]
    else:
        asked = next((i for i, m in enumerate(messages) if m["role"] in ("user", "tool")), 0)
        ends = [
            i
            for i, message in enumerate(messages)
            if message["role"] == "assistant" and i >= start and i > asked
        ]
    if not ends:
        raise ValueError("no message is the assistant's answer to something: nothing to score")
    for end in ends:
        if not messages[end]["content"].strip():
            raise ValueError(f"the assistant's answer is empty (message {end + 1})")
    return ends


def _messages(value: object, name: str) -> list[Message]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{name!r} must be a list of at least a user's and the assistant's turn")
    return [_message(message, number) for number, message in enumerate(value, start=1)]


def _message(value: object, number: int) -> Message:
    if not isinstance(value, dict):
        raise ValueError(f"message {number}: expected an object, found {type(value).__name__}")
    if value.get("tool_calls"):
        raise ValueError(f"message {number} calls tools, which cannot be scored yet")
    if "from" in value and "role" not in value:
        return {"role": _sharegpt_role(value, number), "content": _content(value, "value", number)}
    if not isinstance(value.get("role"), str):
        raise ValueError(f"each message needs 'role' and 'content'; message {number} has no role")
    reasons = {key: value[key] for key in REASONS if value.get(key)}
    return {"role": value["role"], "content": _content(value, "content", number), **reasons}


def _sharegpt_role(value: Mapping[str, Any], number: int) -> str:
    sender = value["from"]
    if not isinstance(sender, str) or sender not in SHAREGPT_ROLES:
        known = ", ".join(SHAREGPT_ROLES)
        raise ValueError(f"message {number} is from {sender!r:.40}; known are {known}")
    return SHAREGPT_ROLES[sender]


def _content(message: Mapping[str, Any], key: str, number: int) -> str:
    """A message's text; a list of text parts is joined."""
    content = message.get(key)
    if isinstance(content, str):
        return _sound(content)
    if not isinstance(content, list):
        raise ValueError(
            f"each message needs a role and text: {key!r} of message {number} is {content!r:.40}"
        )
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else type(part).__name__
        if not isinstance(part, dict) or kind != "text" or not isinstance(part.get("text"), str):
            raise ValueError(
                f"message {number} has a part of type {kind!r:.40}; only text can be scored"
            )
    return _sound("".join(part["text"] for part in content))


def _text(key: str, value: object) -> str:
    if isinstance(value, str) and value.strip():
        return _sound(value)
    raise ValueError(f"{key!r} must be text that is not empty, found {value!r:.60}")


def _sound(text: str) -> str:
    """`text` itself; JSON can spell half a surrogate pair, which is no text and no tokens."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start].encode("unicode_escape").decode()
        raise ValueError(f"it holds half a character ({half}), which no text may") from None
    return text


def _key(
    value: Mapping[str, Any], mapped: str | None, usual: Sequence[str], what: str, keys: Keys
) -> str:
    """The field that holds the prompt or the response; says what would work where there is none."""
    wanted = usual if mapped is None else (mapped,)
    for key in wanted:
        if key in value:
            return key
    names = [str(key) for key in value]
    more = f" and {len(names) - SHOWN_KEYS} more" if len(names) > SHOWN_KEYS else ""
    found = (", ".join(map(repr, names[:SHOWN_KEYS])) or "none") + more
    close = [key for key in names if difflib.get_close_matches(key.lower(), wanted, n=1)]
    hint = f" Did you mean {close[0]!r}? {keys.remedy(what, close[0])}" if close else ""
    if not close and mapped is None:
        hint = f" Name the field: {keys.remedy(what, 'FIELD')}"
    said = "" if mapped is None else f", which {keys.section}.{what}_key names,"
    raise ValueError(f"{wanted[0]!r}{said} is missing. Found keys: {found}.{hint}")
