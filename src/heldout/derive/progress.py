"""The evaluations of a history judged: trend, the checkpoint to keep, whether to stop, calibration drift."""

from __future__ import annotations

import statistics
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from heldout.derive.calibration import calibration
from heldout.derive.history import History
from heldout.derive.schedule import budget
from heldout.derive.scores import scores
from heldout.records import EvalResult
from heldout.stats.change import CE_LEAST
from heldout.stats.keep import cheaper, choose
from heldout.stats.progress import Progress, progress
from heldout.stats.tied import tied_set

AUTO = "auto"
"""The margin that is what the set can show."""


def judge(history: History) -> Progress | None:
    """Judge the evaluations of `history` on the examples they share; None before the first."""
    if not history.evals:
        return None
    return history.of_evaluation("progress", history.evals[-1].step, lambda: _judge(history))


def _judge(history: History) -> Progress:
    found = scores(history)
    return progress(
        found.correct_KN,
        found.ce_KN,
        np.array([[r.ece, r.ece_low, r.ece_high, r.ece_null] for r in history.evals]),
        margin(history),
        planned=planned(history),
        groups_N=found.groups_N,
        pinned=pinned(history),
        ordered=bool(_settings(history).get("ordered", True)),
    )


def margin(history: History) -> float | None:
    """The change in exact match that matters, by the run's config (`eval.margin`); None for `AUTO`."""
    asked = _settings(history).get("margin", AUTO)
    return None if asked == AUTO else float(asked)


def pinned(history: History) -> int | None:
    """The evaluation at the step to compare with from the run's config (`eval.reference`), if any."""
    steps = [result.step for result in history.evals]
    wanted = _settings(history).get("reference")
    return steps.index(wanted) if wanted in steps else None


def planned(history: History) -> int:
    """How many evaluations there will be at the end of the run, as they came so far; 0 where nobody knows."""
    steps, total = [result.step for result in history.evals], budget(history)
    if not total:
        return 0
    gaps = [after - before for before, after in pairwise(steps)]
    every = statistics.median(gaps) if gaps else _settings(history).get("every", 0)
    left = max(0, total - steps[-1])
    return len(steps) + int(left / every) if every else 0


def _settings(history: History) -> dict[str, Any]:
    return history.run.config.get("eval", {}) if history.run else {}


def checkpoints(history: History, found: Progress) -> dict[str, Any]:
    """Return `{best_ckpt, tied, cheaper_ckpt, cheaper_within}`: saved checkpoints by folder name.

    Only what can be loaded, and gave finite numbers, is worth recommending; unsaved evaluations still
    smooth the saved ones beside them. `tied` holds the best one and those that chance alone may
    tell from it, in order of steps.
    """
    names = {saved.step: saved.path for saved in history.checkpoints}
    evals = enumerate(history.evals)
    saved = [i for i, result in evals if result.step in names and not result.non_finite]
    best = choose(found.merit, saved)
    if best is None:
        return {"best_ckpt": None, "tied": [], "cheaper_ckpt": None, "cheaper_within": None}
    tied = {i for i in found.tied if i in saved} or _tied_among(history, found, saved)
    early = cheaper(found.merit, best, saved, found.groups_N)
    return {
        "best_ckpt": names[history.evals[best].step],
        "tied": [names[history.evals[i].step] for i in sorted({*tied, best})],
        "cheaper_ckpt": names[history.evals[early[0]].step] if early else None,
        "cheaper_within": early[1] if early else None,
    }


def _tied_among(history: History, found: Progress, saved: list[int]) -> set[int]:
    """Those of the saved evaluations that no other saved one beats by more than chance."""
    rows = scores(history)
    score_KN = rows.correct_KN if found.merit.by == "em" else -rows.ce_KN
    tied = tied_set(score_KN[saved].astype(np.float64), groups_N=found.groups_N)
    return {saved[row] for row in tied}


def fixed_eval(history: History) -> dict[str, Any]:
    """The contract's `fixed_eval`: the latest evaluation with what it means; {} before the first."""
    found = judge(history)
    if found is None:
        return {}
    return history.remember("fixed_eval", lambda: _facts(history, found))


def _facts(history: History, found: Progress) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.to_builtins(history.evals[-1])
    del facts["type"]
    facts |= found.facts([result.step for result in history.evals])
    said = {"em_says": trend_words(facts), "calibration": calibration(history.evals[-1])}
    return facts | said | checkpoints(history, found)


def trend_words(facts: dict[str, Any]) -> str:
    """What the evaluations say of the trend in one clause, by the facts of `fixed_eval`."""
    if not facts["em_last"]:
        return "the base to compare with"
    last, before = facts["em_last"], facts["em_before"]
    earlier = f"{before} evaluations" if before > 1 else "evaluation"
    over = (
        f"from the {earlier} before to the last {last}"
        if last > 1
        else f"since step {facts['em_reference']:,}"
    )
    ce = _ce_words(facts)
    if not facts["em_speaks"]:
        right = f"{facts['correct']:,} of {facts['n']:,} right"
        return f"EM cannot tell here: {right}; by {ce} {over}"
    change, low, high = (100 * facts[f"em_change{end}"] for end in ("", "_low", "_high"))
    span = f"{change:+.1f} points [{low:+.1f}, {high:+.1f}] {over}"
    if facts["em_trend"] in ("improving", "regressing"):
        return f"{facts['em_trend']}: {span}"
    excluded = (
        f"no gain above {max(high, 0):.1f} points and no loss above {max(-low, 0):.1f} {over}"
    )
    if facts["em_trend"] == "plateau":
        return f"flat: {excluded}"
    return f"{excluded}, while {ce}" if facts["ce_trend"] == "falling" else excluded


def _ce_words(facts: dict[str, Any]) -> str:
    """What cross-entropy does: "CE falling, -0.31 [-0.40, -0.22]"."""
    if facts["ce_change"] is None:
        return "CE"
    span = (
        f"{facts['ce_change']:+.3f} [{facts['ce_change_low']:+.3f}, {facts['ce_change_high']:+.3f}]"
    )
    small = f", by less than {CE_LEAST:.0%}" if facts["ce_trend"] == "flat" else ""
    return f"CE {facts['ce_trend']}{small} ({span})"


def flat_since(history: History) -> EvalResult | None:
    """The evaluation since which exact match is flat, while the trend is a plateau."""
    found = judge(history)
    if found is None or found.change.trend != "plateau":
        return None
    return history.evals[found.change.reference]
