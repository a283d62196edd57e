"""What a source format is: how its rows are known, and how one becomes a conversation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from heldout.evals.rows.fields import Fields
from heldout.evals.rows.row import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """The messages of a row; the last is the golden answer."""

    messages: list[Message]
    start: int = 0
    """The index from which the assistant's turns may be scored."""
    others: list[str] = field(default_factory=list)
    """Accepted answers besides the golden one."""
    masked: set[int] = field(default_factory=set)
    """Indices of turns that are marked not to be trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One form in which people write examples. The first that matches a row, by `rank`, reads it."""

    name: str
    rank: int
    fields: str
    """What its rows look like, for the documentation."""
    rule: str
    """What becomes of them, in a sentence."""
    matches: Callable[[Fields], bool]
    read: Callable[[Fields], Conversation]
    """Raises `ValueError` with what is wrong with the row and what would work."""
