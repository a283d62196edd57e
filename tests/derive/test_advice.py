"""What to add to the training set: named for its numbers, and only then."""

from __future__ import annotations

import numpy as np
from facts import history, item, result, run

from heldout.derive.advice import advise
from heldout.records import Advice, Item


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
    return advise(history(run(train_patterns=trained or {}), *rows, end))


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
