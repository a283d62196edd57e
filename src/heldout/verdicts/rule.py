"""What a rule is: a pure function of history that finds something bad, or says it cannot look.

A rule's file defines one constant `RULE` and its module docstring is its page in `docs/rules.md`,
with the sections Checks, Why, What to do, When it is wrong and Source.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from heldout.derive.history import History
from heldout.records import EvalResult, Level, Record, Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something bad that is true now. `scope` tells apart several findings of one rule."""

    level: Level
    message: str
    action: str
    evidence: dict[str, Any] = field(default_factory=dict)
    scope: str = ""


@dataclass(frozen=True, slots=True)
class NotChecked:
    """The rule has nothing to look at; `reason` says what is missing. Silence is not health."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One alert. `name` names the bad thing; a rule listed in `silenced_by` that is open mutes it.

    `on` are the facts after which it is checked: a rule about evaluations need not run each step.
    """

    name: str
    check: Callable[[History], list[Finding] | NotChecked]
    on: tuple[type[Record], ...] = (Sample, EvalResult)
    silenced_by: tuple[str, ...] = ()
