"""Eval losses of a log without a fixed set: flat, and the decision that follows."""

from __future__ import annotations

import pytest
from facts import at, checkpoint, evaluation, history, note, run, score

from heldout.records import AnyRecord, Decision, Sample
from heldout.verdicts.judge import judge
from heldout.verdicts.rule import NotChecked
from heldout.verdicts.rules.eval_plateau import RULE

FLAT = [2.0, 1.0, 0.9, 0.899, 0.898, 0.898]


def log(losses: list[float], rates: list[float]) -> list[AnyRecord]:
    return [
        Sample(
            step=10 * i,
            time=at(10 * i),
            values={"loss/trainer_eval": loss, "learning_rate": rate},
        )
        for i, (loss, rate) in enumerate(zip(losses, rates, strict=True), start=1)
    ]


@pytest.mark.parametrize(
    ("losses", "rates", "schedule", "state"),
    [
        ([2.0, 1.0, 0.9], [1, 0.9, 0.4], "linear", "not checked"),
        (FLAT, [1, 0.9, 0.8, 0.7, 0.5, 0.4], "linear", "warning"),
        (FLAT, [1, 0.9, 0.8, 0.8, 0.7, 0.6], "linear", "fine"),
        (FLAT, [1] * 6, "constant", "warning"),
        (FLAT, [1] * 6, "linear", "fine"),
        ([3.0, 2.5, 2.0, 1.6, 1.3, 1.0], [1, 0.9, 0.8, 0.7, 0.5, 0.4], "linear", "fine"),
        ([1.0, 0.9, 0.9, float("nan"), 0.9, 0.9], [0.1] * 6, "constant", "warning"),
    ],
)
def test_flat_only_when_the_rate_has_fallen(
    losses: list[float], rates: list[float], schedule: str, state: str
) -> None:
    found = RULE.look(history(run(learning_rate=schedule), *log(losses, rates)))
    if isinstance(found, NotChecked):
        assert state == "not checked"
    else:
        assert (found[0].level if found else "fine") == state


def test_a_run_with_a_fixed_set_is_not_judged_by_its_eval_loss() -> None:
    facts = [run(learning_rate="constant"), *log(FLAT, [1] * 6), *evaluation(60, score(5))]
    assert isinstance(RULE.look(history(*facts)), NotChecked)


def test_the_decision_stops_keeps_the_best_and_says_what_it_saves() -> None:
    facts = [run(learning_rate="constant"), checkpoint(40), *log(FLAT, [1] * 6)]
    decisions = [each for each in judge(facts) if isinstance(each, Decision)]
    last = decisions[-1]
    assert (last.action, last.checkpoint) == ("stop", "checkpoint-40")
    assert last.evidence["steps_saved"] == 40
    assert "stopping now saves 40 steps (40%)" in last.reason
    assert "brought nothing that can be measured" in last.reason


def test_after_the_end_it_says_what_was_wasted() -> None:
    facts = [run(learning_rate="constant", total_steps=60), *log(FLAT, [1] * 6), checkpoint(40)]
    decisions = [
        each for each in judge([*facts, note(60, "finished")]) if isinstance(each, Decision)
    ]
    assert decisions[-1].action == "none"
    assert "the 20 steps from step 40 to 60 (33%) brought nothing" in decisions[-1].reason


def test_the_decision_follows_each_evaluation_of_the_trainer() -> None:
    falling = [1.0 / i for i in range(1, 21)]
    decisions = [d for d in judge([run(), *log(falling, [1] * 20)]) if isinstance(d, Decision)]
    assert "eval loss 0.05, best 0.05 at step 200, of 20 evaluations" in decisions[-1].reason


def test_after_the_end_there_is_nothing_to_stop() -> None:
    nan = Sample(step=61, time=at(61), values={"loss/step": float("nan")})
    facts = [run(total_steps=61), *log(FLAT, [1] * 6), nan, note(61, "finished")]
    decisions = [each for each in judge(facts) if isinstance(each, Decision)]
    assert decisions[-1].action == "none"
    assert "NaN" in decisions[-1].reason
