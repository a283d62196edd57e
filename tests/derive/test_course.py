"""The words beside the streaming cross-entropy and the calibration error, against their own noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from facts import history, result, run, sample

from heldout.derive.calibration import calibration
from heldout.derive.streaming import course
from heldout.records import AnyRecord


def smoothed(losses: list[float], window: int = 300) -> list[AnyRecord]:
    """Steps with their loss and its bias-corrected mean, as a run records them."""
    alpha, total, weight, found = 2 / (window + 1), 0.0, 0.0, []
    for step, loss in enumerate(losses, start=1):
        if math.isfinite(loss):
            total, weight = total + alpha * (loss - total), weight + alpha * (1 - weight)
        found.append(sample(step, loss, **{"loss/streaming": total / weight}))
    return [run(), *found]


def noisy(levels: np.ndarray, seed: int) -> list[float]:
    rng = np.random.default_rng(seed)
    found: list[float] = (levels * rng.lognormal(0, 0.3, len(levels))).tolist()
    return found


def test_the_course_is_read_off_against_the_noise_of_single_steps() -> None:
    n = 1_500
    words = {
        "falling": [course(history(*smoothed(noisy(np.linspace(3, 0.5, n), i)))) for i in range(5)],
        "rising": [course(history(*smoothed(noisy(np.linspace(0.5, 3, n), i)))) for i in range(5)],
        "flat": [course(history(*smoothed(noisy(np.ones(n), i)))) for i in range(40)],
    }
    assert set(words["falling"]) == {"smooth, falling"}
    assert set(words["rising"]) == {"smooth, rising"}
    assert words["flat"].count("smooth, flat") >= 36, "two standard errors, 5 % of 40 beyond them"


def test_a_jump_and_a_nan_are_told_and_too_little_is_not() -> None:
    jump = [1.0] * 200 + [50.0] * 5
    assert course(history(*smoothed(jump))).startswith("jumpy")
    lost = [1.0] * 60 + [math.nan] * 9
    assert course(history(*smoothed(lost))) == "the loss is NaN/Inf since step 61"
    assert course(history(*smoothed([1.0] * 19))) == ""
    assert course(history()) == ""


@pytest.mark.parametrize(
    ("ece", "half", "gap", "word"),
    [
        (0.004, 0.002, 0.003, "good"),
        (0.16, 0.02, 0.16, "overconfident"),
        (0.16, 0.02, -0.16, "underconfident"),
        (0.16, 0.15, 0.16, "unclear"),
        (math.nan, math.nan, math.nan, ""),
    ],
)
def test_a_calibration_error_is_judged_against_chance_and_its_interval(
    ece: float, half: float, gap: float, word: str
) -> None:
    found = result(0, 5, 9, ece=ece, ece_low=ece - half, ece_high=ece + half, confidence_gap=gap)
    assert calibration(found) == word
