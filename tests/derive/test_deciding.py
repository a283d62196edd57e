"""Which held-out number decides, and which way is better."""

from __future__ import annotations

import math
from typing import Any

from facts import at, history, metric, run

from heldout.derive.deciding import Deciding, deciding, deciding_each, sets
from heldout.derive.eval_curve import deciding_curve
from heldout.derive.history import History
from heldout.records import AnyRecord, Direction, Sample

KNOWN: dict[str, Direction] = {
    "eval/accuracy": "higher",
    "eval/f1": "higher",
    "eval/wer": "lower",
    "eval/mean_token_accuracy": "higher",
    "eval/perplexity": "lower",
}


def folded(training: dict[str, Any] | None = None, **curves: list[float]) -> History:
    """A run whose evaluations at steps 10, 20, ... hold these; a name's `__` stands for `/`."""
    facts: list[AnyRecord] = [run(training=training or {})]
    facts += [metric(name, way) for name, way in KNOWN.items()]
    for i, values in enumerate(zip(*curves.values(), strict=True), start=1):
        named = {name.replace("__", "/"): v for name, v in zip(curves, values, strict=True)}
        facts.append(Sample(step=10 * i, time=at(10 * i), values=named))
    return history(*facts)


def chosen(history: History) -> tuple[str, bool, str]:
    found = deciding(history)
    assert found is not None
    return found.name, found.lower, found.why


def test_the_metric_that_the_run_names_decides_whatever_its_kind() -> None:
    curves = {
        "loss__trainer_eval": [2.0, 1.0, 1.5],
        "eval__accuracy": [0.1, 0.2, 0.3],
        "eval__my_score": [3.0, 2.0, 1.0],
        "eval__rougel": [0.1, 0.2, 0.1],
    }
    for named, training, expected in (
        ("loss", {}, ("loss/trainer_eval", True)),
        ("eval_loss", {"greater_is_better": False}, ("loss/trainer_eval", True)),
        ("my_score", {"greater_is_better": False}, ("eval/my_score", True)),
        ("eval_my_score", {"greater_is_better": True}, ("eval/my_score", False)),
        ("my_score", {}, ("eval/my_score", False)),  # as the Trainer takes it
        ("eval_rougeL", {"greater_is_better": True}, ("eval/rougel", False)),
        ("never_logged", {}, ("eval/accuracy", False)),
    ):
        found = chosen(folded({"metric_for_best_model": named, **training}, **curves))
        assert found[:2] == expected, named


def test_lower_is_better_for_an_error_rate_whatever_the_trainer_took_it_for() -> None:
    wer = {"loss__trainer_eval": [1.0, 1.1, 1.2], "eval__wer": [0.9, 0.5, 0.6]}
    name, lower, why = chosen(
        folded({"metric_for_best_model": "wer", "greater_is_better": True}, **wer)
    )
    assert (name, lower) == ("eval/wer", True)
    assert "set greater_is_better=False" in why
    curve = deciding_curve(folded(None, **wer))
    assert curve is not None
    assert (curve.title, curve.best, curve.best_step, curve.last) == ("eval wer", 0.5, 20, 0.6)


def test_the_trainers_best_metric_names_the_number_that_holds_it_there() -> None:
    curves = {
        "loss__trainer_eval": [1.0, 1.1, 1.2],
        "eval__accuracy": [0.7, 0.7, 0.7],
        "eval__odd": [5.0, 3.0, 4.0],
    }
    best = {"best_metric": 3.0, "best_global_step": 20}
    assert chosen(folded(best, **curves)) == ("eval/odd", True, "the Trainer's own best_metric")
    assert chosen(folded(best | {"best_metric": 9.0}, **curves))[0] == "eval/accuracy"
    assert chosen(folded(best | {"best_global_step": 10}, **curves))[0] == "eval/accuracy"
    high = {**curves, "eval__odd": [1.0, 3.0, 2.0]}
    assert chosen(folded(best, **high))[:2] == ("eval/odd", False)
    middle = {**curves, "eval__odd": [1.0, 3.0, 4.0]}  # neither way: nothing says which is better
    assert chosen(folded(best, **middle))[0] == "eval/accuracy"
    worst = {"best_metric": 0.9, "best_global_step": 10}
    found = chosen(folded(worst, eval__wer=[0.9, 0.5, 0.6]))
    assert found[:2] == ("eval/wer", True)
    assert "set greater_is_better=False" in found[2]


def test_a_tasks_metric_comes_before_the_loss_and_one_of_the_loss_does_not() -> None:
    three = [0.1, 0.2, 0.3]
    both = folded(None, loss__trainer_eval=three, eval__f1=three, eval__accuracy=three)
    assert chosen(both) == ("eval/accuracy", False, "")
    same = folded(
        None, loss__trainer_eval=three, eval__mean_token_accuracy=three, eval__perplexity=three
    )
    assert chosen(same)[0] == "loss/trainer_eval"
    few = folded(None, loss__trainer_eval=[2.0, 1.0], eval__accuracy=[0.1, 0.2])
    assert chosen(few)[0] == "loss/trainer_eval"
    assert deciding(folded(None, eval__unheard_of=three)) is None
    assert deciding(history(run())) is None


def test_of_several_sets_the_first_by_name_decides_and_each_has_its_own() -> None:
    three = [0.3, 0.2, 0.1]
    several = folded(None, eval__hard_loss=three, eval__easy_loss=three, eval__easy_wer=three)
    assert sets(several) == {"easy": "eval/easy_loss", "hard": "eval/hard_loss"}
    assert [(each.scope, each.name) for each in deciding_each(several)] == [
        ("easy", "eval/easy_loss"),  # no Metric says what easy_wer means
        ("hard", "eval/hard_loss"),
    ]
    several.add(metric("eval/easy_wer", "lower"))
    several.add(Sample(step=40, time=at(40), values={"eval/easy_wer": 0.1}))
    found = deciding_each(several)
    assert [each.name for each in found] == ["eval/easy_wer", "eval/hard_loss"]
    assert found[0].why == "the first of 2 evaluation sets by name: easy, hard"
    named = folded(
        {"metric_for_best_model": "eval_hard_loss"}, eval__hard_loss=three, eval__easy_loss=three
    )
    assert [(each.scope, each.why) for each in deciding_each(named)] == [
        ("hard", "metric_for_best_model"),
        ("easy", ""),
    ]


def test_one_set_under_two_names_is_one_and_a_part_of_the_loss_is_none() -> None:
    losses = [1.0, math.nan, 0.5]
    alias = folded(None, loss__trainer_eval=losses, eval__mine_loss=losses)
    assert sets(alias) == {"": "loss/trainer_eval"}
    assert sets(folded(None, eval__mine_loss=losses)) == {"": "eval/mine_loss"}
    second = [0.3, 0.2, 0.1]
    both = folded(None, loss__trainer_eval=losses, eval__b_loss=losses, eval__a_loss=second)
    assert sets(both) == {"a": "eval/a_loss", "b": "eval/b_loss"}  # b was logged first, live
    own = folded(None, loss__trainer_eval=losses, eval__a_loss=second)
    assert sets(own) == {"": "loss/trainer_eval", "a": "eval/a_loss"}
    parts = folded(None, loss__trainer_eval=losses, eval__box_loss=losses, train__box_loss=losses)
    assert sets(parts) == {"": "loss/trainer_eval"}
    assert deciding(parts) == Deciding("loss/trainer_eval", lower=True)
