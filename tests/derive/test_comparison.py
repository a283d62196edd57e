"""Checkpoints side by side, against the parts that the numbers come from."""

from __future__ import annotations

import numpy as np
import pytest
from facts import checkpoint, evaluation, history, result, run, score

from heldout.derive.comparison import compare
from heldout.derive.history import History
from heldout.records import AnyRecord, EvalResult, Item
from heldout.stats.intervals import bonett_price, detectable, wilson
from heldout.stats.paired import mcnemar


def scored(*correct: int, n: int = 100) -> list[AnyRecord]:
    """One evaluation a number, at steps 0, 10, 20, ..., each saved."""
    facts: list[AnyRecord] = [run()]
    for i, right in enumerate(correct):
        facts += [*evaluation(10 * i, score(right, n)), checkpoint(10 * i)]
    return facts


def test_each_is_compared_with_the_first_and_with_the_one_before() -> None:
    found = compare(history(*scored(10, 60, 80)))
    assert found is not None
    first, second, third = found.rows
    assert first.since_first is None
    assert first.since_previous is None
    assert second.since_first == second.since_previous
    since = third.since_first
    assert since is not None
    assert (since.learned, since.forgotten, since.n) == (70, 0, 100)
    assert since.em_change == pytest.approx(0.7)
    assert (since.em_change_low, since.em_change_high) == bonett_price(70, 0, 100)
    assert since.p == mcnemar(70, 0)
    assert third.since_previous is not None
    assert third.since_previous.learned == 20
    assert third.token_em == wilson(80, 100)


def test_the_best_is_kept_and_rivals_set_what_can_be_seen() -> None:
    found = compare(history(*scored(10, 79, 80)))
    assert found is not None
    assert [row.tied for row in found.rows] == [False, True, True]
    assert found.facts["best_ckpt"] == "checkpoint-20"
    assert found.detectable == detectable(1, 0, 100)
    alone = compare(history(*scored(10, 20, 80)))
    assert alone is not None
    assert [row.tied for row in alone.rows] == [False, False, True]
    assert alone.detectable == detectable(70, 0, 100)


def test_one_evaluation_has_nothing_beside_it() -> None:
    found = compare(history(*scored(40)))
    assert found is not None
    assert found.detectable is None
    assert found.rows[0].tied
    assert compare(History()) is None


def test_what_is_not_finite_is_not_kept() -> None:
    facts = [run(), *evaluation(0, score(50), non_finite=3), checkpoint(0)]
    found = compare(history(*facts))
    assert found is not None
    assert found.facts["best_ckpt"] is None
    assert not found.rows[0].tied


def test_grouped_examples_are_worth_fewer_and_have_no_mcnemar_test() -> None:
    answers = np.repeat([True, False, True, True, False, True], 10)
    facts: list[AnyRecord] = [run()]
    for step in (0, 10):
        right = answers if step else ~answers
        for i, correct in enumerate(right.tolist()):
            one: Item = evaluation(step, [correct])[0]  # type: ignore[assignment]
            facts.append(
                Item(
                    **{name: getattr(one, name) for name in one.__struct_fields__}
                    | {"id": f"e{i}", "group": f"g{i // 10}"}
                )
            )
        facts += [result(step, int(right.sum()), 60), checkpoint(step)]
    found = compare(history(*facts))
    assert found is not None
    since = found.rows[1].since_first
    assert since is not None
    assert since.p is None
    low, high = found.rows[1].token_em
    assert high - low > np.diff(wilson(40, 60))[0]
    assert isinstance(found.rows[1].result, EvalResult)
