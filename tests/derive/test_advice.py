"""What to add to the training set: named for its numbers, and only then."""

from __future__ import annotations

import numpy as np
from facts import history, item, note, result, run

from heldout.derive.advice import advise
from heldout.records import Advice, AnyRecord, Item


def answers(**patterns: tuple[int, int]) -> list[Item]:
    """Items at step 0: `math=(3, 10)` is 3 right of 10."""
    return [
        item(0, f"{name}{i}", i < right, pattern=name)
        for name, (right, n) in patterns.items()
        for i in range(n)
    ]


def advice(trained: dict[str, int] | None = None, **patterns: tuple[int, int]) -> list[Advice]:
    rows = answers(**patterns)
    end = result(0, sum(row.correct for row in rows), len(rows))
    return advise(history(run(train_patterns=trained or {}), *rows, end, note(100, "finished")))


def test_the_weak_pattern_is_named_with_the_numbers_that_say_so() -> None:
    (found,) = advice(
        trained={"math": 900, "reasoning": 100},
        math=(95, 100),
        factual=(90, 100),
        reasoning=(50, 100),
    )
    assert found.topic == "data"
    assert found.evidence["pattern"] == "reasoning"
    assert found.evidence["train_share"] == 0.1
    for text in ("'reasoning'", "EM 50%", "[40%, 60%] of 100", "92% of 200", "10.0% of the"):
        assert text in found.message


def test_it_is_the_numbers_and_not_the_name_that_are_weak() -> None:
    patterns = ("coding", "creative", "factual", "math", "reasoning", "mine")
    for weak in patterns:
        scores = {name: (20 if name == weak else 90, 100) for name in patterns}
        assert [found.evidence["pattern"] for found in advice(**scores)] == [weak]


def test_several_weak_patterns_come_worst_first() -> None:
    found = advice(a=(30, 100), b=(10, 100), c=(950, 1000))
    assert [each.evidence["pattern"] for each in found] == ["b", "a"]


def test_nothing_is_said_where_the_numbers_do_not_say_it() -> None:
    assert advise(history()) == []
    assert advice(math=(10, 100)) == [], "nothing to compare with"
    assert advice(math=(0, 9), factual=(100, 100)) == [], "too few to know"
    assert advice(math=(45, 50), factual=(48, 50)) == [], "the intervals overlap"
    assert advice(unmatched=(0, 50), factual=(50, 50)) == [], "nobody can add 'unmatched' rows"


def test_a_training_set_without_the_pattern_has_a_share_of_zero() -> None:
    (found,) = advice(trained={"factual": 10}, math=(0, 50), factual=(50, 50))
    assert found.evidence["train_share"] == 0.0


def test_patterns_that_are_equal_are_rarely_called_weak() -> None:
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(300):
        right = rng.binomial(60, 0.7, size=5)
        wrong += bool(advice(**{f"p{i}": (int(k), 60) for i, k in enumerate(right)}))
    assert wrong / 300 <= 0.05


def looks(rates: dict[int, float], trained: dict[str, int], *more: AnyRecord) -> list[Advice]:
    """Evaluations in which 'reasoning' is right at these rates of 100, and 'math' always."""
    facts: list[AnyRecord] = [run(train_patterns=trained)]
    for step, rate in rates.items():
        rows = [item(step, f"r{i}", i < 100 * rate, "reasoning") for i in range(100)]
        rows += [item(step, f"m{i}", True, "math") for i in range(100)]
        facts += [*rows, result(step, sum(row.correct for row in rows), 200)]
    return [x for x in advise(history(*facts, *more)) if x.topic == "data"]


END = note(100, "finished")
FLAT = {0: 0.0, 25: 0.2, 50: 0.3, 75: 0.3, 100: 0.3}
RISING = {0: 0.0, 25: 0.05, 50: 0.2, 75: 0.4, 100: 0.6}


def test_the_pattern_its_rows_and_its_share_speak_and_nothing_is_promised() -> None:
    (found,) = looks(FLAT, {"math": 900, "reasoning": 100}, END)
    said = found.message
    assert (
        "need more 'reasoning' examples: EM 30% [22%, 40%] of 100, the others 100% of 100" in said
    )
    assert (
        "10.0% of the training rows are of it (100; the other patterns have 900 on average)" in said
    )
    assert "never right: lines 0, 0, 0, 0, 0, ..." in said
    assert "expected" not in said
    assert not {"gain", "gain_low", "add"} & found.evidence.keys()


def test_a_pattern_that_has_its_rows_is_to_be_looked_at_first() -> None:
    (found,) = looks(FLAT, {"math": 300, "reasoning": 500}, END)
    assert found.message.startswith("look at the 'reasoning' rows before you add more: EM 30%")


def test_one_early_look_names_nobody() -> None:
    early = {0: 0.0, 10: 0.2}
    assert looks(early, {"math": 900, "reasoning": 100}) == []
    cut = note(17, "failed", "KeyboardInterrupt")
    assert looks(early, {"math": 900, "reasoning": 100}, cut) == [], "it ended, and was not done"


def test_three_looks_in_the_first_half_name_nobody_and_later_ones_do() -> None:
    flat = {0: 0.0, 10: 0.2, 20: 0.25, 30: 0.3}
    assert looks(flat, {}) == []
    assert looks({**flat, 70: 0.3, 80: 0.3}, {})


def test_a_pattern_that_still_rises_is_not_called_short_of_data() -> None:
    assert looks(RISING, {}, END) == [], "it learns later than the others"
    assert looks({step: 0.5 * rate for step, rate in FLAT.items()}, {}, END), "this one does not"


def test_a_pattern_that_is_trained_on_and_not_measured_is_a_gap() -> None:
    (found,) = advice(
        trained={"math": 900, "coding": 90, "rare": 10}, math=(95, 100), coding=(1, 2)
    )
    assert (found.topic, found.evidence["pattern"]) == ("coverage", "coding")
    assert "has 2 'coding' examples, which are 9% of the training rows: add 28" in found.message
