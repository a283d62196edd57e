"""Learning rates that go astray and steps that become slow, as tables of series."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from facts import run, sample
from hypothesis import given, settings
from hypothesis import strategies as st
from lives import Facts, life, logged, noisy, opened, waiting

from heldout.derive.columns import Series
from heldout.stats.pace import WINDOW
from heldout.verdicts.judge import Judge
from heldout.verdicts.rules import lr_schedule, throughput_drop

NAN = math.nan


def linear(total: int, warmup: int = 10, length: int | None = None) -> list[float]:
    """A linear schedule built for `length` steps, as long as the run unless given."""
    length = length or total
    return [
        1e-4 * (i / warmup if i < warmup else max(0.0, (length - i) / (length - warmup)))
        for i in range(total)
    ]


def cosine(total: int, cycles: int = 0, length: int | None = None) -> list[float]:
    length = length or total
    if cycles:
        return [0.5e-4 * (1 + math.cos(math.pi * (cycles * i / length % 1))) for i in range(total)]
    return [0.5e-4 * (1 + math.cos(math.pi * min(1, i / length))) for i in range(total)]


def rates(values: list[float], schedule: str = "", start: int = 0, **changes: Any) -> Facts:
    begun = run(**{"total_steps": 100, "learning_rate": schedule, "step": start} | changes)
    steps = [sample(start + i, 1.0, learning_rate=v) for i, v in enumerate(values, start=1)]
    return [begun, *steps]


ADAPTERS = {"adapters": True, "learning_rate": 2e-4}


@pytest.mark.parametrize(
    ("facts", "states"),
    [
        (rates([]), []),
        (rates(linear(100), "linear"), []),
        (rates(cosine(100), "cosine"), []),
        (rates([1e-4] * 100, "constant"), []),
        (rates(cosine(100, cycles=3), "cosine_with_restarts"), []),
        (rates(cosine(100, cycles=3)), []),  # restarts of a schedule nobody named
        (rates([*linear(60), 0.0, 0.0]), ["zero open at 62"]),
        (rates([0.0] * 20), ["zero open at 10"]),
        (rates([0.0] * 5 + linear(95)), []),  # a scaler skips the first steps
        (rates([1e-4] * 50 + [NAN]), ["zero open at 51"]),
        (rates([1e-4] * 50 + [0.0] + [1e-4] * 9), []),
        (rates([*linear(50), *[30e-4] * 5]), ["jump open at 51"]),
        (
            rates([*linear(50), *[30e-4] * 5, *linear(100)[55:]]),
            ["jump open at 51", "jump resolved at 56"],
        ),
        (rates([*linear(60), *linear(100)[:40]]), ["rise open at 63"]),  # a second warm-up
        (rates(linear(100, length=50), "linear"), ["length open at 20", "zero open at 52"]),
        (rates(linear(100, length=200), "linear"), ["length open at 50"]),
        (rates(cosine(100, length=60), "cosine"), ["length open at 19", "zero open at 62"]),
        (rates(linear(100, length=104), "linear"), []),
        (rates(linear(100, length=50)), ["zero open at 52"]),  # unnamed: length is not judged
        (rates([1e-4] * 9, training=ADAPTERS), []),
        (rates([5e-3] * 9, training={"adapters": True}), ["range open at 1"]),
        (rates([5e-3] * 9, training=ADAPTERS | {"adapters": False}), []),
        (rates([1e-7] * 9, training=ADAPTERS | {"learning_rate": 1e-7}), ["range open at 1"]),
    ],
)
def test_the_learning_rate_is_a_table(facts: Facts, states: list[str]) -> None:
    assert life(lr_schedule.RULE, facts) == states


def test_a_schedule_that_ends_with_its_run_is_not_told_of_however_short() -> None:
    """`made` is the rate that a step was made with, `left` the one that older Trainers log after it."""
    told = {}
    for total in (*range(2, 20), 60):
        for warmup in (0, 1, total // 3):
            for when in ("made", "left"):
                for name in ("linear", "cosine"):
                    steps = range(total) if when == "made" else range(1, total + 1)
                    values = [_scheduled(name, step, warmup, total) for step in steps]
                    told[name, total, warmup, when] = life(
                        lr_schedule.RULE, rates(values, name, total_steps=total)
                    )
    assert {case: states for case, states in told.items() if states} == {}
    late = [_scheduled("linear", step, 0, 60) for step in range(6)]
    assert life(lr_schedule.RULE, rates(late, "linear", total_steps=6)) == []  # too early to say
    late = [_scheduled("linear", step, 0, 12) for step in range(6)]
    assert life(lr_schedule.RULE, rates(late, "linear", total_steps=6)) != []


def _scheduled(name: str, step: int, warmup: int, total: int) -> float:
    """The rate after `step` steps, as transformers' schedules give it."""
    if step < warmup:
        return 1e-4 * step / warmup
    part = (step - warmup) / max(1, total - warmup)
    return 1e-4 * (1 - part if name == "linear" else (1 + math.cos(math.pi * part)) / 2)


def test_a_resume_without_the_scheduler_is_a_jump() -> None:
    first = rates(linear(100)[:60], "linear", training={"logging_steps": 1})
    again = rates([0.9e-4] * 5, "linear", start=60)
    assert life(lr_schedule.RULE, [*first, *again]) == ["rise open at 61"]
    alert = opened(lr_schedule.RULE, [*first, *again])
    assert "at the resume from step 60 (step 61)" in alert.message
    properly = rates(linear(100)[60:], "linear", start=60)
    assert life(lr_schedule.RULE, [*first, *properly]) == []


def test_a_foreign_log_has_its_own_learning_rate() -> None:
    values = [{"learning_rate/logged": rate} for rate in [*linear(10, 2), 0.0, 0.0, 0.0]]
    facts: Facts = [run(total_steps=1000)]
    facts += [fact for i, v in enumerate(values, 1) for fact in logged([1.0], every=10 * i, **v)]
    assert life(lr_schedule.RULE, facts) == ["zero open at 120"]


def test_lr_messages_have_the_numbers() -> None:
    facts = rates([*linear(50), *[30e-4] * 5])
    assert opened(lr_schedule.RULE, facts).message == (
        "The learning rate jumped to 30 times its earlier peak of 0.0001 at step 51"
    )
    assert waiting(lr_schedule.RULE, [run()])


def timed(seconds: list[float], tokens: list[float] | None = None, **phases: float) -> Facts:
    facts: Facts = [run()]
    for i, value in enumerate(seconds):
        values = {"time/step": value}
        values |= {f"time/{name}": share * value for name, share in phases.items()}
        if tokens:
            values["throughput/tokens_per_step"] = tokens[i]
        facts.append(sample(i + 1, 1.0, **values))
    return facts


STEADY = noisy(120, 0.05)


@pytest.mark.parametrize(
    ("seconds", "states"),
    [
        ([], []),
        (STEADY, []),
        ([*STEADY, *[1.15 * x for x in STEADY]], []),
        ([*STEADY, *[5.0] * 10, *STEADY], []),  # less than half of a window
        ([9.0, 9.0, 9.0, *STEADY], []),  # compiling
        ([*STEADY, *[NAN] * 40], []),
        ([0.0] * 100, []),
    ],
)
def test_steps_of_the_usual_time_are_silent(seconds: list[float], states: list[str]) -> None:
    assert life(throughput_drop.RULE, timed(seconds)) == states


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.sampled_from([1.3, 2.0]), st.integers(55, 110))
def test_slow_steps_are_told_within_fifty(seed: int, times: float, since: int) -> None:
    before = noisy(since, 0.08, seed)
    after = [times * x for x in noisy(60, 0.08, seed + 1)]
    alert = opened(throughput_drop.RULE, timed(before + after))
    assert since < alert.step <= since + 50


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.floats(0, 0.4))
def test_noisy_steps_are_not_slow_steps(seed: int, width: float) -> None:
    assert life(throughput_drop.RULE, timed(noisy(400, width, seed))) == []


def test_a_slowdown_resolves_when_it_ends() -> None:
    states = life(throughput_drop.RULE, timed([*STEADY, *[2.0] * 40, *STEADY]))
    assert [state.split(" ")[0] for state in states] == ["open", "resolved"]
    lasting = life(throughput_drop.RULE, timed([*STEADY, *[2.0] * 700]))
    assert len(lasting) == 1, "what is slow for long does not become usual"


def test_a_long_slowdown_costs_no_more_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values read off the series at a step must not grow with the steps since the slowdown."""
    read = [0]

    def counted(
        method: Callable[[Series, int], list[float]],
    ) -> Callable[[Series, int], list[float]]:
        def count(series: Series, argument: int) -> list[float]:
            found = method(series, argument)
            read[0] += len(found)
            return found

        return count

    monkeypatch.setattr(Series, "since", counted(Series.since))
    monkeypatch.setattr(Series, "tail", counted(Series.tail))
    judge = Judge(rules=[throughput_drop.RULE])
    costs = []
    for fact in timed([*STEADY, *[2.0] * 700], [1000.0] * 820, data=0.5, other=0.5):
        read[0] = 0
        judge.feed(fact)
        costs.append(read[0])
    assert judge.history.alerts["throughput-drop", ""].state == "open"
    assert 0 < max(costs[-600:]) <= 5 * WINDOW


def test_longer_sequences_are_not_a_slowdown() -> None:
    seconds = [*STEADY, *[2.0] * 600]
    tokens = [1000 * x for x in seconds]
    assert life(throughput_drop.RULE, timed(seconds, tokens)) == []
    assert len(life(throughput_drop.RULE, timed(seconds, [1000.0] * 720))) == 1


def test_a_slowdown_names_the_phase() -> None:
    fast = timed(STEADY, data=0.1, forward_backward=0.9)
    slow = timed([1.0] * 40)[1:]
    facts = [
        *fast,
        *[
            sample(
                120 + i, 1.0, **{"time/step": 1.9, "time/data": 1.0, "time/forward_backward": 0.9}
            )
            for i, _ in enumerate(slow, start=1)
        ],
    ]
    alert = opened(throughput_drop.RULE, facts)
    assert alert.evidence["phase"] == "waiting for data"
    assert "is waiting for data" in alert.message
    assert waiting(throughput_drop.RULE, timed(STEADY[:20]))
