"""What happens on held-out data, as tables of evaluations."""

from __future__ import annotations

import math
import random

import pytest
from facts import at, checkpoint, evaluation, item, result, run, score
from hypothesis import given, settings
from hypothesis import strategies as st
from lives import Facts, life, opened, said, waiting

from heldout.records import Data, Sample
from heldout.verdicts.rules import (
    calibration_drift,
    entropy_collapse,
    eval_loss_rise,
    pattern_forgetting,
)

NAN = math.nan


def fixed(ces: list[float], **changes: float) -> Facts:
    return [f for i, ce in enumerate(ces) for f in evaluation(10 * i, score(50), ce=ce, **changes)]


def trainer(losses: list[float]) -> Facts:
    return [
        Sample(step=10 * i, time=at(10 * i), values={"loss/trainer_eval": loss})
        for i, loss in enumerate(losses)
    ]


@pytest.mark.parametrize("facts_of", [fixed, trainer])
@pytest.mark.parametrize(
    ("losses", "states"),
    [
        ([], []),
        ([2.0, 1.0], []),
        ([2.0, 1.5, 1.2, 1.1, 1.0], []),
        ([1.0, 1.2, 1.3], ["open at 20"]),
        ([2.0, 1.0, 1.2, 1.0], []),  # once
        ([2.0, 1.5, 1.2, 1.0, 1.03, 1.04], []),  # 4 %
        ([2.0, 1.5, 1.2, 1.0, 1.1, 1.2], ["open at 50"]),
        ([2.0, 1.5, 1.2, 1.0, 1.1, 1.2, 1.08, 1.02], ["open at 50", "resolved at 70"]),
        ([1.0, 1.4, 1.04, 1.5, 1.02, 1.4, 1.03, 1.4, 1.3, 1.35], []),  # as noisy as it rises
        ([2.0, NAN, 1.0, NAN, 1.1, 1.2], ["open at 50"]),
        ([NAN, NAN, NAN], []),
    ],
)
def test_the_held_out_loss_rises(facts_of: object, losses: list[float], states: list[str]) -> None:
    assert callable(facts_of)
    assert life(eval_loss_rise.RULE, facts_of(losses)) == states


@pytest.mark.parametrize(
    ("losses", "states"), [([0.6, 0.4, 0.3, 0.2], []), ([0.6, 0.4, 0.6, 0.7], ["open at 30"])]
)
def test_where_preferences_are_trained_the_loss_trained_on_rises_not_the_golden_answers(
    losses: list[float], states: list[str]
) -> None:
    rewards = Sample(step=1, time=at(1), values={"rewards/margins": 0.1})
    facts: Facts = [rewards, *fixed([1.3, 1.4, 1.5, 1.6]), *trainer(losses)]
    facts.sort(key=lambda fact: getattr(fact, "step", 0))
    assert life(eval_loss_rise.RULE, facts) == states


def test_the_rise_names_what_to_keep() -> None:
    losses = [2.0, 1.0, 1.2, 1.3]
    alert = opened(
        eval_loss_rise.RULE, [*trainer(losses)[:2], checkpoint(10), *trainer(losses)[2:]]
    )
    assert alert.message == "Held-out loss rises: 1.3, was 1 at step 10 (4 evaluations)"
    assert alert.action == "Keep the recommended checkpoint."
    assert opened(eval_loss_rise.RULE, trainer(losses)).action == "Keep that of step 10."
    scored = opened(eval_loss_rise.RULE, [*fixed(losses)[:-1], checkpoint(10), fixed(losses)[-1]])
    assert "the recommended checkpoint. Where probabilities matter more" in scored.action
    assert "checkpoint-10 has the lowest loss" in scored.action


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.floats(0.0, 0.01))
def test_noise_around_a_plateau_is_no_rise(seed: int, width: float) -> None:
    rng = random.Random(seed)
    losses = [1.0 + math.exp(-i / 3) + rng.gauss(0, width) for i in range(30)]
    assert life(eval_loss_rise.RULE, trainer(losses)) == []


@pytest.mark.parametrize(
    ("ece", "noise", "states"),
    [
        ([0.05], 0.001, []),
        ([0.05, 0.05], 0.001, []),
        ([0.05, 0.061], 0.001, ["pending at 10"]),
        ([0.05, 0.061, 0.05], 0.001, ["pending at 10", "closed at 20"]),
        ([0.05, 0.09], 0.001, ["pending at 10"]),
        ([0.05, 0.09, 0.09], 0.001, ["pending at 10", "open at 20"]),
        ([0.05, 0.09, 0.09, 0.065, 0.05], 0.001, ["pending at 10", "open at 20", "resolved at 40"]),
        ([0.05, 0.095, 0.095], 0.02, ["pending at 10"]),  # not surely so much
        ([0.05, 0.061, 0.061], 0.02, []),
        ([NAN, 0.05, 0.09, 0.1], 0.001, ["pending at 20", "open at 30"]),
        ([0.05, NAN, 0.09, 0.1], 0.001, ["pending at 20", "open at 30"]),
    ],
)
def test_calibration_drifts_surely_and_twice(
    ece: list[float], noise: float, states: list[str]
) -> None:
    facts = [
        fact
        for i, value in enumerate(ece)
        for fact in evaluation(
            10 * i, score(50), ece=value, ece_low=value - noise, ece_high=value + noise
        )
    ]
    assert life(calibration_drift.RULE, facts) == states


def test_a_model_that_grows_underconfident_is_noted_only() -> None:
    facts = [
        fact
        for i, ece in enumerate([0.05, 0.1, 0.15, 0.2])
        for fact in evaluation(10 * i, score(50), ece=ece, confidence_gap=-ece)
    ]
    assert life(calibration_drift.RULE, facts) == ["pending at 10"]


def entropies(*pairs: tuple[float, float]) -> Facts:
    """Evaluations with these entropies and cross-entropies."""
    return [
        fact
        for i, (entropy, ce) in enumerate(pairs)
        for fact in evaluation(10 * i, score(50), entropy=entropy, ce=ce)
    ]


@pytest.mark.parametrize(
    ("facts", "states"),
    [
        (entropies((2.0, 2.0)), []),
        (entropies((2.0, 2.0), (1.0, 1.0)), []),
        (entropies((2.0, 2.0), (0.2, 0.2)), []),  # it has become good
        (entropies((2.0, 2.0), (0.5, 2.0)), ["open at 10"]),
        (
            entropies((2.0, 2.0), (0.5, 2.0), (0.7, 2.0), (0.9, 2.0)),
            ["open at 10", "resolved at 30"],
        ),
        (entropies((2.0, 2.0), (0.7, 2.0)), []),  # 35 %: holds, does not open
        (entropies((2.0, 2.0), (NAN, 2.0)), ["open at 10"]),
        (entropies((0.0, 2.0), (0.0, 2.0)), []),
        (entropies((NAN, 2.0), (0.1, 2.0)), []),
    ],
)
def test_entropy_collapses_when_errors_do_not(facts: Facts, states: list[str]) -> None:
    assert life(entropy_collapse.RULE, facts) == states


PATTERNS = ("coding", "factual", "math")


def answered(step: int, right: dict[str, int], n: int = 60) -> Facts:
    """An evaluation in which the first so many examples of each pattern are right."""
    items = [
        item(step, f"{pattern}{i}", i < correct, pattern)
        for pattern, correct in right.items()
        for i in range(n)
    ]
    return [*items, result(step, sum(right.values()), n * len(right))]


def patterns(*corrects: tuple[int, int, int], n: int = 60) -> Facts:
    rows = [dict(zip(PATTERNS, row, strict=True)) for row in corrects]
    return [fact for i, row in enumerate(rows) for fact in answered(10 * i, row, n)]


@pytest.mark.parametrize(
    ("facts", "states"),
    [
        (patterns((30, 30, 30)), []),
        (patterns((30, 30, 30), (30, 30, 30)), []),
        (patterns((30, 30, 30), (50, 29, 50)), []),
        (patterns((50, 30, 30), (50, 30, 10)), ["math pending at 10"]),
        (
            patterns((50, 30, 30), (50, 30, 10), (50, 30, 11)),
            ["math pending at 10", "math open at 20"],
        ),
        (
            patterns((50, 30, 30), (50, 30, 10), (50, 30, 29)),
            ["math pending at 10", "math closed at 20"],
        ),
        (
            patterns((50, 50, 50), *[(50, 20, 20)] * 2),
            [
                "factual pending at 10",
                "math pending at 10",
                "factual open at 20",
                "math open at 20",
            ],
        ),
        (
            patterns((50, 30, 30), (50, 30, 10), (50, 30, 10), (50, 30, 29)),
            ["math pending at 10", "math open at 20", "math resolved at 30"],
        ),
        (patterns((25, 20, 20), (2, 20, 20), n=29), []),  # too few examples
        (patterns((50, 50, 50), (48, 48, 48)), []),  # less than five points
        (patterns((50, 50, 50), (10, 20, 20)), []),  # the model as a whole is worse
    ],
)
def test_a_forgotten_pattern_is_named_and_no_other(facts: Facts, states: list[str]) -> None:
    assert life(pattern_forgetting.RULE, facts) == states


def test_forgetting_says_what_to_replay() -> None:
    facts = patterns((50, 30, 30), (50, 30, 10), (50, 30, 10))
    alert = opened(pattern_forgetting.RULE, facts)
    assert alert.message == (
        "'math' is being forgotten: EM 16.7%, was 50.0% at step 0 (20 forgotten, 0 learned of 60)"
    )
    assert alert.action == "Replay more 'math' examples in the training set."
    data = Data(time=0.0, rows=2000, looked_at=2000, tokens=1, label_tokens=1)
    assert "about 100 'math' examples" in opened(pattern_forgetting.RULE, [data, *facts]).action


def test_a_slow_decline_is_compared_with_the_best() -> None:
    steady = patterns(*[(30, 30, 55 - 4 * i) for i in range(8)])
    states = life(pattern_forgetting.RULE, steady)
    assert states
    assert [state.split(" at ")[0] for state in states] == ["math pending", "math open"]


def wavering(seed: int) -> Facts:
    """Ten evaluations in which each example is right with its own unchanging chance."""
    rng = random.Random(seed)
    chance = {f"{p}{i}": rng.betavariate(0.3, 0.3) for p in PATTERNS for i in range(60)}
    facts: Facts = []
    for step in range(0, 100, 10):
        items = [
            item(step, name, rng.random() < p, name.rstrip("0123456789"))
            for name, p in chance.items()
        ]
        facts += [*items, result(step, sum(each.correct for each in items), len(items))]
    return facts


def test_answers_that_waver_are_seldom_forgotten() -> None:
    """In 1 of 80 such runs of 12 evaluations a pattern was named (alerts benchmark)."""
    assert sum(bool(said(pattern_forgetting.RULE, wavering(seed))) for seed in range(30)) <= 1


def test_what_cannot_be_looked_at_says_why() -> None:
    for rule in (eval_loss_rise.RULE, entropy_collapse.RULE, pattern_forgetting.RULE):
        assert waiting(rule, [run()])
    few = patterns((20, 20, 20), (2, 20, 20), n=29)
    assert waiting(pattern_forgetting.RULE, few) == "no pattern has 30 held-out examples"
    assert waiting(entropy_collapse.RULE, entropies((0.0, 2.0), (0.0, 2.0)))
