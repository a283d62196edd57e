"""Runs with nothing wrong: no rule warns, whatever they look like."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import msgspec
import pytest
from facts import at, evaluation, layers, note, run
from hypothesis import given, settings
from hypothesis import strategies as st
from lives import Facts

from heldout.records import Run, Sample, Verdict
from heldout.verdicts.judge import judge

STEPS = 300
Change = Callable[[int, dict[str, float]], None]


def linear(step: int, total: int = STEPS) -> float:
    return 2e-4 * min(step / 20, (total - step) / (total - 20))


def healthy(seed: int = 0, change: Change | None = None, schedule: str = "linear") -> Facts:
    """A run with every number there is: a loss that falls, gradients, step times, evaluations, layers."""
    rng = random.Random(seed)
    settings_of = {
        "learning_rate": 2e-4,
        "adapters": True,
        "warmup_steps": 20,
        "vocabulary": 32_000,
    }
    settings_of["gradient_accumulation_steps"] = 4
    facts: Facts = [run(total_steps=STEPS, learning_rate=schedule, training=settings_of)]
    for step in range(1, STEPS + 1):
        loss = 0.8 + 1.4 * math.exp(-step / 60) * math.exp(rng.gauss(0, 0.1))
        values = {
            "loss/step": loss,
            "loss/logged": loss,
            "grad/norm": math.exp(rng.gauss(0, 0.3)),
            "learning_rate": linear(step),
            "time/step": 1 + rng.random() / 10,
            "epoch": step / 100,
        }
        if change:
            change(step, values)
        facts.append(Sample(step=step, time=at(step), values=values))
        if step % 10 == 0:
            facts.append(layers(step, [0.1 * math.sqrt(step)] * 6))
        if step % 50 == 0:
            right = [rng.random() < 0.3 + step / 600 for _ in range(100)]
            ce = 0.9 + math.exp(-step / 60)
            facts += evaluation(step, right, ce=ce, ce_low=ce - 0.05, ce_high=ce + 0.05)
    return [*facts, note(STEPS, "finished")]


def staircase(step: int, values: dict[str, float]) -> None:
    """Each pass over the data has its loss one tread lower."""
    loss = 2.0 * 0.6 ** (step // 100) * (1 + 0.03 * math.sin(step))
    values["loss/step"] = values["loss/logged"] = loss


def restarts(step: int, values: dict[str, float]) -> None:
    values["learning_rate"] = 1e-4 * (1 + math.cos(math.pi * (3 * (step - 1) / STEPS % 1)))


def skipped(step: int, values: dict[str, float]) -> None:
    """float16's scaler skips the first steps, and one now and then."""
    if step < 4 or step % 90 == 0:
        values["grad/norm"] = math.inf
    values["learning_rate"] = linear(max(step - 4, 0))


def policy(step: int, values: dict[str, float]) -> None:
    """A policy gradient: a loss around zero, exactly zero at first."""
    del values["loss/step"]
    values["loss/logged"] = 0.0 if step < 6 else 0.002 * math.sin(step) + step * 1e-5


def steady_rate(step: int, values: dict[str, float]) -> None:
    values["learning_rate"] = 2e-4


SCENES = {
    "as it should be": (None, "linear"),
    "an epoch staircase": (staircase, "linear"),
    "restarts of the learning rate": (restarts, "cosine_with_restarts"),
    "restarts nobody named": (restarts, ""),
    "float16's skipped steps": (skipped, "linear"),
    "a policy's loss": (policy, "linear"),
    "a constant learning rate": (steady_rate, "constant"),
}


def warned(facts: Facts) -> list[tuple[str, str, int]]:
    raised = [v for v in judge(facts) if isinstance(v, Verdict) and v.state in ("open", "error")]
    return [(v.rule, v.message, v.step) for v in raised if v.level != "info" or v.state == "error"]


@pytest.mark.parametrize("name", SCENES)
def test_nobody_is_warned(name: str) -> None:
    change, schedule = SCENES[name]
    assert warned(healthy(1, change, schedule)) == []


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_no_seed_of_a_healthy_run_warns(seed: int) -> None:
    assert warned(healthy(seed)) == []


def test_a_proper_resume_warns_of_nothing() -> None:
    facts = healthy(3)
    cut = next(i for i, f in enumerate(facts) if isinstance(f, Sample) and f.step == 120)
    again = next(i for i, f in enumerate(facts) if isinstance(f, Sample) and f.step == 101)
    begun = facts[0]
    assert isinstance(begun, Run)
    resumed = msgspec.structs.replace(begun, step=100, time=2_000.0)
    assert warned([*facts[:cut], resumed, *facts[again:]]) == []


@pytest.mark.parametrize("rows", range(1, 21))
def test_very_short_logs_warn_of_nothing(rows: int) -> None:
    facts: Facts = [run(total_steps=rows * 10)]
    facts += [
        Sample(
            step=10 * i,
            time=at(i),
            values={
                "loss/logged": 2.5 / math.sqrt(i),
                "grad/norm": 1.0,
                "learning_rate/logged": 1e-4,
            },
        )
        for i in range(1, rows + 1)
    ]
    assert warned(facts) == []
