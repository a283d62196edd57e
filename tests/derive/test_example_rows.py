"""The fixed set example by example, and two runs on it."""

from __future__ import annotations

import pytest
from facts import evaluation, item, run

from heldout.derive.comparison import between
from heldout.derive.examples import ABOUT, examples
from heldout.derive.history import History
from heldout.records import AnyRecord

WENT = {"a": "0011", "b": "1100", "c": "0000", "d": "1111", "e": "0101"}


def history(went: dict[str, str]) -> History:
    records: list[AnyRecord] = [run()]
    for step in range(len(next(iter(went.values())))):
        rows = [item(step, name, signs[step] == "1") for name, signs in went.items()]
        records += [*rows, evaluation(step, {"x": True})[-1]]
    return History.of(records)


def test_each_example_says_how_it_went_and_what_it_is() -> None:
    found = {e.item.id: e for e in examples(history(WENT))}
    assert {name: e.went for name, e in found.items()} == WENT
    assert found["a"].kinds == {"right", "learned"}
    assert found["b"].kinds == {"wrong", "forgotten"}
    assert found["c"].kinds == {"wrong", "suspicious"}  # its cross-entropy stands out
    assert found["d"].kinds == {"right"}
    assert {kind for e in found.values() for kind in e.kinds} <= set(ABOUT)


def test_without_an_evaluation_there_are_none() -> None:
    assert examples(History.of([run()])) == []


def test_an_example_that_an_evaluation_left_out_is_neither_right_nor_wrong() -> None:
    records: list[AnyRecord] = [run(), item(0, "a", True), evaluation(0, {"x": True})[-1]]
    records += [item(1, "a", True), item(1, "b", True), evaluation(1, {"x": True})[-1]]
    assert [e.went for e in examples(History.of(records))] == ["11", "-1"]


def test_two_evaluations_are_paired_by_id_in_any_order() -> None:
    then = [item(0, "a", True), item(0, "b", False), item(0, "only", True)]
    now = [item(9, "b", True), item(9, "a", True)]
    found = between(then, now)
    assert found is not None
    assert (found.n, found.learned, found.forgotten, found.em_change) == (2, 1, 0, 0.5)
    assert found.p == 1.0
    assert found.em_change_low < found.em_change < found.em_change_high


@pytest.mark.parametrize("now", [[], [item(0, "z", True)]])
def test_evaluations_that_share_nothing_are_not_paired(now: list[object]) -> None:
    assert between([item(0, "a", True)], now) is None  # type: ignore[arg-type]
