"""Eval losses of a log without a fixed set: flat, and the decision that follows."""

from __future__ import annotations

import pytest
from facts import at, checkpoint, evaluation, history, note, run, score

from heldout.records import AnyRecord, Decision, Sample, Verdict
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
        (FLAT, [1, 0.9, 0.8, 0.7, 0.5, 0.4], "linear", "info"),
        (FLAT, [1, 0.9, 0.8, 0.8, 0.7, 0.6], "linear", "fine"),
        (FLAT, [1] * 6, "constant", "info"),
        (FLAT, [1] * 6, "linear", "fine"),
        ([3.0, 2.5, 2.0, 1.6, 1.3, 1.0], [1, 0.9, 0.8, 0.7, 0.5, 0.4], "linear", "fine"),
        ([1.0, 0.9, 0.9, float("nan"), 0.9, 0.9], [0.1] * 6, "constant", "info"),
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
    assert "better" not in last.reason  # that of step 50 was, and is not on disk


def test_after_the_end_it_says_that_no_later_evaluation_was_better() -> None:
    facts = [run(learning_rate="constant", total_steps=60), *log(FLAT, [1] * 6), checkpoint(50)]
    decisions = [
        each for each in judge([*facts, note(60, "finished")]) if isinstance(each, Decision)
    ]
    assert (decisions[-1].action, decisions[-1].checkpoint) == ("none", "checkpoint-50")
    assert "the one evaluation since step 50 was no better" in decisions[-1].reason
    assert "brought nothing" not in decisions[-1].reason


def test_without_a_budget_a_flat_loss_is_told_and_ends_nothing() -> None:
    facts = [run(learning_rate="constant", total_steps=0), *log(FLAT, [1] * 6)]
    (alert,) = [
        each for each in judge(facts) if isinstance(each, Verdict) and each.rule == RULE.name
    ][-1:]
    assert (alert.state, alert.level) == ("open", "info")
    assert "how many are planned is not known" in alert.message
    last = [each for each in judge(facts) if isinstance(each, Decision)][-1]
    assert last.action == "continue"
    falling = [2.0, 1.9, 1.8, 1.7, 1.6, 1.5]
    assert RULE.look(history(facts[0], *log(falling, [1] * 6))) == []


def test_with_hardly_anything_left_there_is_nothing_to_stop() -> None:
    for total, stage in ((70, "open"), (62, "holding")):
        found = RULE.look(
            history(run(learning_rate="constant", total_steps=total), *log(FLAT, [1] * 6))
        )
        assert isinstance(found, list)
        assert found[0].stage == stage


def test_each_evaluation_set_is_judged_and_one_decides() -> None:
    rising = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5]
    facts: list[AnyRecord] = [run(learning_rate="constant")]
    for i, (flat, other) in enumerate(zip(FLAT, rising, strict=True), start=1):
        values = {"eval/hard_loss": flat, "eval/easy_loss": other, "learning_rate": 1.0}
        facts.append(Sample(step=10 * i, time=at(10 * i), values=values))
    found = RULE.look(history(*facts))
    assert isinstance(found, list)
    assert [(each.scope, each.level) for each in found] == [("hard", "info")]
    assert found[0].action == "Nothing: eval loss on easy decides."
    decisions = [each for each in judge(facts) if isinstance(each, Decision)]
    assert decisions[-1].action == "continue"
    assert "eval loss on easy 0.5" in decisions[-1].reason
    assert "the first of 2 evaluation sets by name: easy, hard" in decisions[-1].reason
    facts[0] = run(learning_rate="constant", training={"metric_for_best_model": "eval_hard_loss"})
    decisions = [each for each in judge(facts) if isinstance(each, Decision)]
    assert decisions[-1].action == "stop"
    assert "Eval loss on hard is flat" in decisions[-1].reason


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
