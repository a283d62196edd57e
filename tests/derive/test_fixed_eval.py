"""The evaluations judged: the contract's `fixed_eval`, and checkpoints that can be loaded."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from facts import checkpoint, evaluation, history, item, result, run, score

from heldout.derive.history import History
from heldout.derive.progress import fixed_eval, flat_since, judge, margin, pinned, tied_checkpoints
from heldout.records import Item

CONTRACT = {"em", "ce", "ece", "best_ckpt", "em_trend", "ece_rise"}


def scored(*correct: int, saved: tuple[int, ...] = (), n: int = 400) -> History:
    """A history evaluated at steps 0, 10, 20, ... with checkpoints at the steps `saved`."""
    facts = [fact for i, k in enumerate(correct) for fact in evaluation(10 * i, score(k, n))]
    return history(run(), *facts, *map(checkpoint, saved))


def test_before_the_first_evaluation_there_is_nothing() -> None:
    assert fixed_eval(history()) == {}
    assert judge(history()) is None
    assert flat_since(history()) is None


def test_the_fields_of_the_contract_are_there_with_what_they_mean() -> None:
    found = fixed_eval(scored(100, 200, 300, saved=(10, 20)))
    assert found.keys() >= CONTRACT
    assert "type" not in found
    assert found["em"] == 0.75
    assert found["em_trend"] == "improving"
    assert found["em_change"] == 0.5
    assert found["em_change_low"] < 0.5 < found["em_change_high"]
    assert found["em_reference"] == 0
    assert (found["best_ckpt"], found["tied"]) == ("checkpoint-20", ["checkpoint-20"])
    assert found["ece_rise"] is False


@pytest.mark.parametrize(
    ("saved", "tied"),
    [
        ((10, 20, 30), ["checkpoint-20", "checkpoint-30"]),
        ((30,), ["checkpoint-30"]),
        ((10,), ["checkpoint-10"]),  # worse, but there is no other to load
        ((0, 10), ["checkpoint-10"]),
        ((), []),
        ((15, 99), []),  # saved where nothing was evaluated
    ],
)
def test_only_saved_checkpoints_are_named(saved: tuple[int, ...], tied: list[str]) -> None:
    run_ = scored(50, 200, 300, 300, saved=saved)
    found = judge(run_)
    assert found is not None
    assert tied_checkpoints(run_, found) == tied
    assert fixed_eval(run_)["best_ckpt"] == (tied[0] if tied else None)


def test_a_checkpoint_whose_held_out_logits_were_not_finite_is_not_the_best() -> None:
    poisoned = evaluation(10, score(0), ce=math.nan, ece=math.nan, non_finite=100)
    for base in (0, 40):
        found = fixed_eval(history(*evaluation(0, score(base)), *poisoned, checkpoint(10)))
        assert found["best_ckpt"] is None
        assert found["tied"] == []


def test_evaluations_are_compared_on_the_examples_they_share() -> None:
    first = [item(0, f"e{i}", False) for i in range(60)]
    second = [item(10, f"e{i}", True) for i in range(30, 90)]
    found = judge(history(*first, result(0, 0, 60), *second, result(10, 60, 60)))
    assert found is not None
    assert found.change.pair.change == 1.0
    assert found.change.trend == "improving"


def test_examples_of_an_evaluation_that_were_lost_leave_it_open() -> None:
    found = judge(history(*evaluation(0, score(10)), result(10, 90, 100)))
    assert found is not None
    assert found.change.trend == "inconclusive"
    assert (found.change.pair.change, found.change.pair.detectable()) == (0.0, 1.0)


def test_the_margin_comes_from_the_run() -> None:
    assert margin(history()) == 0.01
    assert margin(history(run(config={"eval": {"margin": 0.25}}))) == 0.25
    rows = [score(100), score(102), score(101)]
    facts = [fact for i, row in enumerate(rows) for fact in evaluation(i, row)]
    wide = history(run(config={"eval": {"margin": 0.2}}), *facts)
    assert fixed_eval(wide)["em_trend"] == "plateau"
    assert fixed_eval(history(run(), *facts))["em_trend"] == "inconclusive"


def test_the_slope_and_the_best_are_named_with_the_steps_they_are_from() -> None:
    found = fixed_eval(scored(100, 200, 300, 250))
    assert (found["best_em"], found["best_em_step"]) == (0.75, 20)
    assert found["best_em_corrected"] <= 0.75
    assert found["em_slope_since"] == 0
    assert found["em_slope_low"] < found["em_slope"] < found["em_slope_high"]
    assert fixed_eval(scored(100, 200))["em_slope"] is None


def test_the_reference_can_be_pinned_by_the_run() -> None:
    facts = [fact for i, k in enumerate((40, 60, 80, 99)) for fact in evaluation(10 * i, score(k))]
    assert pinned(history(run(), *facts)) is None
    assert pinned(history(run(config={"eval": {"reference": 5}}), *facts)) is None
    held = history(run(config={"eval": {"reference": 0}}), *facts)
    assert pinned(held) == 0
    assert fixed_eval(held)["em_reference"] == 0
    assert fixed_eval(history(run(), *facts))["em_reference"] == 10


def test_examples_of_one_group_count_as_few() -> None:
    def answers(step: int, right: int, group: str) -> list[Item]:
        items = [item(step, f"e{i}", i < right) for i in range(100)]
        return [msgspec.structs.replace(one, group=group) for one in items]

    def trend(group: str) -> str:
        facts = [*answers(0, 40, group), result(0, 40, 100), *answers(10, 60, group)]
        return str(fixed_eval(history(*facts, result(10, 60, 100)))["em_trend"])

    assert trend("") == "improving"
    assert trend("one text") == "inconclusive"


def test_a_plateau_says_since_when() -> None:
    rising = scored(0, 200, 300)
    assert flat_since(rising) is None
    flat = scored(0, 300, 300, 300)
    since = flat_since(flat)
    assert since is not None
    assert since.step == 10


def test_a_calibration_error_that_is_nan_hides_no_later_rise() -> None:
    facts = [
        fact
        for step, ece in enumerate([0.05, math.nan, 0.09])
        for fact in evaluation(step, score(50), ece=ece)
    ]
    assert fixed_eval(history(*facts))["ece_rise"] is True
    assert np.isnan(history(*facts).evals[1].ece)
