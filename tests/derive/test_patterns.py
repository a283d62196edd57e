"""Patterns of work by length of answer."""

from __future__ import annotations

import pytest
from facts import item
from hypothesis import given
from hypothesis import strategies as st

from heldout.derive.patterns import (
    BIN_NAMES,
    ENOUGH,
    PatternTracker,
    classify,
    get_default_patterns,
    length_bin,
    matrix,
)

ANSWERS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(BIN_NAMES), st.booleans()), max_size=60
)


@pytest.mark.parametrize(
    ("prompt", "pattern"),
    [
        ("Write a Python function that adds two numbers.", "coding"),
        ("What does print('x') show?", "coding"),
        ("Write a regex for a date", "coding"),
        ("```\nx = 1\n```", "coding"),
        ("Write a poem about the sum of all things", "creative"),
        ("Tell me two stories.", "creative"),
        ("Anna is taller than Ben. Who is the tallest?", "reasoning"),
        ("Think step by step: which lamp is on?", "reasoning"),
        ("What is 3 + 4?", "math"),
        ("CALCULATE the area", "math"),
        ("12×3", "math"),
        ("What is the capital of France?", "factual"),
        ("Name a noble gas", "factual"),
        ("Hello there", "unmatched"),
        ("", "unmatched"),
        ("The programme was historic", "unmatched"),  # whole words, not pieces of them
    ],
)
def test_a_prompt_belongs_to_the_first_pattern_found_in_it(prompt: str, pattern: str) -> None:
    assert classify(prompt, 5, get_default_patterns()) == (pattern, "0-100")


def test_patterns_of_ones_own_are_tried_in_their_order() -> None:
    assert classify("one two", 1, {"b": "two", "a": "one"})[0] == "b"
    assert classify("one two", 1, {"a": "one", "b": "two"})[0] == "a"
    assert classify("one two", 1, {})[0] == "unmatched"


@pytest.mark.parametrize(
    ("num_tokens", "name"),
    [
        (0, "0-100"),
        (100, "0-100"),
        (101, "100-300"),
        (300, "100-300"),
        (301, "300-500"),
        (500, "300-500"),
        (501, "500-1000"),
        (1000, "500-1000"),
        (1001, "1000-2000"),
        (2000, "1000-2000"),
        (2001, "2000+"),
        (10**9, "2000+"),
    ],
)
def test_the_upper_edge_of_a_length_bin_is_its_own(num_tokens: int, name: str) -> None:
    assert length_bin(num_tokens) == name
    assert name in BIN_NAMES


@given(ANSWERS)
def test_the_tracker_and_the_fold_of_items_count_the_same(
    answers: list[tuple[str, str, bool]],
) -> None:
    tracker = PatternTracker({})
    for pattern, bin_name, correct in answers:
        tracker.record(pattern, bin_name, correct)
    rows = [item(0, f"e{i}", right, pattern=p, bin=b) for i, (p, b, right) in enumerate(answers)]
    found = matrix(rows)
    assert found == tracker.get_matrix()
    for count in ("seen", "correct"):
        of_rows = {row["pattern"]: row[count] for row in found["rows"]}
        of_cells = dict.fromkeys(of_rows, 0)
        for cell in found["cells"]:
            of_cells[cell["pattern"]] += cell[count]
        assert of_rows == of_cells
    assert sum(row["seen"] for row in found["rows"]) == len(answers)
    assert sum(row["correct"] for row in found["rows"]) == sum(right for *_, right in answers)


@pytest.mark.parametrize(("seen", "known"), [(ENOUGH - 1, False), (ENOUGH, True)])
def test_a_cell_below_ten_examples_is_unknown(seen: int, known: bool) -> None:
    assert ENOUGH == 10
    (cell,) = matrix([item(0, f"e{i}", False) for i in range(seen)])["cells"]
    assert cell["known"] is known
    assert cell["em"] == 0.0
    assert cell["em_low"] == 0.0 < cell["em_high"] < 0.4


def test_a_pattern_with_nothing_seen_has_no_rate() -> None:
    tracker = PatternTracker({"math": r"\d"})
    assert tracker.classify("7", 4) == ("math", "0-100")
    (row,) = tracker.get_matrix()["rows"]
    assert (row["pattern"], row["seen"], row["em"], row["known"]) == ("math", 0, None, False)
    assert (row["em_low"], row["em_high"]) == (0.0, 1.0)
    assert tracker.get_matrix()["cells"] == []
