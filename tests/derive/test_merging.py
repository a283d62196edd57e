from __future__ import annotations

from facts import checkpoint, evaluation, history, note, run, sample, score

from heldout.derive.merging import Scored, merge
from heldout.records import EvalResult, Item


def scored(step: int, correct: int, **changes: float) -> Scored:
    facts = evaluation(step, score(correct), **changes)
    items = [fact for fact in facts if isinstance(fact, Item)]
    (result,) = [fact for fact in facts if isinstance(fact, EvalResult)]
    return items, result


def watched() -> list[object]:
    return [
        run(),
        sample(1),
        *evaluation(10, score(20)),
        sample(15),
        *evaluation(20, score(40)),
        checkpoint(20),
        sample(25),
        note(25, "finished"),
    ]


def test_steps_that_the_run_did_not_score_are_put_in_order() -> None:
    found = history(*watched())  # type: ignore[arg-type]
    said = merge(found, {0: scored(0, 5), 15: scored(15, 30), 30: scored(30, 50)})
    assert said == ["added: step 0, 15, 30"]
    assert [result.step for result in found.evals] == [0, 10, 15, 20, 30]
    assert [result.correct for result in found.evals] == [5, 20, 30, 40, 50]
    assert {step: len(items) for step, items in found.items.items()} == dict.fromkeys(
        (0, 10, 15, 20, 30), 100
    )
    assert found.ended == "finished"
    assert len(found.columns.get("loss/step")) == 3


def test_steps_that_both_scored_are_compared_and_the_runs_stay() -> None:
    found = history(*watched())  # type: ignore[arg-type]
    before = list(found.evals)
    said = merge(found, {10: scored(10, 20), 20: scored(20, 37, ce=0.7)})
    assert said == [
        "step 10: as the run itself found, on all 100 examples",
        "step 20 DIFFERS from what the run found: 3 of 100 answers (0 near-ties), CE 0.5000 in "
        "the run and 0.7000 now",
    ]
    assert found.evals == before


def test_another_cross_entropy_alone_is_a_difference_and_so_is_none() -> None:
    found = history(*watched())  # type: ignore[arg-type]
    assert "DIFFERS" in merge(found, {10: scored(10, 20, ce=0.502)})[0]
    assert "as the run" in merge(found, {10: scored(10, 20, ce=0.5001)})[0]
    assert "DIFFERS" in merge(found, {10: scored(10, 20, ce=float("nan"))})[0]
