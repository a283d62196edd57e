"""The evaluations of a history judged: trend, tied checkpoints, calibration drift."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from heldout.derive.history import History
from heldout.records import EvalResult, Item
from heldout.stats.progress import MARGIN, Progress, progress


def judge(history: History) -> Progress | None:
    """Judge the evaluations of `history` on the examples they share; None before the first."""
    return history.remember("progress", lambda: _judge(history)) if history.evals else None


def _judge(history: History) -> Progress:
    evals = history.evals
    rows = [_correct_by_id(history.items.get(result.step, [])) for result in evals]
    shared = sorted(set.intersection(*map(set, rows)))
    correct_KN = np.array([[row[key] for key in shared] for row in rows], dtype=bool)
    ece_K = np.array([result.ece for result in evals])
    null_K = np.array([result.ece_null for result in evals])
    return progress(correct_KN.reshape(len(rows), len(shared)), ece_K, null_K, margin(history))


def margin(history: History) -> float:
    """The change in exact match that matters, from the run's config (`eval.margin`)."""
    section = history.run.config.get("eval", {}) if history.run else {}
    return float(section.get("margin", MARGIN))


def tied_checkpoints(history: History, found: Progress) -> list[str]:
    """The saved checkpoints among the tied best evaluations, earliest first, by folder name.

    When no evaluation of the tied set was saved, the saved evaluations are compared among
    themselves: only what can be loaded is worth recommending.
    """
    names = {saved.step: saved.path for saved in history.checkpoints}
    evals = enumerate(history.evals)
    saved = [i for i, result in evals if result.step in names and not result.non_finite]
    tied = [i for i in found.tied if i in saved]
    if not tied and saved:
        tied = [max(saved, key=lambda i: (history.evals[i].em, -i))]
    return [names[history.evals[i].step] for i in tied]


def fixed_eval(history: History) -> dict[str, Any]:
    """The contract's `fixed_eval`: the latest evaluation with what it means; {} before the first."""
    found = judge(history)
    if found is None:
        return {}
    last = history.evals[-1]
    tied = tied_checkpoints(history, found)
    facts: dict[str, Any] = msgspec.to_builtins(last)
    del facts["type"]
    return facts | {
        "best_ckpt": tied[0] if tied else None,
        "tied": tied,
        "em_trend": found.trend,
        "em_change": found.change,
        "em_change_low": found.change_low,
        "em_change_high": found.change_high,
        "em_reference": history.evals[found.reference].step,
        "em_first": history.evals[0].em,
        "detectable": found.detectable,
        "margin": margin(history),
        "ece_rise": found.ece_rise,
    }


def flat_since(history: History) -> EvalResult | None:
    """The evaluation since which exact match is flat, while the trend is a plateau."""
    found = judge(history)
    if found is None or found.trend != "plateau":
        return None
    return history.evals[found.reference]


def _correct_by_id(items: list[Item]) -> dict[str, bool]:
    return {item.id: item.correct for item in items}
