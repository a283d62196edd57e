"""The rows of the Examples page: filtered, sorted and cut into pages here, so that a browser holds few."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from heldout.derive.examples import ABOUT, Example, examples
from heldout.derive.history import History
from heldout.derive.patterns import BIN_NAMES
from heldout.errors import ConfigError
from heldout.records import Item
from heldout.views.web.set_file import SetFile, Text, Texts

MOST_ROWS = 200
MOST_QUERY = 200
MOST_SHOWN = 400
"""Characters of each text in a row; one example on its own shows `MOST_TEXT`."""
MOST_TEXT = 50_000
MOST_BEFORE = 80
"""Characters of the golden answer shown before the place where the greedy one leaves it."""
ALIGN = 40
AGAINST = {
    "gained": "right here, wrong in the other run",
    "lost": "wrong here, right in the other run",
}
"""Further kinds, where the rows are shown against another run."""
SORTS = ("line", "ce", "tokens", "pattern", "changes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which rows are asked for; "" takes all."""

    kind: str = ""
    pattern: str = ""
    bin: str = ""
    text: str = ""
    sort: str = "line"
    descending: bool = False
    offset: int = 0
    limit: int = 100

    @classmethod
    def of(cls, asked: Mapping[str, str]) -> Query:
        """Read the query of an address. Raises `ConfigError` for what cannot be asked."""
        kind, sort = asked.get("kind", ""), asked.get("sort", "line")
        if kind and kind not in ABOUT and kind not in AGAINST:
            raise ConfigError("there is no such kind of example")
        if sort.removeprefix("-") not in SORTS:
            raise ConfigError(f"rows can be sorted by {', '.join(SORTS)}")
        return cls(
            kind=kind,
            pattern=asked.get("pattern", ""),
            bin=asked.get("bin", ""),
            text=asked.get("text", "")[:MOST_QUERY],
            sort=sort.removeprefix("-"),
            descending=sort.startswith("-"),
            offset=_count(asked.get("offset", "0")),
            limit=min(MOST_ROWS, _count(asked.get("limit", "100"))),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """The latest evaluation of another run on the same fixed set."""

    id: str
    items: Mapping[str, Item]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The rows that a query asks for, all of them and in its order, and what they were chosen from."""

    rows: list[tuple[Example, frozenset[str]]]
    """Each with the kinds it is of."""
    every: list[Example]
    kinds: list[frozenset[str]]
    """Of `every`."""
    texts: Texts


def choose(
    history: History, query: Query, file: SetFile, beside: Path, other: Other | None = None
) -> Chosen:
    """Filter and sort the examples of the latest evaluation as `query` asks."""
    every = examples(history)
    texts = file.texts(history.run, [example.item.id for example in every], beside)
    kinds = [example.kinds | _against(example.item, other) for example in every]
    rows = [
        (example, of)
        for example, of in zip(every, kinds, strict=True)
        if _fits(example, of, query, texts)
    ]
    rows.sort(key=lambda pair: _sort_key(pair[0], query.sort), reverse=query.descending)
    return Chosen(rows=rows, every=every, kinds=kinds, texts=texts)


def page(
    history: History, query: Query, file: SetFile, beside: Path, other: Other | None = None
) -> dict[str, Any]:
    """Return the rows that `query` asks for, how many there are, and what can be filtered by.

    `missing` says why texts are missing; `version` changes whenever the rows may have.
    """
    chosen = choose(history, query, file, beside, other)
    every, texts = chosen.every, chosen.texts
    shown = chosen.rows[query.offset : query.offset + query.limit]
    run = history.run
    return {
        "rows": [_row(example, of, texts, other) for example, of in shown],
        "total": len(chosen.rows),
        "offset": query.offset,
        "n": len(every),
        "evals": [result.step for result in history.evals],
        "version": f"{len(history.evals)}-{history.evals[-1].time if history.evals else 0}",
        "kinds": _offered(chosen.kinds, other),
        "patterns": dict(sorted(Counter(e.item.pattern for e in every).items())),
        "bins": {b: n for b in BIN_NAMES if (n := sum(e.item.bin == b for e in every))},
        "set": msgspec.to_builtins(run.eval_set) if run and run.eval_set else None,
        "missing": texts.missing,
    }


def one(history: History, item_id: str, file: SetFile, beside: Path) -> dict[str, Any] | None:
    """Return one example with every evaluation of it; None where the latest one has none such."""
    return in_full(history, [item_id], file, beside).get(item_id)


def in_full(
    history: History, ids: Collection[str], file: SetFile, beside: Path
) -> dict[str, dict[str, Any]]:
    """Return those of the examples `ids` that the latest evaluation has, each with every one of it."""
    every = {example.item.id: example for example in examples(history)}
    texts = file.texts(history.run, list(every), beside)
    scored: dict[str, list[Item]] = {item_id: [] for item_id in ids if item_id in every}
    for result in history.evals:
        for item in history.items.get(result.step, []):
            if item.id in scored:
                scored[item.id].append(item)
    return {item_id: _in_full(every[item_id], items, texts) for item_id, items in scored.items()}


def _in_full(example: Example, scored: Sequence[Item], texts: Texts) -> dict[str, Any]:
    text = texts.found.get(example.item.id)
    return {
        **_facts(example.item),
        "kinds": sorted(example.kinds),
        "messages": [_message(m) for m in text.messages[:-1]] if text else None,
        "golden": _cut(text.golden, MOST_TEXT) if text else None,
        "references": [_cut(other, MOST_TEXT) for other in text.references] if text else [],
        "missing": "" if text else texts.missing,
        "went": [{**_facts(item), "said": _said(item, text, MOST_TEXT)} for item in scored],
    }


def _row(
    example: Example, kinds: frozenset[str], texts: Texts, other: Other | None
) -> dict[str, Any]:
    item = example.item
    text = texts.found.get(item.id)
    there = other.items.get(item.id) if other else None
    return {
        **_facts(item),
        "went": example.went,
        "kinds": sorted(kinds),
        "prompt": _cut(text.prompt, MOST_SHOWN) if text else None,
        "golden": _cut(text.golden, MOST_SHOWN) if text else None,
        "said": _said(item, text, MOST_SHOWN),
        "other": there
        and {"correct": there.correct, "ce": there.ce, "said": _said(there, text, MOST_SHOWN)},
    }


def _facts(item: Item) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.to_builtins(item)
    for name in ("type", "text"):
        del facts[name]
    return facts


def _message(message: Mapping[str, str]) -> dict[str, str]:
    return {"role": message["role"], "content": _cut(message["content"], MOST_TEXT)}


def _said(item: Item, text: Text | None, most: int) -> dict[str, Any] | None:
    """What greedy decoding said: the part that is the golden answer's, and where it leaves it.

    None where the journal has no text and none can be inferred.
    """
    golden = text.golden if text else None
    if item.text is None:
        if not item.token_correct or golden is None:
            return None
        return {"same": _cut(golden, most), "other": ""}
    same = _shared(golden, item.text) if golden is not None else 0
    before = item.text[:same]
    if most < MOST_TEXT and len(before) > MOST_BEFORE:
        before = "…" + before[-MOST_BEFORE:]
    return {"same": _cut(before, most), "other": _cut(item.text[same:], most)}


def _shared(golden: str, said: str) -> int:
    """How many characters of `said` follow the golden answer; never parts of one written sign.

    A long text was recorded without its beginning, marked by an ellipsis.
    """
    start, at = 0, 0
    if said.startswith("…") and not golden.startswith("…"):
        start, at = 1, max(0, golden.find(said[1 : 1 + ALIGN]))
    length = start
    for golden_sign, sign in zip(golden[at:], said[start:], strict=False):
        if golden_sign != sign:
            break
        length += 1
    while 0 < length < len(said) and _continues(said[length]):
        length -= 1
    return length if length > start else 0


def _continues(sign: str) -> bool:
    """Whether a character belongs to the one before it."""
    return bool(unicodedata.combining(sign)) or sign in "\u200d\ufe0e\ufe0f"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + f"… ({len(text) - most:,} more characters)"


def _against(item: Item, other: Other | None) -> frozenset[str]:
    there = other.items.get(item.id) if other else None
    if there is None or there.correct == item.correct:
        return frozenset()
    return frozenset({"gained" if item.correct else "lost"})


def _fits(example: Example, kinds: frozenset[str], query: Query, texts: Texts) -> bool:
    item = example.item
    return (
        (not query.kind or query.kind in kinds)
        and (not query.pattern or item.pattern == query.pattern)
        and (not query.bin or item.bin == query.bin)
        and (not query.text or _contains(item, texts.found.get(item.id), query.text))
    )


def _contains(item: Item, text: Text | None, wanted: str) -> bool:
    parts = [item.id, item.text or "", *((text.prompt, text.golden) if text else ())]
    return any(wanted.casefold() in part.casefold() for part in parts)


def _sort_key(example: Example, sort: str) -> tuple[Any, ...]:
    item = example.item
    if sort == "ce":
        known = item.ce == item.ce  # a NaN is worse than any number
        return (0 if known else 1, item.ce if known else 0.0, item.line)
    if sort == "tokens":
        return (item.tokens, item.line)
    if sort == "pattern":
        return (item.pattern, item.line)
    if sort == "changes":
        signs = example.went.replace("-", "")
        return (sum(a != b for a, b in pairwise(signs)), item.line)
    return (item.line, item.id)


def _offered(kinds: Sequence[frozenset[str]], other: Other | None) -> list[dict[str, Any]]:
    about = ABOUT | (AGAINST if other else {})
    seen = Counter(kind for of in kinds for kind in of)
    return [{"kind": k, "about": text, "n": seen[k]} for k, text in about.items()]


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ConfigError("offset and limit are whole numbers from 0 on")
    return int(text)
