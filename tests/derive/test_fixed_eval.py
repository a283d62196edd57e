"""The evaluations judged: the contract's `fixed_eval`, and checkpoints that can be loaded."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from facts import checkpoint, evaluation, history, item, result, run, score

from heldout.derive.history import History
from heldout.derive.progress import fixed_eval, flat_since, judge, margin, pinned, planned
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
    assert found["em_change"] == 0.375  # the last against the two before
    assert found["em_change_low"] < 0.375 < found["em_change_high"]
    assert found["em_reference"] == 10
    assert found["em_says"].startswith("improving: +37.5 points [")
    assert found["em_says"].endswith("] since step 10")
    assert (found["best_ckpt"], found["tied"]) == ("checkpoint-20", ["checkpoint-20"])
    assert found["ece_rise"] is False


@pytest.mark.parametrize(
    ("saved", "best", "tied"),
    [
        ((10, 20, 30), 30, (20, 30)),  # as good as its neighbours, and tied with one
        ((20,), 20, (20,)),
        ((10,), 10, (10,)),  # worse, but there is no other to load
        ((0, 10), 10, (10,)),
        ((), None, ()),
        ((15, 99), None, ()),  # saved where nothing was evaluated
    ],
)
def test_only_saved_checkpoints_are_named(
    saved: tuple[int, ...], best: int | None, tied: tuple[int, ...]
) -> None:
    found = fixed_eval(scored(50, 200, 300, 300, saved=saved))
    assert found["best_ckpt"] == (None if best is None else f"checkpoint-{best}")
    assert found["tied"] == [f"checkpoint-{step}" for step in tied]


def test_a_checkpoint_that_was_removed_is_recommended_no_more() -> None:
    rows = [
        fact for i, k in enumerate((50, 200, 300)) for fact in evaluation(10 * i, score(k, 400))
    ]
    held = history(*rows, checkpoint(10), checkpoint(20))
    assert fixed_eval(held)["best_ckpt"] == "checkpoint-20"
    held.add(msgspec.structs.replace(checkpoint(20), gone=True))
    assert fixed_eval(held)["best_ckpt"] == "checkpoint-10"


def test_an_earlier_checkpoint_is_named_as_cheaper_with_what_it_costs() -> None:
    rows = [score(k, 2000) for k in (400, 1200, 1400, 1401, 1402, 1403, 1404, 1405)]
    facts = [fact for i, row in enumerate(rows) for fact in evaluation(10 * i, row)]
    found = fixed_eval(history(run(), *facts, *[checkpoint(10 * i) for i in range(1, 8)]))
    assert found["best_ckpt"] == "checkpoint-70"
    assert found["cheaper_ckpt"] in ("checkpoint-30", "checkpoint-40")
    assert 0 < found["cheaper_within"] < 0.02
    alone = fixed_eval(history(run(), *facts, checkpoint(70)))
    assert alone["cheaper_ckpt"] is alone["cheaper_within"] is None


def test_where_nothing_is_right_cross_entropy_chooses_and_it_is_said() -> None:
    held = history(run())
    for i, ce in enumerate((3.0, 2.0, 1.5, 1.2, 1.1, 1.1)):
        for j in range(60):
            one = item(10 * i, f"e{j}", False)
            held.add(msgspec.structs.replace(one, ce=ce * (1 + j / 60)))
        held.add(result(10 * i, 0, 60, ce=ce))
        held.add(checkpoint(10 * i))
    found = fixed_eval(held)
    assert (found["em_trend"], found["ce_trend"]) == ("inconclusive", "falling")
    assert (found["best_by"], found["best_ckpt"]) == ("ce", "checkpoint-50")
    assert found["em_says"].startswith("EM cannot tell here: 0 of 60 right; by CE falling (-")


def test_the_evaluations_planned_follow_the_steps_of_the_run() -> None:
    facts = [fact for step in (0, 20, 40) for fact in evaluation(step, score(50))]
    assert planned(history(run(total_steps=400), *facts)) == 21
    assert planned(history(run(total_steps=0), *facts)) == 0
    assert planned(history(run(config={"eval": {"every": 25}}), *evaluation(0, score(50)))) == 5
    assert planned(history(run(), *evaluation(0, score(50)))) == 0


def test_what_an_evaluation_says_does_not_outlive_it() -> None:
    """A run made anew from step 10 has another evaluation there, and a resumed one other plans."""
    held = history(run(), *evaluation(0, score(20)), *evaluation(10, score(80)))
    assert fixed_eval(held)["em_trend"] == "improving"
    held.add(run(step=5, total_steps=2000))
    for fact in evaluation(10, score(21)):
        held.add(fact)
    assert fixed_eval(held)["em"] == 0.21
    assert fixed_eval(held)["em_trend"] == "plateau"
    assert planned(held) == 201


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
    assert found.change.contrast.change == 1.0
    assert found.change.trend == "improving"


def test_examples_of_an_evaluation_that_were_lost_leave_it_open() -> None:
    found = judge(history(*evaluation(0, score(10)), result(10, 90, 100)))
    assert found is not None
    assert found.change.trend == "inconclusive"
    assert (found.change.contrast.change, found.change.detectable) == (0.0, 1.0)


def test_the_margin_comes_from_the_run() -> None:
    assert margin(history()) is None
    assert margin(history(run(config={"eval": {"margin": "auto"}}))) is None
    assert margin(history(run(config={"eval": {"margin": 0.25}}))) == 0.25
    rows = [score(50), score(52), score(51)]
    facts = [fact for i, row in enumerate(rows) for fact in evaluation(i, row)]
    wide = history(run(config={"eval": {"margin": 0.2}}), *facts)
    assert fixed_eval(wide)["em_trend"] == "plateau"
    narrow = history(run(config={"eval": {"margin": 0.01}}), *facts)
    assert fixed_eval(narrow)["em_trend"] == "inconclusive"
    assert fixed_eval(narrow)["margin"] == 0.01
    own = fixed_eval(history(run(), *facts))
    assert (own["em_trend"], own["margin"]) == ("plateau", own["detectable"])


def test_the_best_is_named_with_the_step_it_is_from() -> None:
    found = fixed_eval(scored(100, 200, 300, 250))
    assert (found["best_em"], found["best_em_step"]) == (0.75, 20)
    assert found["best_em_corrected"] <= 0.75


def test_the_reference_can_be_pinned_by_the_run() -> None:
    facts = [fact for i, k in enumerate((40, 60, 80, 99)) for fact in evaluation(10 * i, score(k))]
    assert pinned(history(run(), *facts)) is None
    assert pinned(history(run(config={"eval": {"reference": 5}}), *facts)) is None
    held = history(run(config={"eval": {"reference": 0}}), *facts)
    assert pinned(held) == 0
    assert fixed_eval(held)["em_reference"] == 0
    assert fixed_eval(history(run(), *facts))["em_reference"] == 10  # two against two


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
    flat = scored(0, *[300, 301] * 4)
    since = flat_since(flat)
    assert since is not None
    assert since.step == 40


def test_a_calibration_error_that_is_nan_hides_no_later_rise() -> None:
    facts = [
        fact
        for step, ece in enumerate([0.05, math.nan, 0.09])
        for fact in evaluation(step, score(50), ece=ece)
    ]
    assert fixed_eval(history(*facts))["ece_rise"] is True
    assert np.isnan(history(*facts).evals[1].ece)
