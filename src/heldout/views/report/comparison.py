"""Checkpoints compared: the JSON contract of `heldout evaluate --json`, and the verdict in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import msgspec

from heldout.derive.comparison import Compared, Comparison
from heldout.derive.history import History
from heldout.records import SCHEMA

SHOWN = 3
USUAL = 0.95
"""The confidence of every interval that names no other."""
TREND_FIELDS = (
    "em_trend",
    "em_reference",
    "em_change",
    "em_change_low",
    "em_change_high",
    "em_change_confidence",
    "em_change_p",
    "em_slope",
    "em_slope_low",
    "em_slope_high",
    "em_slope_since",
    "ece_rise",
)


def comparison_data(
    history: History,
    found: Comparison,
    failed: Mapping[str, str],
    reused: Sequence[str],
    remarks: Sequence[str],
    stepped: bool,
) -> dict[str, Any]:
    """Return `{schema, model, set, options, results, failed, keep, tied, best, trend, ...}`.

    A result holds the fields of `EvalResult` by their names, `token_em_low/high`, whether it is
    `tied` or was `reused`, and the paired changes `since_first` and `since_previous`. `trend` is
    None where the order of the checkpoints is not that of their steps.
    """
    run, facts = history.run, found.facts
    assert run is not None
    return {
        "schema": SCHEMA,
        "model": run.model,
        "set": msgspec.to_builtins(run.eval_set),
        "options": run.config,
        "results": [_row(row, reused) for row in found.rows],
        "failed": dict(failed),
        "keep": facts["best_ckpt"],
        "tied": facts["tied"],
        "best": {
            "checkpoint": _name(found, facts["best_em_step"]),
            "em": facts["best_em"],
            "em_corrected": facts["best_em_corrected"],
        },
        "trend": {key: facts[key] for key in TREND_FIELDS} if stepped else None,
        "detectable": found.detectable,
        "remarks": list(remarks),
    }


def set_lines(history: History, remarks: Sequence[str]) -> Iterator[str]:
    """Yield what the scores are of: model, set, lines that could not be used, remarks."""
    run = history.run
    assert run is not None
    about = run.eval_set
    assert about is not None
    yield f"{run.model} on {about.path}: {about.n} examples, set {about.hash}"
    if about.skipped:
        more = len(about.skipped) - SHOWN
        yield f"lines that are not usable: {len(about.skipped)}"
        yield from (f"  {line}" for line in about.skipped[:SHOWN])
        if more > 0:
            yield f"  and {more} more"
    if about.unlike:
        scored = f"scored is the prompt that is {about.prompt} (eval.prompt)"
        yield f"{about.unlike} of {about.n}: {about.difference}; {scored}"
    yield from (*about.remarks, *remarks)
    yield ""


def comparison_lines(found: Comparison, failed: Mapping[str, str], stepped: bool) -> Iterator[str]:
    """Yield the verdict as plain lines, without colour or markup."""
    facts = found.facts
    rows = {row.name: row for row in found.rows}
    keep = facts["best_ckpt"]
    for name, reason in failed.items():
        yield f"{name} could not be scored: {reason}"
    yield from _recheck(found)
    if keep is None:
        yield "-> Keep none: every one gave numbers that are not finite."
        return
    if len(found.rows) > 1:
        yield from _choice(found, facts, stepped)
    kept = rows[keep].result
    yield (
        f"{keep}: EM {_rate(kept.em, kept.em_low, kept.em_high)} of {kept.n}, ECE {kept.ece:.3f} "
        f"[{kept.ece_low:.3f}, {kept.ece_high:.3f}] (chance alone {kept.ece_null:.3f}) over "
        f"{kept.tokens:,} tokens"
    )
    if len(found.rows) > 1:
        yield f"-> Keep {keep}: {_reason(found, facts['tied'], stepped)}."


def _choice(found: Comparison, facts: Mapping[str, Any], stepped: bool) -> Iterator[str]:
    n = found.rows[0].result.n
    if len(facts["tied"]) > 1:
        yield f"tied, none better than another by more than chance: {', '.join(facts['tied'])}"
    yield (
        f"best score {facts['best_em']:.1%} ({_name(found, facts['best_em_step'])}), "
        f"{facts['best_em_corrected']:.1%} once the luck of being the best of {len(found.rows)} "
        f"is taken off (n = {n})"
    )
    if stepped:
        yield from _trend(facts, found)
    if found.detectable is not None:
        yield f"{n} examples show a difference between two of these from {found.detectable:.1%} on"


def _trend(facts: Mapping[str, Any], found: Comparison) -> Iterator[str]:
    last = found.rows[-1].result.step
    change = _rate(facts["em_change"], facts["em_change_low"], facts["em_change_high"], "+")
    level = f" (at {facts['em_change_confidence']:.1%}, as there were several looks)"
    yield (
        f"trend at step {last:,}: {facts['em_trend']}, {change} since step "
        f"{facts['em_reference']:,}{level if facts['em_change_confidence'] > USUAL else ''}"
    )
    if facts["em_slope"] is not None:
        span = last - facts["em_slope_since"]
        value, low, high = facts["em_slope"], facts["em_slope_low"], facts["em_slope_high"]
        slope = _rate(span * value, span * low, span * high, "+")
        yield f"slope from step {facts['em_slope_since']:,} to {last:,}: {slope} over these steps"


def _recheck(found: Comparison) -> Iterator[str]:
    checked = [row for row in found.rows if row.result.rechecked]
    for row in checked:
        result = row.result
        wrong = len(result.mismatched)
        same = f"{wrong} DIFFER: {', '.join(result.mismatched[:3])}" if wrong else "all the same"
        yield f"{result.rechecked} of {result.n} answered again by generate ({row.name}): {same}"


def _reason(found: Comparison, tied: Sequence[str], stepped: bool) -> str:
    if len(tied) == 1:
        return "better than every other by more than chance"
    if len(tied) == len(found.rows):
        return f"the {'earliest' if stepped else 'first'}, and no other is better beyond chance"
    return f"the {'earliest' if stepped else 'first'} of {len(tied)} that are tied"


def _name(found: Comparison, step: int) -> str:
    return next(row.name for row in found.rows if row.result.step == step)


def _row(row: Compared, reused: Sequence[str]) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(row.result)
    del fields["type"]
    low, high = row.token_em
    return {
        "checkpoint": row.name,
        **fields,
        "token_em_low": low,
        "token_em_high": high,
        "tied": row.tied,
        "reused": row.name in reused,
        "since_first": row.since_first and asdict(row.since_first),
        "since_previous": row.since_previous and asdict(row.since_previous),
    }


def _rate(value: float, low: float, high: float, sign: str = "") -> str:
    return f"{value:{sign}.1%} [{low:{sign}.1%}, {high:{sign}.1%}]"
