"""What a rule is: a pure function of history that finds something bad, or says it cannot look.

A rule's file defines one constant `RULE` and its module docstring is its page in `docs/rules.md`,
with the sections Checks, Why, What to do, When it is wrong and Source. Its thresholds are the fields
of its `Limits`, each with a sentence; a config overrides them by name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from heldout.derive.history import History
from heldout.records import EvalResult, Level, Record, Sample

Stage = Literal["pending", "open", "holding"]
Ending = Literal["stop", "roll-back"]
"""How an alert ends a run: it stops, or it also goes back to the recommended checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something bad that is true now. `scope` tells apart several findings of one rule.

    `stage` says how sure it is: "open" raises an alert; "pending" is not yet enough to; "holding"
    keeps an alert open that is open already and else says nothing.
    """

    level: Level
    message: str
    action: str
    evidence: dict[str, Any] = field(default_factory=dict)
    scope: str = ""
    stage: Stage = "open"


@dataclass(frozen=True, slots=True)
class NotChecked:
    """The rule has nothing to look at; `reason` says what is missing. Silence is not health."""

    reason: str


@dataclass(frozen=True, slots=True)
class NoLimits:
    """The limits of a rule without thresholds."""


@dataclass(frozen=True, slots=True)
class Ends:
    """That open alerts of a rule end the run, from a level on. Only `may_stop` lets a decision do it."""

    action: Ending
    level: Level = "error"


L = TypeVar("L")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(Generic[L]):
    """One alert. `name` names the bad thing; a rule listed in `silenced_by` that is open mutes it.

    `on` are the facts after which it is checked: a rule about evaluations need not run each step. `ends`
    is its consequence for the run; without it an alert advises.
    """

    name: str
    check: Callable[[History, L], list[Finding] | NotChecked]
    limits: L
    on: tuple[type[Record], ...] = (Sample, EvalResult)
    silenced_by: tuple[str, ...] = ()
    ends: Ends | None = None

    def look(self, history: History) -> list[Finding] | NotChecked:
        """What is found in `history` now."""
        return self.check(history, self.limits)

    def limited(self, changes: Mapping[str, Any]) -> Rule[L]:
        """The same rule with some limits changed. Raises `TypeError` for an unknown one."""
        limits: Any = self.limits
        return dataclasses.replace(self, limits=dataclasses.replace(limits, **changes))
