"""The fixed set example by example: how each went over the evaluations, and what it is worth knowing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from heldout.derive.attention import KINDS, strange_examples
from heldout.derive.history import History
from heldout.records import Item

RIGHT, WRONG, ABSENT = "1", "0", "-"

ABOUT = {
    "right": "right at the latest evaluation",
    "wrong": "wrong at the latest evaluation",
    "learned": "wrong at its first evaluation, right at the latest",
    "forgotten": KINDS["forgotten"],
    "persistent": KINDS["persistent"],
    "suspicious": KINDS["suspicious"],
    "near-tie": "another batch or kernel could turn token exact match around",
}
"""What each kind of example is, in the order they are offered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One example of the fixed set at the latest evaluation."""

    item: Item
    went: str
    """A sign an evaluation, the earliest first: "1" right, "0" wrong, "-" not scored."""
    kinds: frozenset[str]
    """Keys of `ABOUT`."""


def examples(history: History) -> list[Example]:
    """Return the examples of the latest evaluation as it scored them; [] before the first."""
    return history.remember("examples", lambda: _examples(history))


def _examples(history: History) -> list[Example]:
    scored = [
        {item.id: item.correct for item in history.items.get(result.step, [])}
        for result in history.evals
    ]
    strange: dict[str, set[str]] = {}
    for kind, items in strange_examples(history).items():
        for item in items:
            strange.setdefault(item.id, set()).add(kind)
    return [_example(item, scored, strange.get(item.id, set())) for item in history.last_items]


def _example(item: Item, scored: Sequence[dict[str, bool]], strange: set[str]) -> Example:
    went = "".join(_sign(answers.get(item.id)) for answers in scored)
    kinds = {*strange, "right" if item.correct else "wrong"}
    if item.near_tie:
        kinds.add("near-tie")
    if item.correct and went.lstrip(ABSENT).startswith(WRONG):
        kinds.add("learned")
    return Example(item=item, went=went, kinds=frozenset(kinds))


def _sign(correct: bool | None) -> str:
    return ABSENT if correct is None else RIGHT if correct else WRONG
