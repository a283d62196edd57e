from __future__ import annotations

from facts import evaluation, history, item, score

from heldout.derive.flips import MOST_SHOWN, flips, latest_flips


def test_an_example_is_learned_or_forgotten_by_its_id() -> None:
    then = [item(0, "a", True), item(0, "b", False), item(0, "c", True), item(0, "gone", True)]
    now = [item(9, "c", False), item(9, "new", True), item(9, "b", True), item(9, "a", True)]
    learned, forgotten = flips(then, now)
    assert [each.id for each in learned] == ["b"]
    assert [each.id for each in forgotten] == ["c"]


def test_flips_are_since_the_evaluation_that_the_trend_compares_with() -> None:
    facts = [*evaluation(0, score(10)), *evaluation(10, score(60)), *evaluation(20, score(80))]
    found = latest_flips(history(*facts, *evaluation(30, score(90))))
    assert (found["since"], found["learned"], found["forgotten"]) == (10, 30, 0)
    assert found["forgotten_items"] == []


def test_before_a_second_evaluation_nothing_can_flip() -> None:
    assert latest_flips(history()) == {}
    assert latest_flips(history(*evaluation(0, score(10)))) == {}


def test_many_flips_are_counted_whole_and_listed_in_part() -> None:
    facts = [*evaluation(0, score(90)), *evaluation(10, score(10))]
    found = latest_flips(history(*facts))
    assert found["forgotten"] == 80
    assert len(found["forgotten_items"]) == MOST_SHOWN
