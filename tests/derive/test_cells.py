"""The change of each cell of the matrix, example by example, against counting by hand."""

from __future__ import annotations

from facts import evaluation, history, item, result, run

from heldout.derive.cells import changes
from heldout.derive.patterns import ENOUGH
from heldout.records import AnyRecord
from heldout.stats.intervals import bonett_price


def scored(step: int, right: dict[str, list[bool]]) -> list[AnyRecord]:
    """An evaluation of examples by pattern, half of each in a second length bin."""
    items = [
        item(step, f"{pattern}-{i}", correct, pattern=pattern, bin="0-100" if i % 2 else "100-300")
        for pattern, answers in right.items()
        for i, correct in enumerate(answers)
    ]
    return [*items, result(step, sum(each.correct for each in items), len(items))]


def test_there_is_no_change_before_the_second_evaluation() -> None:
    assert changes(history(run(), *evaluation(0, [True] * 20))) == {"previous": None, "best": None}


def test_a_cell_counts_its_own_examples_and_a_row_all_of_its_pattern() -> None:
    n = 2 * ENOUGH
    then = {"math": [False] * n, "coding": [True] * n}
    now = {"math": [i < 6 for i in range(n)], "coding": [i >= 2 for i in range(n)]}
    found = changes(history(run(), *scored(0, then), *scored(5, now)))["previous"]
    assert found["since"] == 0
    cells = {(cell["pattern"], cell["bin"]): cell for cell in found["cells"]}
    assert list(cells) == [
        ("coding", "0-100"),
        ("coding", "100-300"),
        ("coding", None),
        ("math", "0-100"),
        ("math", "100-300"),
        ("math", None),
    ]
    low, high = bonett_price(6, 0, n)
    assert cells["math", None] == {
        "pattern": "math",
        "bin": None,
        "n": n,
        "learned": 6,
        "forgotten": 0,
        "change": 6 / n,
        "low": low,
        "high": high,
        "known": True,
    }
    assert (cells["coding", "0-100"]["learned"], cells["coding", "0-100"]["forgotten"]) == (0, 1)
    assert cells["coding", "0-100"]["known"]  # just enough examples


def test_too_few_examples_say_so() -> None:
    few = {"math": [True] * (2 * ENOUGH - 2)}
    found = changes(history(run(), *scored(0, few), *scored(5, few)))["previous"]
    assert [cell["known"] for cell in found["cells"]] == [False, False, True]


def test_the_best_is_named_only_while_it_is_not_the_latest() -> None:
    n = 2 * ENOUGH
    low, high = {"math": [False] * n}, {"math": [True] * n}
    rising = history(run(), *scored(0, low), *scored(5, high))
    assert changes(rising)["best"] is None
    falling = history(run(), *scored(0, low), *scored(5, high), *scored(9, low))
    assert changes(falling)["best"]["since"] == 5
    assert changes(falling)["best"]["cells"][-1]["forgotten"] == n


def test_an_example_of_one_evaluation_only_is_left_out() -> None:
    grown = history(run(), *scored(0, {"math": [True] * 20}), *scored(5, {"math": [False] * 24}))
    assert changes(grown)["previous"]["cells"][-1]["n"] == 20
