"""Several runs on shared axes: their curves, their last numbers, what their settings differ in, and
whether one answers the same fixed set better than another, example by example.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from heldout.derive.clock import Clock
from heldout.derive.columns import Series
from heldout.derive.comparison import Since, between
from heldout.derive.history import History
from heldout.errors import ConfigError
from heldout.records import Item, encode

MOST_RUNS = 8
"""As many as can be told apart in one chart."""
BUCKETS = 200
STREAMING = "loss/streaming"
TOKENS = "throughput/total_tokens"
SPEED = "throughput/tokens_per_second"
EVAL_FIELDS = ("em", "em_low", "em_high", "ce", "ce_low", "ce_high", "ece", "ece_low", "ece_high")
MOST_VALUE = 300
AXES = ("steps", "tokens", "seconds")
FACTS = ("model", "learning_rate", "total_steps", "source")


def side(name: str, history: History, clock: Clock) -> dict[str, Any]:
    """Return one run's curves over steps, tokens and seconds, its last numbers and its settings."""
    run, evals, decision = history.run, history.evals, history.decision
    axes = _Axes(history.columns.get(TOKENS), clock.seconds)
    steps, values = history.columns.get(STREAMING).minmax(BUCKETS)
    last = evals[-1] if evals else None
    return {
        "id": name,
        "state": history.state,
        "step": history.step,
        "set": msgspec.to_builtins(run.eval_set) if run and run.eval_set else None,
        "streaming": {**axes.at(steps.tolist()), "values": values.tolist()},
        "evals": {
            **axes.at([result.step for result in evals]),
            **{field: [getattr(result, field) for result in evals] for field in EVAL_FIELDS},
        },
        "final": {
            **{field: getattr(last, field) if last else None for field in (*EVAL_FIELDS, "n")},
            "eval_step": last.step if last else None,
            "streaming_ce": _last(history, STREAMING),
            "tokens": _last(history, TOKENS),
            "tokens_per_second": _last(history, SPEED),
            "seconds": clock.seconds.last if len(clock.seconds) else None,
            "total_steps": run.total_steps if run else None,
            "best_checkpoint": decision.checkpoint if decision else None,
            "action": decision.action if decision else None,
        },
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What of an axis is looked at, both ends included."""

    axis: str
    first: float
    last: float

    @classmethod
    def of(cls, asked: Mapping[str, str]) -> Part:
        """Read it from the query of an address. Raises `ConfigError` for what is none."""
        axis = asked.get("axis", "steps")
        if axis not in AXES:
            raise ConfigError(f"an axis is one of {', '.join(AXES)}")
        try:
            first, last = float(asked.get("first", "")), float(asked.get("last", ""))
        except ValueError:
            raise ConfigError("first and last must be numbers") from None
        if not -math.inf < first <= last < math.inf:
            raise ConfigError("first must not be above last, and both finite")
        return cls(axis=axis, first=first, last=last)


def curve(name: str, history: History, clock: Clock, part: Part) -> dict[str, Any]:
    """Return one run's streaming CE within `part`, thinned less than over the whole run.

    One point on either side is with it, so that the line can leave the picture.
    """
    axes = _Axes(history.columns.get(TOKENS), clock.seconds)
    first, last = axes.steps_of(part)
    steps, values = history.columns.get(STREAMING).minmax(BUCKETS, first, last)
    return {"id": name, **axes.at(steps.tolist()), "values": values.tolist()}


def settings(history: History) -> dict[str, str]:
    """Everything a run was started with, as text by dotted name."""
    run = history.run
    if run is None:
        return {}
    found: dict[str, str] = {name: _told(getattr(run, name)) for name in FACTS}
    if run.eval_set:
        found |= {f"fixed set.{k}": _told(getattr(run.eval_set, k)) for k in ("path", "hash", "n")}
    found |= _flat(run.config, "")
    return found | {f"environment.{name}": value for name, value in run.environment.items()}


def differences(every: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Return a line a setting: its value in each run (None where it has none), and whether they differ."""
    names = dict.fromkeys(name for each in every for name in each)
    lines = []
    for name in names:
        values = [each.get(name) for each in every]
        lines.append({"name": name, "values": values, "differs": len(set(values)) > 1})
    return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """The latest evaluation of a run: what two runs are paired by."""

    name: str
    set_hash: str
    """Of the fixed set's content; "" where the run has none."""
    step: int | None
    """None before the first evaluation."""
    items: tuple[Item, ...]

    @classmethod
    def of(cls, name: str, history: History) -> Scored:
        """Take it from a history, which may go on meanwhile."""
        about = history.run.eval_set if history.run else None
        return cls(
            name=name,
            set_hash=about.hash if about else "",
            step=history.evals[-1].step if history.evals else None,
            items=tuple(history.last_items),
        )


def pair(one: Scored, other: Scored) -> dict[str, Any]:
    """Compare the latest evaluations of two runs example by example, the first as the reference.

    `{reason}` instead where they cannot be compared.
    """
    reason = why_not(one, other)
    found = None if reason else between(one.items, other.items)
    if found is None:
        return {"reason": reason or "the two evaluations share no example"}
    facts: dict[str, Any] = msgspec.to_builtins(found)
    return {**facts, "steps": [one.step, other.step], "says": _says(found)}


def why_not(one: Scored, other: Scored) -> str:
    """Why the examples of two runs cannot be paired; "" where they can."""
    for each in (one, other):
        if not each.set_hash:
            return f"{each.name} has no fixed set"
        if each.step is None:
            return f"{each.name} has not been evaluated yet"
    if one.set_hash != other.set_hash:
        return "they were scored on different fixed sets, so their examples cannot be paired"
    return ""


def _says(found: Since) -> str:
    """What the interval of the difference tells, by itself."""
    if found.em_change_low > 0:
        return "better"
    return "worse" if found.em_change_high < 0 else "no difference shown"


class _Axes:
    """Where a step stands on each of the axes."""

    def __init__(self, tokens: Series, seconds: Series) -> None:
        self._by_name = {
            "tokens": (tokens.steps.tolist(), tokens.values.tolist()),
            "seconds": (seconds.steps.tolist(), seconds.values.tolist()),
        }

    def at(self, steps: list[int]) -> dict[str, Any]:
        """The steps, and their tokens and seconds; [] for an axis that was never recorded."""
        found: dict[str, Any] = {"steps": steps}
        for name, (known, values) in self._by_name.items():
            found[name] = [_before(known, values, step) for step in steps] if known else []
        return found

    def steps_of(self, part: Part) -> tuple[int, int]:
        """The first and the last step of a part, one recorded step more on either side."""
        if part.axis == "steps":
            return math.floor(part.first) - 1, math.ceil(part.last) + 1
        steps, values = self._by_name[part.axis]
        if not steps:
            return 0, -1
        first = bisect_left(values, part.first) - 1
        last = bisect_right(values, part.last)
        return steps[max(0, first)], steps[min(len(steps) - 1, last)]


def _before(steps: list[int], values: list[float], step: int) -> float:
    """The last value at or before `step`; 0 before the first."""
    at = bisect_right(steps, step) - 1
    return values[at] if at >= 0 else 0.0


def _last(history: History, name: str) -> float | None:
    series = history.columns.get(name)
    return series.last if len(series) else None


def _flat(value: Mapping[str, Any], under: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, item in value.items():
        name = f"{under}.{key}" if under else str(key)
        if isinstance(item, dict) and item:
            found |= _flat(item, name)
        else:
            found[name] = _told(item)
    return found


def _told(value: Any) -> str:
    text = value if isinstance(value, str) else encode(value).decode()
    return text if len(text) <= MOST_VALUE else text[:MOST_VALUE] + "…"
