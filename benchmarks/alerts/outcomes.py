"""What the alerts of a run with a fault came to: caught or not, when, and with how many messages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from injections import BEFORE, Fault
from scipy.stats import beta
from training import JOURNAL, TRUTH

from heldout.records import AnyRecord, Decision, EvalResult, Item, Sample, Verdict, encode
from heldout.store.journal import read
from heldout.verdicts.judge import judge

ALERTING = ("warning", "error", "critical")
RAISED = ("open", "escalated")
ANNOUNCED = (*RAISED, "resolved")
FELL = 0.10
"""Fall of a pattern's exact match below its best that counts as forgotten."""
RESOLVED_WITHIN = 20
"""Steps within which the alert of a transient fault must resolve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One run, judged. `problem` is why it is not caught as it should be, or ""."""

    seed: int
    problem: str
    delay: int | None
    """Steps from the onset to the first right alert; None where there is none."""
    by: tuple[str, ...]
    """The rules that raised a warning from the fault on."""
    notified: int
    """Messages from the fault on: opened, escalated and resolved, from warning on."""
    false: tuple[str, ...]
    """Rules that raised a warning before the fault, with their steps."""
    unresolved: bool
    no_effect: bool
    """Whether the run has nothing to catch: no harm was done, or only when the window no longer fitted."""


def facts(records: Iterable[AnyRecord]) -> list[AnyRecord]:
    """Records without what judging made of them."""
    return [record for record in records if not isinstance(record, Verdict | Decision)]


def live_equals_replay(folder: Path) -> bool:
    """Whether the verdicts and decisions in a journal are those that judging its facts gives, as written."""
    records = read(folder / JOURNAL)[0]
    live = [encode(record) for record in records if isinstance(record, Verdict | Decision)]
    return live == [encode(record) for record in judge(facts(records))]


def outcome(fault: Fault, folder: Path, every: int) -> Outcome:
    """Judge the run in `folder` by today's rules; evaluations are `every` so many steps."""
    truth = json.loads((folder / TRUTH).read_text())
    records = facts(read(folder / JOURNAL)[0])
    verdicts = [found for found in judge(records) if isinstance(found, Verdict)]
    begins = truth["step"] if truth["at_step"] else 0
    onset = _onset(fault, truth, records)
    raised = [v for v in verdicts if v.state in RAISED and v.level in ALERTING]
    since = _right(fault, verdicts, begins, begins if onset is None else onset)
    window = _window(fault, every)
    after = [v for v in raised if v.step >= begins]
    announced = [
        v for v in verdicts if v.state in ANNOUNCED and v.level in ALERTING and v.step >= begins
    ]
    first = since[0] if since else None
    problems = []
    last = max((record.step for record in records if isinstance(record, Sample)), default=0)
    too_late = fault.onset != "step" and onset is not None and first is None
    too_late = too_late and window is not None and onset + window > last
    if first is None:
        problems.append("no alert")
    elif onset is not None and window is not None and not first.step - onset <= window:
        problems.append(f"after {first.step - onset} steps")
    if first is not None and fault.exact:
        problems.append(fault.exact(truth, [v for v in since if v.step <= first.step]))
    problems += [f"wrongly {v.rule}" for v in after if v.rule in fault.wrong]
    unresolved = fault.transient and not _resolves(verdicts, fault, begins)
    if unresolved:
        problems.append("not resolved")
    return Outcome(
        seed=truth["seed"],
        problem="; ".join(dict.fromkeys(filter(None, problems))),
        delay=None if first is None or onset is None else max(0, first.step - onset),
        by=tuple(dict.fromkeys(v.rule for v in after)),
        notified=len(announced),
        false=tuple(f"{v.rule}@{v.step}" for v in raised if v.step < begins),
        unresolved=unresolved,
        no_effect=onset is None or too_late,
    )


def clopper_pearson(k: int, n: int) -> tuple[float, float]:
    """The exact 95 % interval of k in n; (0, 1) of none."""
    low = float(beta.ppf(0.025, k, n - k + 1)) if k else 0.0
    high = float(beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0
    return low, high


def share(k: int, n: int) -> str:
    """`k of n` with its interval, as in a table."""
    low, high = clopper_pearson(k, n)
    return f"{k} of {n} ({low:.0%} to {high:.0%})" if n else "-"


def _right(fault: Fault, verdicts: Sequence[Verdict], begins: int, onset: int) -> list[Verdict]:
    """Alerts of the expected rules raised from the fault on, but those resolved before its onset."""
    found: list[Verdict] = []
    for v in verdicts:
        if v.rule not in fault.expected or v.step < begins:
            continue
        if v.state == "resolved" and v.step < onset:
            found = [each for each in found if (each.rule, each.scope) != (v.rule, v.scope)]
        elif _counts(fault, v):
            found.append(v)
    return found


def _counts(fault: Fault, verdict: Verdict) -> bool:
    return verdict.state in RAISED and (fault.told or verdict.level in ALERTING)


def _window(fault: Fault, every: int) -> int | None:
    if fault.window == BEFORE:
        return 0
    return None if fault.window is None else fault.window + fault.evals * every


def _onset(fault: Fault, truth: dict[str, Any], records: Sequence[AnyRecord]) -> int | None:
    """The step from which the fault can be seen; None where it does no harm."""
    if fault.onset == "step":
        return truth["step"] if truth["at_step"] else 0
    evals = [r for r in records if isinstance(r, EvalResult)]
    if fault.onset == "ce":
        best = evals[0]
        for result in evals:
            if result.ce_low > best.ce_high:
                return result.step
            best = min(best, result, key=lambda r: r.ce)
        return None
    best_em = 0.0
    for step in (result.step for result in evals):
        items = [
            r for r in records if isinstance(r, Item) and r.step == step
            and r.pattern == truth["pattern"]
        ]  # fmt: skip
        em = sum(item.correct for item in items) / len(items)
        if step >= truth["step"] and em <= best_em - FELL:
            return step
        best_em = max(best_em, em)
    return None


def _resolves(verdicts: Sequence[Verdict], fault: Fault, begins: int) -> bool:
    """Whether every alert the fault raised ends within the time given."""
    open_at: dict[tuple[str, str], int] = {}
    for v in verdicts:
        key = (v.rule, v.scope)
        if v.step >= begins and v.rule in fault.expected and v.level in ALERTING:
            if v.state in RAISED:
                open_at.setdefault(key, v.step)
            elif key in open_at and v.step - open_at.pop(key) > RESOLVED_WITHIN:
                return False
    return not open_at
