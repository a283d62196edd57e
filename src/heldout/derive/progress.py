"""The evaluations of a history judged: trend, tied checkpoints, calibration drift."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from heldout.derive.calibration import calibration
from heldout.derive.history import History
from heldout.records import EvalResult, Item
from heldout.stats.groups import Groups, number_groups
from heldout.stats.progress import MARGIN, Progress, progress
from heldout.stats.tied import tied_set


def judge(history: History) -> Progress | None:
    """Judge the evaluations of `history` on the examples they share; None before the first."""
    return history.remember("progress", lambda: _judge(history)) if history.evals else None


def _judge(history: History) -> Progress:
    evals = history.evals
    correct_KN, groups_N = _shared(history)
    return progress(
        correct_KN,
        np.array(
            [[result.ece, result.ece_low, result.ece_high, result.ece_null] for result in evals]
        ),
        margin(history),
        steps=[result.step for result in evals],
        groups_N=groups_N,
        pinned=pinned(history),
    )


def _shared(history: History) -> tuple[NDArray[np.bool_], Groups]:
    """Which examples were right at each evaluation, [K, N], and their groups; those all share."""
    rows = [_by_id(history.items.get(result.step, [])) for result in history.evals]
    shared = sorted(set.intersection(*map(set, rows)))
    correct_KN = np.array([[row[key].correct for key in shared] for row in rows], dtype=bool)
    groups_N = number_groups([rows[-1][key].group for key in shared])
    return correct_KN.reshape(len(rows), len(shared)), groups_N


def margin(history: History) -> float:
    """The change in exact match that matters, from the run's config (`eval.margin`)."""
    return float(_settings(history).get("margin", MARGIN))


def pinned(history: History) -> int | None:
    """The evaluation at the step to compare with from the run's config (`eval.reference`), if any."""
    steps = [result.step for result in history.evals]
    wanted = _settings(history).get("reference")
    return steps.index(wanted) if wanted in steps else None


def _settings(history: History) -> dict[str, Any]:
    return history.run.config.get("eval", {}) if history.run else {}


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
        correct_KN, groups_N = _shared(history)
        rows = tied_set(correct_KN[saved].astype(np.float64), groups_N=groups_N)
        tied = [saved[row] for row in rows]
    return [names[history.evals[i].step] for i in tied]


def fixed_eval(history: History) -> dict[str, Any]:
    """The contract's `fixed_eval`: the latest evaluation with what it means; {} before the first."""
    found = judge(history)
    if found is None:
        return {}
    last = history.evals[-1]
    tied = history.remember("tied", lambda: tied_checkpoints(history, found))
    facts: dict[str, Any] = msgspec.to_builtins(last)
    del facts["type"]
    return {
        **facts,
        **found.facts([result.step for result in history.evals]),
        "calibration": calibration(last),
        "best_ckpt": tied[0] if tied else None,
        "tied": tied,
        "margin": margin(history),
    }


def flat_since(history: History) -> EvalResult | None:
    """The evaluation since which exact match is flat, while the trend is a plateau."""
    found = judge(history)
    if found is None or found.change.trend != "plateau":
        return None
    return history.evals[found.change.reference]


def _by_id(items: list[Item]) -> dict[str, Item]:
    return {item.id: item for item in items}
