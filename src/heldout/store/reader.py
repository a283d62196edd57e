"""What a reader of foreign logs is, and what it says of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """Numbers logged together at one optimizer step, by the names the log gives them."""

    step: int
    values: Mapping[str, float]
    time: float | None = None
    """Unix seconds, where the log tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """A run as a foreign log tells it; `heldout.store.translate` makes records of it."""

    id: str
    rows: Sequence[Row]
    """In the order they were logged, at least one."""
    total_steps: int = 0
    """0 where the log does not tell."""
    last_step: int = 0
    """The step the run had reached, where the log tells it apart from its rows."""
    finished: bool = False
    """Whether the log says that training reached its end."""
    failure: str = ""
    """How the run ended, where the log says that it failed."""
    model: str = ""
    schedule: str = ""
    """The learning rate's schedule by the Trainer's name, where the log tells."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Settings by the names of `Run.training`, as far as the log tells."""
    environment: Mapping[str, str] = field(default_factory=dict)
    checkpoints: Mapping[int, str] = field(default_factory=dict)
    """Names of the checkpoint folders that are there, by step."""
    remarks: Sequence[str] = ()
    """What could not be read and what had to be assumed, a sentence each."""


@dataclass(frozen=True, slots=True)
class Reader:
    """One kind of log. `name` becomes `Run.source`; `what` says what it reads, for messages.

    `read` raises `DataError` for a log in which nothing can be used, saying what was found.
    """

    name: str
    what: str
    accepts: Callable[[Path], bool]
    """Whether a file or folder looks like this kind; cheap, and never raises for a readable path."""
    read: Callable[[Path], Log]
    rank: int
    """Which reader is asked first where several accept a folder: the one whose log tells most."""
