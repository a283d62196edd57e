"""The training of a run in words: what its loss, its held-out loss and its task metrics did."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from heldout.derive.columns import Series
from heldout.derive.deciding import deciding, held_out_names
from heldout.derive.history import History

EVAL_LOSS = "loss/trainer_eval"
MOST_METRICS = 4
"""Other held-out numbers that are shown: the one that decides, then in the order of their names."""


def curve_lines(history: History) -> Iterator[str]:
    """Return a line for each curve that has a number: first, last, and best with its step."""
    loss = history.columns.get(history.loss)
    if len(loss):
        yield f"loss {_first_to_last(loss)}{_best(history, loss, 'lower')}"
    held_out = history.columns.get(EVAL_LOSS)
    if len(held_out):
        yield f"eval loss {_first_to_last(held_out)}{_best(history, held_out, 'lower', saved=True)}"
    first = deciding(history)
    better = {first.name: "lower" if first.lower else "higher"} if first else {}
    for name in sorted(held_out_names(history)):
        if _better(history, name) != "none":
            better.setdefault(name, _better(history, name))
    better.pop(EVAL_LOSS, None)
    for _, (name, way) in zip(range(MOST_METRICS), better.items(), strict=False):
        series = history.columns.get(name)
        yield f"{name} {_first_to_last(series)}{_best(history, series, way, saved=True)}"


def _better(history: History, name: str) -> str:
    return history.metrics[name].direction if name in history.metrics else "none"


def _first_to_last(series: Series) -> str:
    """The first finite value and the last one, finite or not, with their steps."""
    steps, values = series.steps, series.values
    finite = np.flatnonzero(np.isfinite(values))
    if not len(finite):
        return f"never finite, {len(values):,} values"
    first = finite[0]
    if len(values) == 1:
        return f"{values[0]:.4g} at step {steps[0]:,}, the only value"
    lost = len(values) - len(finite)
    missing = f", {lost:,} of {len(values):,} not finite" if lost else ""
    last = f"{values[-1]:.4g}" if math.isfinite(values[-1]) else str(values[-1])
    return f"{values[first]:.4g} at step {steps[first]:,} -> {last} at step {steps[-1]:,}{missing}"


def _best(history: History, series: Series, better: str, *, saved: bool = False) -> str:
    """The best value and its step, and the checkpoint of that step; "" where there is one value."""
    steps, values = series.steps, series.values
    if len(values) < 2 or not np.isfinite(values).any():
        return ""
    known = np.where(np.isfinite(values), values, np.nan)
    at = int(np.nanargmin(known) if better == "lower" else np.nanargmax(known))
    names = [each.path for each in history.checkpoints if each.step == steps[at]]
    where = f" ({names[0]})" if saved and names else ""
    word = "lowest" if better == "lower" else "highest"
    return f", {word} {values[at]:.4g} at step {steps[at]:,}{where}"
