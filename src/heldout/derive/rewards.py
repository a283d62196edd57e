"""What says that a model learns where the loss does not: margins, accuracies and rewards."""

from __future__ import annotations

import math
import re

from heldout.derive.history import History
from heldout.stats.rise import Rise

MARGINS = ("rewards/margins", "margin")
"""How far the chosen answer's reward is above the rejected one's, as TRL's trainers log it."""
ACCURACIES = ("rewards/accuracies", "accuracy")
"""The share of pairs in which it is above; a guess has a half."""
SPREAD = "reward_std"
"""The spread of the rewards within a group of completions: without any there is no gradient."""
GUESS = 0.5
SURE = 3.0
"""Standard errors that a sign must exceed."""
STILL = 1.64
"""The same for a reward that may go on rising: one-sided, 95 %."""
SMALL = 0.5
"""Of the noise of one value: a rise of the mean by less than this shows to nobody who looks at the curve."""
FEW = 5
"""Values that each half of a stretch must have."""


def policy_reward(history: History) -> str:
    """The series of the mean reward of a policy (GRPO, RLOO, PPO); "" in other runs."""
    series = history.columns.series

    def found() -> str:
        names = [name for name in series if re.fullmatch(r"rewards/.+/mean", name)]
        return "reward" if "reward" in series else next(iter(names), "")

    return history.remember("a policy's reward", found, len(series))  # asked at every step


def prefers(history: History, rows: int) -> bool:
    """Whether `rows` values or more surely say that pairs are told apart better than at the beginning.

    Or that rewards of chosen answers are above those of rejected ones in surely more than half of the pairs.
    """
    for name in MARGINS:
        margins = history.fold(name, Rise)
        if margins.n >= rows and margins.rise > SURE * margins.error:
            return True
    for name in ACCURACIES:
        right = history.fold(name, Rise)
        if right.n >= rows and right.later - GUESS > SURE * right.error_of_later:
            return True
    return False


def reward_may_rise(history: History, since: int) -> bool:
    """Whether the reward that is trained (a policy's, or a preference's margin) may still rise since a step.

    A rise is excluded where the later half of its values from there on surely exceeds the half
    before by less than `SMALL` of the noise of one value. False where no reward is trained.
    """
    names = [policy_reward(history), *MARGINS]
    name = next((name for name in names if name and len(history.columns.get(name))), "")
    if not name:
        return False
    recent = Rise()
    for value in history.columns.get(name).since(since):
        recent.add(0, value)
    half = recent.n // 2
    if half < FEW:
        return True
    rise = recent.mean(half, recent.n) - recent.mean(0, half)
    return rise + STILL * recent.noise * math.sqrt(2 / half) > SMALL * recent.noise
