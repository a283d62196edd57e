"""The course of the streaming cross-entropy in words: whether it is smooth, and which way it goes."""

from __future__ import annotations

import math

import numpy as np

from heldout.derive.history import History

NAME = "loss/streaming"
LEAST = 20
"""Recorded steps from which on anything is said."""
SHARE = 0.1
"""The latest share of the steps, `LEAST` at least, that the course is read off."""
MOST = 1000
MATTERS = 0.01
"""A change by less of its level is none."""
JUMP = 0.02
"""A step that moves the mean by more of its level is a jump: an ordinary one moves it by some tenths of a
percent."""
SURE = 2.0
"""Standard errors of the mean that a change must exceed."""
WINDOW = 300
"""Steps that the mean reaches back over where the run does not say."""


def course(history: History) -> str:
    """Return "smooth, falling", "jumpy, flat" and so on; "" where there is too little to say.

    A loss that is not finite now is told instead, since the mean leaves such steps out. The change over
    the latest steps counts where it exceeds what the noise of single steps gives the mean.
    """
    broken = _broken_since(history)
    if broken is not None:
        return f"the loss is NaN/Inf since step {broken:,}"
    size = len(history.columns.get(NAME))
    if size < LEAST:
        return ""
    count = min(MOST, max(LEAST, round(SHARE * size)))
    mean = np.array(history.columns.get(NAME).tail(count))
    if not np.isfinite(mean).all() or not mean.min() > 0:
        return ""
    level, change = mean[0], mean[-1] - mean[0]
    smooth = np.abs(np.diff(mean)).max() <= JUMP * level
    if abs(change) <= max(MATTERS * level, SURE * _noise(history, size, count)):
        way = "flat"
    else:
        way = "rising" if change > 0 else "falling"
    return f"{'smooth' if smooth else 'jumpy'}, {way}"


def _broken_since(history: History) -> int | None:
    """The step since which every loss is NaN or infinite; None where the last is finite."""
    series = history.columns.get(history.loss)
    if not len(series) or math.isfinite(series.last):
        return None
    finite = np.flatnonzero(np.isfinite(series.values))
    return int(series.steps[finite[-1] + 1 if len(finite) else 0])


def _noise(history: History, size: int, count: int) -> float:
    """The standard error of the mean's change over `count` steps, from the noise of single steps."""
    settings = (history.run.config.get("signals") or {}) if history.run else {}
    window = settings.get("window", WINDOW)
    alpha = max(2 / (window + 1) if isinstance(window, int) and window > 0 else 1.0, 1 / size)
    steps = np.diff([x for x in history.columns.get(history.loss).tail(count) if math.isfinite(x)])
    if not len(steps):
        return 0.0
    one = 1.4826 * float(np.median(np.abs(steps))) / math.sqrt(2)
    return one * math.sqrt(alpha / (2 - alpha) * 2 * (1 - (1 - alpha) ** count))
