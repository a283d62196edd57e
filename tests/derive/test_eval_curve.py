"""The Trainer's own held-out loss where there is no fixed set."""

from __future__ import annotations

import math

from facts import at, checkpoint, history, metric, run

from heldout.derive.eval_curve import EvalCurve, deciding_curve, eval_curve, tied_steps
from heldout.derive.history import History
from heldout.records import AnyRecord, Sample


def losses(*values: float) -> list[AnyRecord]:
    """Held-out losses at steps 10, 20, ..."""
    return [
        Sample(step=10 * i, time=at(10 * i), values={"loss/trainer_eval": value})
        for i, value in enumerate(values, start=1)
    ]


def known(history: History) -> EvalCurve:
    found = eval_curve(history)
    assert found is not None
    return found


def test_nothing_finite_is_no_curve() -> None:
    assert eval_curve(history(run())) is None
    assert eval_curve(history(run(), *losses(math.nan, math.inf))) is None


def test_a_nan_is_left_out_and_the_rest_judged() -> None:
    found = known(history(run(), *losses(2.0, math.nan, 1.0, 1.1)))
    assert (found.steps, found.best_step, found.best, found.last) == ([10, 30, 40], 30, 1.0, 1.1)


def test_it_is_judged_anew_when_a_loss_comes_in() -> None:
    facts = history(run(), *losses(2.0, 1.0))
    assert known(facts).best == 1.0
    for fact in losses(2.0, 1.0, 0.5)[2:]:
        facts.add(fact)
    assert known(facts).best == 0.5


def test_the_checkpoint_to_keep_is_the_best_one_that_is_saved_and_not_the_earliest_tied() -> None:
    facts = history(run(), *losses(2.0, 1.001, 1.0, 1.2), checkpoint(30), checkpoint(20))
    assert tied_steps(facts, known(facts)) == ["checkpoint-30", "checkpoint-20"]


def test_where_none_of_the_tied_is_saved_it_is_the_best_saved_one() -> None:
    facts = history(run(), *losses(2.0, 1.0, 1.2, 1.4), checkpoint(30), checkpoint(40))
    assert tied_steps(facts, known(facts)) == ["checkpoint-30"]
    assert tied_steps(history(), known(facts)) == []


def test_a_tasks_own_metric_decides_where_there_is_one() -> None:
    rising = [2.0, 1.0, 1.5, 1.9]
    accuracy = [0.5, 0.6, 0.9, 0.7]
    facts: list[AnyRecord] = [
        Sample(step=10 * i, time=at(10 * i), values={"loss/trainer_eval": x, "eval/accuracy": y})
        for i, (x, y) in enumerate(zip(rising, accuracy, strict=True), start=1)
    ]
    facts.insert(0, metric("eval/accuracy", "higher"))
    found = deciding_curve(history(run(), *facts))
    assert found is not None
    assert (found.title, found.best_step, found.best, found.last) == ("eval accuracy", 30, 0.9, 0.7)
    early = deciding_curve(history(run(), *facts[:3]))
    assert early is not None
    assert early.title == "eval loss"
    assert deciding_curve(history()) is None
