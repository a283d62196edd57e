"""What a user says about the rules: other limits, rules left out, thresholds of their own."""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard, get_args

from heldout.derive.history import History
from heldout.records import EvalResult, Level, Sample
from heldout.verdicts.rule import Ending, Ends, Finding, NotChecked, Rule

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
KEYS = ("name", "metric", "op", "value", "for", "level", "action", "ends")
EVALUATED = {
    f"eval/{field}": field for field in ("em", "token_em", "ce", "ece", "entropy", "token_accuracy")
}
"""Metrics of the fixed set, and where an `EvalResult` holds them."""
FROM_ZERO = frozenset({"some", "rise", "drop", "noise", "loss_noise", "tail", "wait"})
"""Limits that may be 0, which asks for nothing: any share, any rise, however noisy, at once. At 0 the
others would alert always, never, or not be computable."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A line of `alerts.rules`: bad when `metric` is `op` `value` for `steps` recorded steps.

    For a metric of the fixed set `steps` are evaluations.
    """

    metric: str
    op: str
    value: float
    steps: int = 1
    level: Level = "warning"
    action: str = ""


def configured(rules: Sequence[Rule[Any]], alerts: Mapping[str, Any]) -> list[Rule[Any]]:
    """Apply the `alerts` settings of a run's config to `rules`.

    What does not fit (a rule or limit that this version does not have) is left as it is: a journal
    of another version must be judged all the same. A config is validated where it is read.
    """
    off = alerts.get("off") or []
    limits = alerts.get("limits") or {}
    found = [_limited(rule, limits.get(rule.name) or {}) for rule in rules if rule.name not in off]
    lines = [line for line in alerts.get("rules") or [] if not mistakes_in(line)]
    return [*found, *map(threshold_rule, lines)]


def threshold_rule(line: Mapping[str, Any]) -> Rule[Threshold]:
    """Return the rule that a valid line of `alerts.rules` describes."""
    limits = Threshold(
        metric=line["metric"],
        op=line["op"],
        value=float(line["value"]),
        steps=int(line.get("for", 1)),
        level=line.get("level", "warning"),
        action=line.get("action", ""),
    )
    evaluated = limits.metric in EVALUATED
    on = (Sample, EvalResult) if evaluated else (Sample,)  # a foreign log has eval/em by step
    action = line.get("ends")
    ends = Ends(action, limits.level) if action else None
    return Rule(name=line["name"], check=_check, limits=limits, on=on, ends=ends)


def mistakes_in(line: object) -> list[str]:
    """Everything wrong with a line of `alerts.rules`; [] when it is valid."""
    if not isinstance(line, Mapping):
        return [f"a rule is a mapping with {', '.join(KEYS)}, found {line!r}"]
    wrong = [f"unknown key {key!r}{_near(key, KEYS)}" for key in line if key not in KEYS]
    wrong += [f"{key!r} is missing" for key in ("name", "metric", "op", "value") if key not in line]
    for key in ("name", "metric", "action"):
        if not isinstance(line.get(key, ""), str):
            wrong.append(f"{key!r} must be text, found {line[key]!r}")
    if line.get("name") == "":
        wrong.append("'name' is empty")
    if "op" in line and line["op"] not in tuple(OPERATORS):
        wrong.append(f"'op' must be one of {' '.join(OPERATORS)}, found {line['op']!r}")
    if "value" in line and not is_number(line["value"]):
        wrong.append(f"'value' must be a finite number, found {shown(line['value'])}")
    steps = line.get("for", 1)
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        wrong.append(f"'for' must be a number of steps from 1 on, found {steps!r}")
    if line.get("level", "warning") not in get_args(Level):
        wrong.append(
            f"'level' must be one of {', '.join(get_args(Level))}, found {line['level']!r}"
            + _near(line["level"], get_args(Level))
        )
    endings = get_args(Ending)
    if line.get("ends") is not None and line["ends"] not in endings:
        found = f"{line['ends']!r}{_near(line['ends'], endings)}"
        wrong.append(f"'ends' must be {' or '.join(endings)}, or left out, found {found}")
    return wrong


def _near(found: object, known: Sequence[str]) -> str:
    """A question for the nearest of what is known; "" when none is close."""
    close = difflib.get_close_matches(str(found), known, n=1)
    return f". Did you mean {close[0]!r}?" if close else ""


def _check(history: History, limits: Threshold) -> list[Finding] | NotChecked:
    field = EVALUATED.get(limits.metric) if history.evals else None
    if field:
        tail = [float(getattr(each, field)) for each in history.evals[-limits.steps :]]
    else:
        tail = history.columns.get(limits.metric).tail(limits.steps)
    if not tail:
        return NotChecked(f"no '{limits.metric}' was recorded")
    compare = OPERATORS[limits.op]
    # a number that is not one is no evidence of health
    bad = [math.isnan(value) or compare(value, limits.value) for value in tail]
    if not bad[-1]:
        return []
    held = len(bad) == limits.steps and all(bad)
    text = f"{limits.metric} is {tail[-1]:g}, {limits.op} {limits.value:g}"
    text += f" for {limits.steps} {'evaluations' if field else 'steps'}" if limits.steps > 1 else ""
    evidence = {"metric": limits.metric, "value": tail[-1], "limit": limits.value}
    return [
        Finding(
            level=limits.level,
            message=text,
            action=limits.action or f"Look at {limits.metric}: you set this limit.",
            evidence=evidence,
            stage="open" if held else "pending",
        )
    ]


def _limited(rule: Rule[Any], changes: Mapping[str, Any]) -> Rule[Any]:
    known = getattr(rule.limits, "__dataclass_fields__", {})
    fitting = {
        name: value
        for name, value in changes.items()
        if name in known and not mistake_in_limit(rule, name, value)
    }
    return rule.limited(fitting)


def mistake_in_limit(rule: Rule[Any], name: str, value: object) -> str:
    """What is wrong with `value` for the limit `name` that `rule` has; "" when nothing is.

    A limit that no number can pass would make the rule blind, and silence look like health.
    """
    counts = isinstance(getattr(rule.limits, name), int)
    least = 0 if name in FROM_ZERO else 1 if counts else None
    if not is_number(value):
        return f"must be a finite number, found {shown(value)}"
    if counts and not isinstance(value, int):
        return f"must be a whole number, found {shown(value)}"
    if least is None:
        return "" if value > 0 else f"must be above 0, found {shown(value)}"
    return "" if value >= least else f"must be at least {least}, found {shown(value)}"


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value from a config is a finite number that a float can hold, and not true or false."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the largest float
        return False


def shown(value: object) -> str:
    """A value as a message shows it, cut where it is long."""
    try:
        return f"{value!r:.40}"
    except ValueError:  # Python prints no integer of more than 4,300 digits
        return "an integer of thousands of digits"
