"""Load a fixed held-out set: validate each line, turn it into token ids, name its content.

A line is a JSON object with `messages` (chat format; the last one is the assistant's and is scored)
or a prompt and a response under any of the usual names. Bad lines are named with file, line and
remedy, and the others still count.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heldout.errors import DataError, EmptySet, HeldoutError, ModelError
from heldout.records import EvalSet

PROMPT_KEYS = ("prompt", "user_prompt", "question", "instruction")
RESPONSE_KEYS = ("response", "golden_response", "completion", "answer", "output")
MAX_SAMPLES = 2000
ABSURD_LENGTH = 10**9
"""Tokenizers without a limit report one of about 1e30 as `model_max_length`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One usable line: the conversation, and the label of its pattern where the file gives one."""

    line: int
    messages: tuple[dict[str, str], ...]
    pattern: str | None = None

    @property
    def prompt(self) -> str:
        """The user's words that patterns are recognised by."""
        return "\n".join(m["content"] for m in self.messages[:-1] if m["role"] == "user")

    @property
    def response(self) -> str:
        """The golden response."""
        return self.messages[-1]["content"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One held-out example as token ids; `response_ids` ends with the token that ends a turn."""

    id: str
    row: Row
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    as_trained: bool = True
    """False where training data shows the answer behind another text than the generation prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedSet:
    """A loaded set and what it is."""

    examples: tuple[Example, ...]
    about: EvalSet


def load(path: str | Path, tokenizer: Any, max_samples: int = MAX_SAMPLES) -> FixedSet:
    """Load at most `max_samples` usable examples of the JSONL file at `path`, evenly spread over it.

    Files are often sorted by topic, so the first ones would be a biased choice.

    Raises `DataError` if the file cannot be read, `EmptySet` if no line is usable (with the reason
    of each; chat messages for a tokenizer without a chat template are one), and `ModelError` if there
    is no tokenizer.
    """
    if tokenizer is None:
        raise ModelError(
            "there is no tokenizer: pass processing_class to the Trainer, or "
            "heldout.Monitor(..., tokenizer=tokenizer)"
        )
    rows, skipped = read_rows(path)
    examples: list[Example] = []
    seen: dict[str, int] = {}
    for row in _spread(rows, max_samples):
        try:
            example = _encode(row, tokenizer)
        except HeldoutError as error:
            skipped.append(f"{path}:{row.line}: {error}")
            continue
        size, limit = len(example.prompt_ids) + len(example.response_ids), _limit(tokenizer)
        if example.id in seen:
            skipped.append(f"{path}:{row.line}: the same example as line {seen[example.id]}")
        elif not example.prompt_ids:
            skipped.append(f"{path}:{row.line}: the prompt is empty, nothing precedes the answer")
        elif size > limit:
            skipped.append(f"{path}:{row.line}: {size} tokens, the model takes {limit}")
        else:
            seen[example.id] = row.line
            examples.append(example)
    if not examples:
        raise EmptySet(f"{path}: no usable example. " + (" ".join(skipped[:5]) or "It is empty."))
    digest = hashlib.sha256("".join(example.id for example in examples).encode()).hexdigest()
    unlike = sum(not example.as_trained for example in examples)
    remark = (
        f"{unlike} of {len(examples)} prompts open the answer otherwise than training data does"
    )
    about = EvalSet(
        path=str(path),
        hash=digest[:16],
        n=len(examples),
        skipped=skipped,
        remarks=[f"{remark} (the chat template's generation prompt)"] if unlike else [],
    )
    return FixedSet(examples=tuple(examples), about=about)


def read_rows(path: str | Path) -> tuple[list[Row], list[str]]:
    """Return the usable rows of a JSONL file, and a sentence for each line that is not usable."""
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    rows, skipped = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            rows.append(_row(number, json.loads(line)))
        except UnicodeDecodeError as error:
            skipped.append(f"{path}:{number}: not UTF-8 at byte {error.start}. Save it as UTF-8.")
        except json.JSONDecodeError as error:
            skipped.append(f"{path}:{number}: not JSON: {error.msg} at column {error.colno}")
        except ValueError as error:
            skipped.append(f"{path}:{number}: {error}")
    return rows, skipped


def _spread(rows: list[Row], most: int) -> list[Row]:
    if len(rows) <= most:
        return rows
    return [rows[i * len(rows) // most] for i in range(most)]


def _row(number: int, value: object) -> Row:
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, found {type(value).__name__}")
    label = value.get("pattern")
    pattern = label if isinstance(label, str) and label else None
    if "messages" in value:
        return Row(line=number, messages=_messages(value["messages"]), pattern=pattern)
    prompt, response = _text(value, PROMPT_KEYS), _text(value, RESPONSE_KEYS)
    extra = value.get("input")
    if isinstance(extra, str) and extra:
        prompt = f"{prompt}\n\n{extra}"
    both = ({"role": "user", "content": prompt}, {"role": "assistant", "content": response})
    return Row(line=number, messages=both, pattern=pattern)


def _messages(value: object) -> tuple[dict[str, str], ...]:
    if not isinstance(value, list) or len(value) < 2:
        raise ValueError("'messages' must be a list of at least a user's and the assistant's turn")
    for message in value:
        if not isinstance(message, dict) or not all(
            isinstance(message.get(key), str) for key in ("role", "content")
        ):
            raise ValueError("each message needs 'role' and 'content', both text")
    if value[-1]["role"] != "assistant":
        raise ValueError(
            f"the last message is the {value[-1]['role']!r}'s, not the assistant's: nothing to score"
        )
    if not value[-1]["content"].strip():
        raise ValueError("the assistant's answer is empty")
    return tuple({"role": m["role"], "content": m["content"]} for m in value)


def _text(value: Mapping[str, Any], keys: Sequence[str]) -> str:
    for key in keys:
        if key in value:
            if isinstance(value[key], str) and value[key].strip():
                return str(value[key])
            raise ValueError(f"{key!r} must be text that is not empty, found {value[key]!r:.60}")
    found = ", ".join(map(repr, value)) or "none"
    close = [m for key in value for m in difflib.get_close_matches(str(key).lower(), keys, n=1)]
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"{keys[0]!r} is missing. Found keys: {found}.{hint}")


def _encode(row: Row, tokenizer: Any) -> Example:
    """Token ids by concatenation, since text tokenised jointly can merge over the border."""
    prompt, response, as_trained = _render(row, tokenizer)
    templated = _has_template(tokenizer)
    prompt_ids = tokenizer(prompt, add_special_tokens=not templated)["input_ids"]
    response_ids = tokenizer(response, add_special_tokens=False)["input_ids"]
    digest = hashlib.sha256(f"{prompt}\0{row.response}".encode(errors="surrogatepass")).hexdigest()
    return Example(
        id=digest[:16],
        row=row,
        prompt_ids=tuple(prompt_ids),
        response_ids=_ended(response_ids, tokenizer, templated),
        as_trained=as_trained,
    )


def _ended(ids: list[int], tokenizer: Any, templated: bool) -> tuple[int, ...]:
    """Cut after the first token that ends a turn, which the template has put behind the answer.

    That need not be the tokenizer's EOS (Gemma's is `<eos>`, its turns end with `<end_of_turn>`).
    What templates put behind it is never generated. Plain text ends with EOS instead.
    """
    ends = set(getattr(tokenizer, "all_special_ids", ())) | {tokenizer.eos_token_id}
    for i, token in enumerate(ids):
        if token in ends:
            return tuple(ids[: i + 1])
    if templated or tokenizer.eos_token_id is None:
        return tuple(ids)
    return (*ids, tokenizer.eos_token_id)


def _render(row: Row, tokenizer: Any) -> tuple[str, str, bool]:
    """The prompt, the response with what the template puts behind it, and whether they join up."""
    messages = list(row.messages)
    if not _has_template(tokenizer):
        if len(messages) == 2 and messages[0]["role"] == "user":
            return messages[0]["content"], messages[1]["content"], True
        raise ModelError(
            "it is a conversation, and the tokenizer has no chat template. Set "
            "tokenizer.chat_template, name an instruct model, or give prompt/response pairs."
        )
    try:
        prompt = tokenizer.apply_chat_template(
            messages[:-1], tokenize=False, add_generation_prompt=True
        )
        whole = tokenizer.apply_chat_template(messages, tokenize=False)
    except Exception as error:  # a template is a program of its own and may refuse a role
        raise DataError(f"the chat template refuses it: {error}") from error
    answer = row.response
    behind = whole[whole.rfind(answer) + len(answer) :].rstrip() if answer in whole else ""
    return prompt, answer + behind, whole.startswith(prompt + answer)


def _has_template(tokenizer: Any) -> bool:
    return bool(getattr(tokenizer, "chat_template", None))


def _limit(tokenizer: Any) -> int:
    limit = getattr(tokenizer, "model_max_length", None)
    return int(limit) if limit and limit < ABSURD_LENGTH else ABSURD_LENGTH
