"""The report as Markdown, for a model card or a pull request.

Every rate stands with its interval and n. Text from the run is escaped, so that it is neither markup, nor
HTML, nor a mention of anybody.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from heldout.derive.checked import unchecked
from heldout.derive.history import History
from heldout.derive.patterns import UNMATCHED
from heldout.records import encode
from heldout.views.report.curves import curve_lines
from heldout.views.report.past import Past
from heldout.views.report.text import capital, headline
from heldout.views.snapshot import ACTIVE, scope, snapshot

MOST_EVALS = 12
"""Evaluations in the table; of more, the latest, and the first."""

AS_ENTITIES = re.compile(
    r"^(?:[-+=#]|\d+(?=[.)](?:\s|$)))|(?<=www)\.|:(?=//)|[&<>@]", re.IGNORECASE
)
"""What would begin a list or a heading, a link, an entity, a tag, or a mention."""


def markdown_report(name: str, history: History, past: Sequence[Past] = ()) -> str:
    """Return the report on the run called `name`; `past` are the alerts that are over."""
    now = snapshot(history)
    sections = [
        _head(name, history, now),
        _numbers(history, now),
        _evaluations(now),
        _patterns(now),
        _alerts(now, past),
        _advice(now),
        _reproduce(now),
    ]
    return "\n\n".join("\n".join(lines) for section in sections if (lines := list(section))) + "\n"


def escaped(text: object) -> str:
    """Text on one line, with everything that Markdown or HTML could read as more than text escaped."""
    line = " ".join(str(text).split()).encode("utf-8", "replace").decode()
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    shown = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", shown)
    return AS_ENTITIES.sub(_entities, shown)


def _entities(match: re.Match[str]) -> str:
    return "".join(f"&#{ord(c)};" for c in match[0])


def _head(name: str, history: History, now: Mapping[str, Any]) -> Iterator[str]:
    run, decision = now["run"] or {}, now["decision"]
    yield f"## Held-out report: {escaped(name)}"
    yield ""
    total = f" of {run['total_steps']:,}" if run.get("total_steps") else ""
    yield f"{escaped(run.get('model') or 'model unknown')}, {now['state']} at step {now['step']:,}{total}."
    yield ""
    empty = unchecked(history)
    if empty:
        yield f"**Nothing could be checked:** {escaped(empty)}"
        return
    if decision is None:
        yield "**Nothing to decide yet.**"
        return
    lead = escaped(headline(decision["action"], decision["checkpoint"], decision["evidence"]))
    yield f"**{lead}** {escaped(capital(decision['reason']))}"
    others = [escaped(each) for each in decision["tied"] if each != decision["checkpoint"]]
    if others:
        yield ""
        yield f"Chance alone may tell it from {', '.join(others)}."


def _numbers(history: History, now: Mapping[str, Any]) -> Iterator[str]:
    last = now["fixed_eval"]
    if not last:
        yield escaped(scope(now)) or "Not evaluated on a fixed held-out set."
        lines = list(curve_lines(history))
        yield from ["", *(f"- {escaped(line)}" for line in lines)] if lines else []
        return
    yield f"| at step {last['step']:,} | value | 95 % interval | of |"
    yield "|---|---:|---:|---:|"
    em = f"{last['em_low']:.1%} to {last['em_high']:.1%}"
    yield f"| Exact match | {last['em']:.1%} | {em} | {last['n']:,} examples |"
    yield from _probabilities(last)
    if last["em_last"]:
        change = f"{last['em_change']:+.1%}"
        interval = f"{last['em_change_low']:+.1%} to {last['em_change_high']:+.1%}"
        trend = f"Last {last['em_last']} evaluations against {last['em_before']} before: {last['em_trend']}"
        yield f"| {trend} | {change} | {interval} | {last['n']:,} examples |"


def _probabilities(last: Mapping[str, Any]) -> Iterator[str]:
    of = f"{last['tokens']:,} tokens"
    if last["non_finite"]:
        why = f"the logits are NaN/Inf on {last['non_finite']:,} of {last['n']:,} examples"
        yield f"| Cross-entropy and calibration | not known | {why} | {of} |"
        return
    ce = f"{last['ce_low']:.3f} to {last['ce_high']:.3f}"
    yield f"| Cross-entropy, nats per token | {last['ce']:.3f} | {ce} | {of} |"
    ece = f"{last['ece_low']:.3f} to {last['ece_high']:.3f}"
    value = f"{last['ece']:.3f}" + (f" ({last['calibration']})" if last["calibration"] else "")
    chance = f"; {last['ece_null']:.3f} by chance alone"
    yield f"| Calibration error (ECE) | {value} | {ece}{chance} | {of} |"


def _evaluations(now: Mapping[str, Any]) -> Iterator[str]:
    evals = now["evals"]
    if len(evals) < 2:
        return
    saved = {each["step"]: each["path"] for each in now["checkpoints"]}
    tied, best_path = now["fixed_eval"]["tied"], now["fixed_eval"]["best_ckpt"]
    shown = evals if len(evals) <= MOST_EVALS else [evals[0], *evals[1 - MOST_EVALS :]]
    yield "| step | checkpoint | exact match | CE | ECE |"
    yield "|---:|---|---:|---:|---:|"
    for each in shown:
        path = saved.get(each["step"], "")
        best = " (best)" if path and path == best_path else " (tied)" if path in tied else ""
        em = f"{each['em']:.1%} [{each['em_low']:.1%}, {each['em_high']:.1%}] of {each['n']}"
        yield (
            f"| {each['step']:,} | {escaped(path)}{best} | {em} "
            f"| {_number(each['ce'])} | {_number(each['ece'])} |"
        )
    if len(shown) < len(evals):
        yield ""
        yield f"{len(evals) - len(shown):,} evaluations between the first two rows are left out."


def _patterns(now: Mapping[str, Any]) -> Iterator[str]:
    rows = now["bucket_matrix"].get("rows", [])
    if not rows:
        return
    counted = any(row["train_share"] is not None for row in rows)
    yield "| pattern | exact match | of |" + (" of the training rows |" if counted else "")
    yield "|---|---:|---:|" + ("---:|" if counted else "")
    for row in sorted(rows, key=lambda row: row["em"] or 0.0):
        name = "(no pattern)" if row["pattern"] == UNMATCHED else escaped(row["pattern"])
        rate = f"{row['em']:.1%} [{row['em_low']:.1%}, {row['em_high']:.1%}]"
        share = f" {row['train_share']:.1%} |" if counted else ""
        yield f"| {name} | {rate if row['known'] else 'too few to know'} | {row['seen']} |{share}"


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "not finite"


def _alerts(now: Mapping[str, Any], past: Sequence[Past]) -> Iterator[str]:
    shown = [alert for alert in now["alerts"] if alert["state"] in ACTIVE]
    yield "### Alerts"
    yield ""
    if not shown:
        yield "None open."
    for alert in shown:
        level = alert["level"].upper()
        yield f"- **{level}** {escaped(alert['message'])} (since step {alert['step']:,})\\"
        yield f"  What to do: {escaped(alert['action'])}"
    for each in past:
        steps = f"step {each.opened:,} to {each.last.step:,}"
        yield f"- was open: {each.last.level.upper()} {escaped(each.last.message)} ({steps})"
    silent = now["not_checked"]
    if silent:
        yield ""
        names = ", ".join(escaped(each["rule"]) for each in silent)
        yield f"Not checked, for want of data: {names}."


def _advice(now: Mapping[str, Any]) -> Iterator[str]:
    if now["advice"]:
        yield "### For the next run"
        yield ""
        yield from (f"- {escaped(each['message'])}" for each in now["advice"])


def _reproduce(now: Mapping[str, Any]) -> Iterator[str]:
    run = now["run"]
    if run is None:
        return
    yield "### How to reproduce"
    yield ""
    if run["model"]:
        yield f"- base model: {escaped(run['model'])}"
    held_out = run["eval_set"]
    if held_out:
        path, digest = escaped(held_out["path"]), escaped(held_out["hash"])
        yield f"- fixed set: {path}, {held_out['n']:,} examples, content hash {digest}"
    for library, number in sorted(run["environment"].items()):
        yield f"- {escaped(library)} {escaped(number)}"
    if run["config"]:
        settings = json.dumps(json.loads(encode(run["config"])), indent=2, ensure_ascii=True)
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", settings)), default=0))
        yield from ("", "<details><summary>Settings</summary>", "", f"{fence}json")
        yield from settings.splitlines()
        yield from (fence, "", "</details>")
    yield ""
    yield "Written by `heldout report RUN --md`."
