"""Read rows: find the conversation in each, and name the rows without one.

The formats in `heldout.evals.rows.formats` say which fields hold it. Every format becomes the same `Row`,
so the same content under other keys is the same row. A field that is null counts as absent. A bad row is
named with file, line and remedy; the others count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import heldout.evals.rows.formats
from heldout.errors import ConfigError
from heldout.evals.rows.fields import (
    ASKS,
    GROUP_KEYS,
    REFERENCE_KEYS,
    SYSTEM_KEYS,
    Fields,
    is_scalar,
    sound,
    written,
)
from heldout.evals.rows.files import MOST_UNPACKED
from heldout.evals.rows.format import Conversation, Format
from heldout.evals.rows.messages import WEIGHTS, is_off, refuse_media
from heldout.evals.rows.row import DETECT, Keys, Message, Row
from heldout.evals.rows.sources import Source, records
from heldout.evals.rows.tools import offered
from heldout.folder import load

TURNS = ("last", "all")
SHOWN_REASONS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of the data, over all rows that can be read."""

    name: str
    rows: int
    used: int
    """Rows that it was used in."""

    @property
    def asks(self) -> bool:
        """Whether it usually belongs to what is asked or said."""
        return self.name.rpartition(".")[2] in ASKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a source holds."""

    name: str
    """The path, absolute; "" for rows given in memory."""
    rows: list[Row]
    left_out: list[str]
    """A sentence for each row that cannot be used."""
    fields: list[Field] = field(default_factory=list)

    @property
    def remarks(self) -> list[str]:
        """What a reader should know of the fields: a sentence, or none."""
        text = unused(self.fields)
        return [f"the rows have {text}"] if text else []


def unused(fields: Sequence[Field]) -> str:
    """The fields that usually belong to what is asked or said, where rows do not use them; else ""."""
    names = [f"{x.name} ({x.rows - x.used:,} rows)" for x in fields if x.asks and x.used < x.rows]
    if not names:
        return ""
    return (
        f"fields that usually belong to what is asked or said, and are not used: {', '.join(names)}"
    )


def read(
    source: Source,
    keys: Keys = DETECT,
    turns: str = "last",
    most_bytes: int = MOST_UNPACKED,
) -> Reading:
    """Return the usable rows of a source, and a sentence for each row that is not usable.

    With `turns` "last" a conversation is one row and its last message is the golden response. With
    "all" each assistant turn that answers something is a row of its own, with what came before as
    its prompt; rows of one line then share a group, unless the source gives one.

    Raises `DataError` if the source cannot be read or unpacks to more than `most_bytes`,
    `ConfigError` for other turns.
    """
    if turns not in TURNS:
        raise ConfigError(f"{keys.section}.turns must be 'last' or 'all', found {turns!r}")
    place, found = records(source, most_bytes)
    rows: list[Row] = []
    left_out: list[str] = []
    seen: Counter[str] = Counter()
    used: Counter[str] = Counter()
    for number, value in found:
        try:
            if isinstance(value, ValueError):
                raise value
            if not isinstance(value, Mapping):
                raise ValueError(f"expected an object, found {type(value).__name__}")
            fields = Fields(value, keys)
            rows += _rows(place.shown, number, fields, turns)
        except ValueError as error:
            left_out.append(f"{place.at(number)}: {error}")
        else:
            seen.update(list(fields.seen))
            used.update(fields.used)
    listed = [Field(name=name, rows=n, used=used[name]) for name, n in seen.items()]
    return Reading(name=place.absolute, rows=rows, left_out=left_out, fields=listed)


def read_rows(
    source: Source, keys: Keys = DETECT, turns: str = "last"
) -> tuple[list[Row], list[str]]:
    """Return the usable rows of a source and a sentence for each other one, as `read` finds them."""
    found = read(source, keys, turns)
    return found.rows, found.left_out


def nothing_in(source: object, left_out: Sequence[str]) -> str:
    """One sentence for a source without a usable row; the same reason is given once."""
    by_reason: dict[str, list[str]] = {}
    for sentence in left_out:
        place, _, reason = sentence.partition(": ")
        by_reason.setdefault(reason, []).append(place)
    if not by_reason:
        return f"{source}: no usable example. It is empty."
    said = []
    for reason, places in list(by_reason.items())[:SHOWN_REASONS]:
        more = f" and {len(places) - 1:,} more rows" if len(places) > 1 else ""
        said.append(f"{places[0]}{more}: {reason}")
    rest = len(by_reason) - SHOWN_REASONS
    tail = f" And {rest} other reasons." if rest > 0 else ""
    return f"{source}: no usable example.\n" + "\n".join(said) + tail


@cache
def formats() -> list[Format]:
    """Every format in `heldout.evals.rows.formats`, in the order in which they are tried."""
    found: list[Format] = load(heldout.evals.rows.formats, "FORMAT")
    return sorted(found, key=lambda each: each.rank)


def _rows(path: str, number: int, fields: Fields, turns: str) -> list[Row]:
    refuse_media(fields.values)
    form = next(each for each in formats() if each.matches(fields))
    found = form.read(fields)
    _refuse_untrained(fields)
    messages, start, masked = _with_system(found, fields)
    golden = messages[-1]["content"]
    others = dict.fromkeys([*found.others, *_references(fields)])
    references = tuple(text for text in others if text != golden)
    kwargs = fields.take("chat_template_kwargs") or {}
    if not isinstance(kwargs, Mapping):
        raise ValueError(f"'chat_template_kwargs' must be an object, found {kwargs!r:.60}")
    tools = offered(fields)
    group, label = _group(fields), fields.values.get("pattern")
    pattern = fields.take("pattern") if isinstance(label, str) and label else None
    ends = _scored(messages, start, turns, masked)
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
            tools=tools,
            template_kwargs=dict(kwargs),
        )
        for turn, end in enumerate(ends, start=1)
    ]


def _refuse_untrained(fields: Fields) -> None:
    """Raise `ValueError` for a row that is marked not to be trained; its answer is not golden."""
    mark = is_off({key: value for key, value in fields.values.items() if key not in fields.used})
    label = fields.values.get("label")
    if not mark and "label" not in fields.used and isinstance(label, bool | str):
        if label is False or str(label).lower() == "false":
            mark = f"label: {label}"
        elif label is True or str(label).lower() == "true":
            fields.take("label")
    for key in WEIGHTS:
        if fields.values.get(key) in (0, 1):
            fields.take(key)
    if mark:
        raise ValueError(f"it is marked {mark}, so its answer is neither trained nor golden")


def _with_system(found: Conversation, fields: Fields) -> tuple[list[Message], int, set[int]]:
    """The messages with the row's own system prompt, unless they begin with one."""
    key = fields.first(SYSTEM_KEYS)
    system = fields.values[key] if key else ""
    if not isinstance(system, str):
        raise ValueError(f"{key!r} must be text, found {system!r:.60}")
    if key is None or found.messages[0]["role"] == "system":
        return found.messages, found.start, found.masked
    fields.take(key)
    if not system.strip():
        return found.messages, found.start, found.masked
    messages = [{"role": "system", "content": sound(system)}, *found.messages]
    return messages, found.start + 1, {i + 1 for i in found.masked}


def _references(fields: Fields) -> list[str]:
    """Further accepted answers: one text or a list of texts.

    A detected field that holds nothing but objects is something else, and stays unused.
    """
    mapped = fields.keys.references
    keys = [key for key in REFERENCE_KEYS if key in fields] if mapped is None else [mapped]
    return [text for key in keys if key not in fields.used for text in _accepted(fields, key)]


def _accepted(fields: Fields, key: str) -> list[str]:
    value: Any = fields.values.get(key)
    if isinstance(value, Mapping) and isinstance(value.get("text"), list | tuple):  # SQuAD
        value = value["text"]
    texts = [value] if value is None or is_scalar(value) else value
    several = isinstance(texts, list | tuple)
    if several and all(each is None or is_scalar(each) for each in texts):
        fields.take(key)
        return [written(key, each) for each in texts if each is not None and str(each).strip()]
    if fields.keys.references is None and not (several and any(map(is_scalar, texts))):
        return []
    raise ValueError(f"{key!r} must be a list of texts, found {value!r:.60}")


def _group(fields: Fields) -> str:
    mapped = fields.keys.group
    key = fields.first(GROUP_KEYS if mapped is None else (mapped,))
    found = fields.values[key] if key else ""
    if key is None or not is_scalar(found) or isinstance(found, bool):
        return ""
    return str(fields.take(key))


def _scored(messages: Sequence[Message], start: int, turns: str, masked: set[int]) -> list[int]:
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
    ends = [end for end in ends if end not in masked]
    if not ends:
        raise ValueError("its answer is marked not to be trained, so it is not golden either")
    for end in ends:
        if not messages[end]["content"].strip() and not messages[end].get("tool_calls"):
            raise ValueError(f"the assistant's answer is empty (message {end + 1})")
    return ends
