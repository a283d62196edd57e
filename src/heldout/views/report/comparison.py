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
TREND_FIELDS = (
    "em_trend",
    "em_reference",
    "em_change",
    "em_change_low",
    "em_change_high",
    "em_change_confidence",
    "em_change_p",
    "em_last",
    "em_before",
    "em_speaks",
    "em_says",
    "ce_trend",
    "ce_change",
    "ce_change_low",
    "ce_change_high",
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
        yield f"-> Keep {keep}: {_reason(facts, stepped)}."


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
    if facts["em_last"]:
        yield f"trend at step {found.rows[-1].result.step:,}: {facts['em_says']}"


def _recheck(found: Comparison) -> Iterator[str]:
    checked = [row for row in found.rows if row.result.rechecked]
    for row in checked:
        result = row.result
        wrong = len(result.mismatched)
        same = f"{wrong} DIFFER: {', '.join(result.mismatched[:3])}" if wrong else "all the same"
        yield f"{result.rechecked} of {result.n} answered again by generate ({row.name}): {same}"


def _reason(facts: Mapping[str, Any], stepped: bool) -> str:
    if facts["best_by"] == "ce":
        why = "the lowest cross-entropy; exact match cannot tell here"
    elif len(facts["tied"]) == 1:
        why = "better than every other by more than chance"
    elif stepped:
        why = "the highest exact match, smoothed over neighbours with the help of cross-entropy"
    else:
        why = "the highest exact match"
    if not facts["cheaper_ckpt"] or not stepped:
        return why
    return f"{why}; {facts['cheaper_ckpt']} is cheaper, within {100 * facts['cheaper_within']:.1f} points"


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
