"""The life of an alert; one record for each change and none between.

    (pending ->) open -> escalated -> resolved -> closed

Closed are: a pending alert that goes away, an open one that another alert explains (`silenced_by`), and a
resolved one at the end of the run. A resolved one
opens again when its cause does. "no-data" and "error" are a rule's own states: it could not look.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from heldout.derive.history import History
from heldout.records import Level, State, Verdict, encode
from heldout.verdicts.rule import Finding, NotChecked, Rule, Stage

LEVELS: tuple[Level, ...] = ("info", "warning", "error", "critical")
STAGES: tuple[Stage, ...] = get_args(Stage)
ACTIVE: tuple[State, ...] = ("open", "escalated")
LASTING: tuple[State, ...] = (*ACTIVE, "pending", "no-data", "error")
"""States that end when their cause does."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The rules by how their alerts stand: what every rule asks at every step, and what rarely changes."""

    active: set[str] = field(default_factory=set)
    lasting: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, history: History) -> Standing:
        """How all alerts of a history stand."""
        found = cls()
        for rule in history.alerts_of:
            found.update(rule, history)
        return found

    def update(self, rule: str, history: History) -> None:
        """An alert of `rule` has changed."""
        states = {verdict.state for verdict in history.alerts_of[rule].values()}
        for names, kind in ((self.active, ACTIVE), (self.lasting, LASTING)):
            names.discard(rule) if states.isdisjoint(kind) else names.add(rule)


def judge_rule(rule: Rule[Any], history: History, standing: Standing) -> list[Verdict]:
    """Run one rule and return what changed. A rule that throws becomes an `error` verdict.

    While a rule that silences it is open nothing new is said, and what was open before is closed.
    `standing` is how the alerts of `history` stand.
    """
    for parent in rule.silenced_by if standing.active else ():
        if parent in standing.active:
            known = history.alerts_of.get(rule.name, {}).values()
            open_now = [_changed(v, history, "closed") for v in known if v.state in ACTIVE]
            return open_now or _status(rule, history, "no-data", f"muted while {parent} is open")
    try:
        found = rule.look(history)
        if not found and rule.name not in standing.lasting:
            return []
        if isinstance(found, NotChecked):
            return _status(rule, history, "no-data", str(found.reason))
        found = [_sound(finding) for finding in found]
        changes = [*_opened(rule, history, found), *_resolved(rule, history, found)]
        for verdict in changes:
            encode(verdict)  # what the journal could not hold would be owed to it for ever
    except (Exception, SystemExit) as error:  # must be seen, and must not stop the others
        text = f"the rule failed: {type(error).__name__}: {error}"
        return _status(rule, history, "error", text)
    return changes


def superseded(history: History, rules: Collection[str]) -> list[Verdict]:
    """The alerts that a start of the run closes: of steps that are made anew, or of no rule any more."""
    start = history.run.step if history.run else 0
    return [
        _changed(before, history, "closed")
        for before in history.alerts.values()
        if before.state in LASTING and (before.step > start or before.rule not in rules)
    ]


def closed(history: History, moot: Collection[str] = ()) -> list[Verdict]:
    """The alerts that the end of a run closes: the resolved ones, and those of the rules in `moot`."""
    over = [v for v in history.alerts.values() if v.state == "resolved" or _is_moot(v, moot)]
    return [_changed(before, history, "closed") for before in over]


def _is_moot(verdict: Verdict, rules: Collection[str]) -> bool:
    return verdict.state in ACTIVE and verdict.rule in rules


def _opened(rule: Rule[Any], history: History, found: list[Finding]) -> Iterable[Verdict]:
    for finding in found:
        before = history.alerts.get((rule.name, finding.scope))
        active = before is not None and before.state in ACTIVE
        if before is not None and active and not _worse(finding.level, before.level):
            continue
        pending = before is not None and before.state == "pending"
        if finding.stage == "holding" or (finding.stage == "pending" and (active or pending)):
            continue
        yield Verdict(
            step=history.step,
            time=history.time,
            rule=rule.name,
            scope=finding.scope,
            state="escalated" if active else finding.stage,
            level=finding.level,
            message=finding.message,
            action=finding.action,
            evidence=finding.evidence,
            ends=_ending(rule, finding.level),
        )


def _resolved(rule: Rule[Any], history: History, found: list[Finding]) -> Iterable[Verdict]:
    scopes = {finding.scope for finding in found}
    for scope, before in history.alerts_of.get(rule.name, {}).items():
        if scope in scopes:
            continue
        if before.state in ACTIVE:
            yield _changed(before, history, "resolved")
        elif before.state in ("pending", "no-data", "error"):
            yield _changed(before, history, "closed")


def _status(rule: Rule[Any], history: History, state: State, reason: str) -> list[Verdict]:
    scope = "rule" if state == "error" else ""
    before = history.alerts.get((rule.name, scope))
    if before is not None and before.state in ACTIVE:
        return []
    if (
        before is not None
        and before.state == state
        and (before.message == reason or _same(state, before.message, reason))
    ):
        return []
    level: Level = "warning" if state == "error" else "info"
    return [
        Verdict(
            step=history.step,
            time=history.time,
            rule=rule.name,
            scope=scope,
            state=state,
            level=level,
            message=reason,
            action="",
        )
    ]


def _same(state: State, before: str, now: str) -> bool:
    """Whether a status has been told; of an error the kind counts, as its text may name the step."""
    parts = 2 if state == "error" else None
    return before.split(":")[:parts] == now.split(":")[:parts]


def _sound(finding: object) -> Finding:
    """A finding as the rules of a user's file must give it; raises `TypeError` for another."""
    if not isinstance(finding, Finding) or not isinstance(finding.scope, str):
        raise TypeError(f"a rule returns Findings with a text as scope, found {finding!r}")
    if finding.level not in LEVELS or finding.stage not in STAGES:
        raise TypeError(f"no level or stage is called {finding.level!r} or {finding.stage!r}")
    return finding


def _changed(before: Verdict, history: History, state: State) -> Verdict:
    return Verdict(
        step=history.step,
        time=history.time,
        rule=before.rule,
        scope=before.scope,
        state=state,
        level=before.level,
        message=before.message,
        action=before.action,
        evidence=before.evidence,
        ends=before.ends,
    )


def _ending(rule: Rule[Any], level: Level) -> Literal["", "stop", "roll-back"]:
    """How an alert of this level ends the run; "" where it advises."""
    ends = rule.ends
    return ends.action if ends and LEVELS.index(level) >= LEVELS.index(ends.level) else ""


def _worse(level: Level, than: Level) -> bool:
    return LEVELS.index(level) > LEVELS.index(than)
