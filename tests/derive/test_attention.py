"""The rows to look at first, and why."""

from __future__ import annotations

import msgspec
from facts import at, history, item, result, run

from heldout.derive.attention import Row, counts, rows_to_look_at
from heldout.records import AnyRecord, Data, Rows


def scored(step: int, **right: bool) -> list[AnyRecord]:
    """An evaluation: `a=True` is that example `a` is right."""
    items = [
        msgspec.structs.replace(item(step, name, ok), line=i, ce=20.0 if name == "strange" else 1.0)
        for i, (name, ok) in enumerate(right.items(), start=1)
    ]
    return [*items, result(step, sum(right.values()), len(right))]


def found(*facts: AnyRecord) -> list[tuple[str, str]]:
    return [(row.why, row.id) for row in rows_to_look_at(history(run(), *facts))]


def test_an_example_wrong_at_every_evaluation_is_persistent_and_a_strange_one_suspicious() -> None:
    answers = {"never": False, "strange": False, "late": False, **dict.fromkeys("abcd", True)}
    looks = [scored(step, **answers) for step in (0, 10, 20)]
    last = scored(30, **(answers | {"late": True}))
    everything = [fact for look in [*looks, last] for fact in look]
    assert found(*everything) == [("suspicious", "strange"), ("persistent", "never")]


def test_two_evaluations_after_the_first_are_too_few() -> None:
    looks = [fact for step in (0, 10, 20) for fact in scored(step, a=False, b=True)]
    assert found(*looks) == []


def test_right_before_and_wrong_now_is_forgotten() -> None:
    facts = [*scored(0, a=True, b=False), *scored(10, a=True, b=True), *scored(20, a=False, b=True)]
    assert found(*facts) == [("forgotten", "a")]


def test_the_training_sets_rows_come_with_their_partners() -> None:
    data = Data(
        time=at(0),
        rows=9,
        looked_at=9,
        tokens=90,
        label_tokens=50,
        found={"duplicate": Rows(n=1, rows=[7], partners=[2]), "leaked": Rows(n=1, rows=[3])},
    )
    assert rows_to_look_at(history(run(), data)) == [
        Row(why="duplicate", set="train", line=7, partner=2),
        Row(why="leaked", set="train", line=3),
    ]


def test_the_counts_of_a_pattern_name_its_lines() -> None:
    answers = {"never": False, "b": True}
    facts = [fact for step in (0, 10, 20, 30) for fact in scored(step, **answers)]
    assert counts(history(run(), *facts), "math") == {"persistent": [1]}
    assert counts(history(run(), *facts), "coding") == {}
