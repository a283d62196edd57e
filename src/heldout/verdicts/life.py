"""The life of an alert: open, escalated, resolved; one record for each change and none between."""

from __future__ import annotations

from collections.abc import Iterable

from heldout.derive.history import History
from heldout.records import Level, State, Verdict
from heldout.verdicts.rule import Finding, NotChecked, Rule

LEVELS: tuple[Level, ...] = ("info", "warning", "error", "critical")
ACTIVE: tuple[State, ...] = ("open", "escalated")


def judge_rule(rule: Rule, history: History) -> list[Verdict]:
    """Run one rule and return what changed. A rule that throws becomes an `error` verdict."""
    if any(_active(history, parent) for parent in rule.silenced_by):
        return []
    try:
        found = rule.check(history)
    except Exception as error:  # a broken rule must be seen, and must not stop the others
        text = f"the rule failed: {type(error).__name__}: {error}"
        return _status(rule, history, "error", text)
    if isinstance(found, NotChecked):
        return _status(rule, history, "no-data", found.reason)
    return [*_opened(rule, history, found), *_resolved(rule, history, found)]


def _opened(rule: Rule, history: History, found: list[Finding]) -> Iterable[Verdict]:
    for finding in found:
        before = history.alerts.get((rule.name, finding.scope))
        active = before is not None and before.state in ACTIVE
        if before is not None and active and not _worse(finding.level, before.level):
            continue
        yield Verdict(
            step=history.step,
            time=history.time,
            rule=rule.name,
            scope=finding.scope,
            state="escalated" if active else "open",
            level=finding.level,
            message=finding.message,
            action=finding.action,
            evidence=finding.evidence,
        )


def _resolved(rule: Rule, history: History, found: list[Finding]) -> Iterable[Verdict]:
    scopes = {finding.scope for finding in found}
    for (name, scope), before in history.alerts.items():
        if name != rule.name or scope in scopes:
            continue
        if before.state in ACTIVE:
            yield _changed(before, history, "resolved")
        elif before.state in ("no-data", "error"):
            yield _changed(before, history, "closed")


def _status(rule: Rule, history: History, state: State, reason: str) -> list[Verdict]:
    scope = "rule" if state == "error" else ""
    before = history.alerts.get((rule.name, scope))
    if before is not None and before.state in ACTIVE:
        return []
    if before is not None and (before.state, before.message) == (state, reason):
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
    )


def _worse(level: Level, than: Level) -> bool:
    return LEVELS.index(level) > LEVELS.index(than)


def _active(history: History, rule: str) -> bool:
    return any(name == rule and v.state in ACTIVE for (name, _), v in history.alerts.items())
