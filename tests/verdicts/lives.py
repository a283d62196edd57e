"""What one rule says over a whole series, and series to ask it about."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from typing import Any

from facts import at, sample

from heldout.records import AnyRecord, Sample, Verdict
from heldout.verdicts.judge import Judge
from heldout.verdicts.rule import Rule

Facts = list[AnyRecord]


def said(rule: Rule[Any], facts: Iterable[AnyRecord]) -> list[Verdict]:
    """The verdicts of one rule alone, without those that say it cannot look yet."""
    judge = Judge(rules=[rule])
    verdicts = [v for fact in facts for v in judge.feed(fact) if isinstance(v, Verdict)]
    waiting: set[str] = set()
    found = []
    for verdict in verdicts:
        if verdict.state == "no-data":
            waiting.add(verdict.message)
        elif verdict.message not in waiting:
            found.append(verdict)
    return found


def life(rule: Rule[Any], facts: Iterable[AnyRecord]) -> list[str]:
    """The same as "state at step" or, where the rule has scopes, "scope state at step"."""
    return [f"{v.scope} {v.state} at {v.step}".strip() for v in said(rule, facts)]


def opened(rule: Rule[Any], facts: Iterable[AnyRecord]) -> Verdict:
    """The one alert that is opened."""
    (only,) = (verdict for verdict in said(rule, facts) if verdict.state == "open")
    return only


def waiting(rule: Rule[Any], facts: Iterable[AnyRecord]) -> str:
    """Why the rule cannot look after all these facts; empty where it can."""
    judge = Judge(rules=[rule])
    for fact in facts:
        judge.feed(fact)
    last = judge.history.alerts.get((rule.name, ""))
    return last.message if last and last.state == "no-data" else ""


def noisy(
    n: int, width: float, seed: int = 0, level: float = 1.0, fall: float = 0.0
) -> list[float]:
    """Losses around `level` with log-normal noise that fall by `fall` in logarithms over the series."""
    rng = random.Random(seed)
    return [level * math.exp(rng.gauss(0, width) - fall * i / n) for i in range(n)]


def series(name: str, values: Sequence[float], **others: float) -> Facts:
    """One sample a value under a metric's name, from step 1 on."""
    return [
        Sample(step=step, time=at(step), values={name: value, **others})
        for step, value in enumerate(values, start=1)
    ]


def logged(values: Sequence[float], every: int = 10, **others: float) -> Facts:
    """A foreign log: means over `every` steps."""
    return [
        Sample(step=every * i, time=at(every * i), values={"loss/logged": value, **others})
        for i, value in enumerate(values, start=1)
    ]


__all__ = ["Facts", "life", "logged", "noisy", "opened", "said", "sample", "series", "waiting"]
