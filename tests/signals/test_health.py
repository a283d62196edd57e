from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from heldout.records import LayerState
from heldout.signals.health import (
    AFTER_WARM_UP,
    DEAD_SAMPLES,
    EARLIEST,
    IN_A_ROW,
    LOSS_ROSE,
    PEERS,
    ROUNDED,
    STALLED,
    Health,
)
from heldout.signals.lora import ModuleReading
from heldout.signals.places import Place

WARM_UP = 100
LATE = 1000
"""A step at which every state can be told."""


def peers(
    *moved: float | None, leaf: str = "q_proj", stack: str = "layers", **more: Any
) -> list[ModuleReading]:
    """One module a layer, that moved so far relative to a frozen weight of norm 10."""
    return [
        ModuleReading(
            name=f"{stack}.{i}.{leaf}",
            place=Place(stack, i, "qkv", leaf),
            square=100.0 * (far or 0.0) ** 2,
            base_square=None if far is None else 100.0,
            **more,
        )
        for i, far in enumerate(moved)
    ]


def judge(
    health: Health,
    readings: Sequence[ModuleReading],
    step: int = LATE,
    trained: Mapping[str, bool] | None = None,
    unchanged: Mapping[str, float] | None = None,
    loss: float | None = 2.0,
    rate: float | None = None,
) -> dict[str, LayerState]:
    return health.judge(step, readings, trained or {}, unchanged or {}, loss, rate)


def after(
    times: int, readings: Sequence[ModuleReading], first: int = LATE, **more: Any
) -> dict[str, LayerState]:
    """What is told after so many equal readings, ten steps apart."""
    health, found = Health.after(WARM_UP), {}
    for i in range(times):
        found = judge(health, readings, first + 10 * i, **more)
    return found


def test_modules_that_move_alike_are_ok() -> None:
    assert after(10, peers(0.1, 0.2, 0.05, 0.31, 0.03)) == {}


@pytest.mark.parametrize(
    ("moved", "stalled"),
    [
        ((0.1, 0.1, 0.1, 0.0), True),
        ((0.1, 0.1, 0.1, 0.99 * STALLED * 0.1), True),
        ((0.1, 0.1, 0.1, 1.01 * STALLED * 0.1), False),
        ((0.1, 0.1, 0.1, 0.031), False),
        ((0.1, 0.1, 0.0), False),
        ((0.1, 0.0), False),
        ((0.0, 0.0, 0.0, 0.0), False),
        ((None, None, None, None), False),
        ((0.1, 0.1, 0.1, None), False),
        ((0.1, 0.1, 0.1, None, 0.0), True),
        ((0.1, 0.1, 0.1, math.inf, 0.0), True),
    ],
)
def test_a_module_far_behind_three_peers_has_stalled(
    moved: tuple[float | None, ...], stalled: bool
) -> None:
    found = after(IN_A_ROW, peers(*moved))
    assert (found.get(f"layers.{len(moved) - 1}.q_proj") == "stalled") is stalled
    assert ("stalled" in found.values()) is stalled
    assert PEERS == 4


def test_stalling_takes_three_readings_in_a_row() -> None:
    health, slow, fine = Health.after(WARM_UP), peers(1, 1, 1, 0), peers(1, 1, 1, 1)
    told = [bool(judge(health, x)) for x in (slow, slow, fine, slow, slow, slow, slow, fine, slow)]
    assert told == [False, False, False, False, False, True, True, False, False]


def test_peers_are_modules_of_one_stack_and_one_name() -> None:
    few = [*peers(0.1, 0.1, 0.1), *peers(0.0, leaf="k_proj"), *peers(0.0, stack="vision")]
    assert after(IN_A_ROW, few) == {}
    slower = [*peers(0.1, 0.1, 0.1, 0.1), *peers(*[1e-4] * 4, leaf="k_proj")]
    assert after(IN_A_ROW, slower) == {}


@pytest.mark.parametrize("leaf", ["experts.gate_up_proj", "experts.w1", "shared_expert.up_proj"])
def test_experts_are_never_stalled(leaf: str) -> None:
    assert after(9, peers(0.1, 0.1, 0.1, 0.0, leaf=leaf)) == {}


@pytest.mark.parametrize("place", range(5))
def test_one_module_that_is_not_finite_changes_no_other_modules_state(place: int) -> None:
    moved = [0.1, 0.2, 0.3, 0.4]
    moved.insert(place, math.nan)
    assert after(9, peers(*moved)) == {f"layers.{place}.q_proj": "blow-up"}
    moved[-1 if place < 4 else 0] = 0.0
    assert sorted(after(9, peers(*moved)).values()) == ["blow-up", "stalled"]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("step", [1, LATE])
@pytest.mark.parametrize("base", [100.0, None])
def test_factors_that_are_not_finite_are_a_blow_up_at_any_step(
    bad: float, step: int, base: float | None
) -> None:
    readings = peers(0.1, 0.1)
    readings[0].square, readings[0].base_square = bad, base
    frozen = {readings[0].name: False}
    assert judge(Health.after(0), readings, step, trained=frozen) == {"layers.0.q_proj": "blow-up"}


@pytest.mark.parametrize(
    ("moved", "losses", "blown_up"),
    [
        ((1.1, 2.0, 1.2), (2.0, 1.01 * LOSS_ROSE * 2.0), {0, 1, 2}),
        ((1.1, 2.0, 0.9), (2.0, 1.01 * LOSS_ROSE * 2.0), {0, 1}),
        ((1.1, 2.0, 1.2), (2.0, 0.99 * LOSS_ROSE * 2.0), set()),
        ((1.1, 2.0, 1.2), (5.0, 2.0), set()),
        ((1.1, 2.0, 1.2), (5.0, 2.0, 5.0), {0, 1, 2}),
        ((1.1, 0.9, 0.8), (2.0, 9.0), set()),
        ((1.1, 2.0, 1.2), (2.0, None), set()),
        ((1.1, 2.0, 1.2), (2.0, math.nan), set()),
        ((1.1, 2.0, 1.2), (math.nan, 2.0, 9.0), {0, 1, 2}),
        ((None, None, None), (2.0, 9.0), set()),
        ((1.1, None, 1.2), (2.0, 9.0), {0, 2}),
    ],
)
def test_moving_further_than_the_weights_while_the_loss_rises_is_a_blow_up(
    moved: tuple[float | None, ...], losses: Sequence[float | None], blown_up: set[int]
) -> None:
    health, found = Health.after(WARM_UP), {}
    for i, loss in enumerate(losses):
        found = judge(health, peers(*moved), LATE + 10 * i, loss=loss)
    assert found == {f"layers.{i}.q_proj": "blow-up" for i in blown_up}


def test_the_lowest_loss_counts_from_the_start_of_the_run() -> None:
    health = Health.after(WARM_UP)
    assert judge(health, peers(2.0), 10, loss=1.0) == {}
    assert judge(health, peers(2.0), 20, loss=3.0) == {}
    assert judge(health, peers(2.0), LATE, loss=3.0) == {"layers.0.q_proj": "blow-up"}


def sampled(times: int, zeros: int, readings: Sequence[ModuleReading]) -> Health:
    """Health after so many samples of the gradients, the last `zeros` of them exactly zero."""
    health = Health.after(WARM_UP)
    for i in range(times):
        square = 0.0 if i >= times - zeros else 1e-30
        health.gradients({reading.name: square for reading in readings})
    return health


@pytest.mark.parametrize(
    ("times", "zeros", "moved", "dead"),
    [
        (DEAD_SAMPLES, DEAD_SAMPLES, 0.0, True),
        (DEAD_SAMPLES - 1, DEAD_SAMPLES - 1, 0.0, False),
        (DEAD_SAMPLES + 1, DEAD_SAMPLES, 0.0, False),
        (2 * DEAD_SAMPLES, 2 * DEAD_SAMPLES, 0.0, True),
        (DEAD_SAMPLES, DEAD_SAMPLES, 1e-9, False),
        (DEAD_SAMPLES, 0, 0.0, False),
    ],
)
def test_a_module_without_a_gradient_at_twenty_samples_and_unmoved_has_none(
    times: int, zeros: int, moved: float, dead: bool
) -> None:
    readings = peers(moved)
    expected = {"layers.0.q_proj": "no-gradient"} if dead else {}
    assert judge(sampled(times, zeros, readings), readings) == expected


@pytest.mark.parametrize("leaf", ["q_proj", "experts.w1"])
def test_a_dead_module_is_told_so_rather_than_stalled(leaf: str) -> None:
    readings = peers(0.1, 0.1, 0.1, 0.0, leaf=leaf)
    health = Health.after(WARM_UP)
    for _ in range(DEAD_SAMPLES):
        health.gradients({x.name: float(x.square > 0) for x in readings})
    for i in range(IN_A_ROW):
        found = judge(health, readings, LATE + 10 * i)
    assert found == {f"layers.3.{leaf}": "no-gradient"}


def test_a_frozen_module_is_frozen_whatever_else_it_looks_like() -> None:
    readings = peers(0.1, 0.1, 0.1, 0.0)
    health = sampled(DEAD_SAMPLES, DEAD_SAMPLES, readings)
    frozen = {x.name: i != 3 for i, x in enumerate(readings)}
    for i in range(IN_A_ROW):
        told = judge(health, readings, LATE + 10 * i, frozen, {"layers.3.q_proj": 1.0})
        assert told == {"layers.3.q_proj": "frozen"}
    assert judge(Health.after(WARM_UP), readings, 1, frozen) == {"layers.3.q_proj": "frozen"}


@pytest.mark.parametrize(
    ("shares", "told"),
    [
        ((ROUNDED,) * 3, True),
        ((1.0, 0.97, 0.92), True),
        ((0.89,) * 9, False),
        ((1.0, 1.0), False),
        ((1.0, 1.0, 0.5, 1.0, 1.0), False),
        ((1.0, 1.0, 0.5, 1.0, 1.0, 1.0), True),
        ((1.0, None, 1.0, None, None, 1.0), True),
    ],
)
def test_rounding_is_three_looks_in_a_row_at_steps_that_changed_little(
    shares: Sequence[float | None], told: bool
) -> None:
    health, found = Health.after(WARM_UP), {}
    for i, share in enumerate(shares):
        unchanged = {} if share is None else {"layers.0.q_proj": share}
        found = judge(health, peers(0.1, 0.1), LATE + 10 * i, unchanged=unchanged)
    assert found == ({"layers.0.q_proj": "rounding"} if told else {})


@pytest.mark.parametrize(
    ("rates", "told"),
    [
        ((1e-3,) * 3, True),
        ((None,) * 3, True),
        ((0.0,) * 9, False),
        ((math.nan,) * 9, False),
        ((1e-3, 1e-3, 0.0, 0.0), False),
        ((1e-3, 1e-3, 0.0, 1e-3), True),
    ],
)
def test_steps_at_a_rate_of_zero_say_nothing_of_rounding_or_the_optimizer(
    rates: Sequence[float | None], told: bool
) -> None:
    rounds, left_out = Health.after(WARM_UP), Health.after(WARM_UP)
    still = peers(0.0, 0.0, grad_square=1.0, speed_square=0.0)
    for i, rate in enumerate(rates):
        share = {"layers.0.q_proj": 1.0}
        rounded = judge(rounds, peers(0.1, 0.1), LATE + 10 * i, unchanged=share, rate=rate)
        frozen = judge(left_out, still, 10 * i, rate=rate)
    assert rounded == ({"layers.0.q_proj": "rounding"} if told else {})
    assert frozen == ({f"layers.{i}.q_proj": "frozen" for i in range(2)} if told else {})


@pytest.mark.parametrize(
    ("grad", "speed", "moved"),
    [
        (0.0, 0.0, 0.0),
        (None, 0.0, 0.0),
        (math.nan, 0.0, 0.0),
        (math.inf, 0.0, 0.0),
        (1.0, 1e-30, 0.0),
        (1.0, None, 0.0),
        (1.0, 0.0, 1e-9),
    ],
)
def test_only_what_has_a_gradient_and_never_moves_is_not_in_the_optimizer(
    grad: float | None, speed: float | None, moved: float
) -> None:
    readings = peers(moved, grad_square=grad, speed_square=speed)
    assert after(9, readings, rate=1e-3) == {}


def test_forgotten_counts_start_anew() -> None:
    health, still = Health.after(WARM_UP), peers(0.0, grad_square=1.0, speed_square=0.0)
    for _ in range(IN_A_ROW):
        found = judge(health, still)
    assert found == {"layers.0.q_proj": "frozen"}
    health.forget(["layers.0.q_proj", "another"])
    assert judge(health, still) == {}


@pytest.mark.parametrize("warm_up", [0, 10, 30, 31, WARM_UP])
def test_nothing_is_told_or_counted_in_the_warm_up(warm_up: int) -> None:
    first = max(EARLIEST, warm_up + AFTER_WARM_UP)
    readings = [*peers(0.1, 0.1, 0.1, 0.0), *peers(3.0, 3.0, 3.0, 3.0, 3.0, leaf="k_proj")]
    health = Health.after(warm_up)
    for _ in range(DEAD_SAMPLES):
        health.gradients({"layers.3.q_proj": 0.0})
    rounds = {"layers.0.q_proj": 1.0}
    for step in range(first - 10, first):
        assert judge(health, readings, step, unchanged=rounds, loss=float(step)) == {}
    told = judge(health, readings, first, unchanged=rounds, loss=99.0 * first)
    assert told.pop("layers.3.q_proj") == "no-gradient"
    assert set(told) == {f"layers.{i}.k_proj" for i in range(5)}
    assert set(told.values()) == {"blow-up"}


def test_an_adapter_at_its_start_is_ok() -> None:
    """B is exactly zero at the first step, and so is the gradient of A."""
    health, readings = Health.after(0), peers(0.0, 0.0, 0.0, 0.0, 0.0)
    for step in (1, 10, 20, 30, 40):
        health.gradients({reading.name: 0.0 for reading in readings})
        assert judge(health, readings, step, unchanged={"layers.0.q_proj": 1.0}) == {}
    for step in (50, 60, 70):
        assert judge(health, readings, step) == {}
