from __future__ import annotations

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from heldout.errors import ConfigError
from heldout.evals.match import LAST_NUMBER, Match

TEXTS = st.text(alphabet="ab é\u0301\u0300\u1100\u1161\u11a8가각\n\tßSs\u0b47\u0b3e", max_size=12)
MATCHES = st.builds(Match, case=st.booleans(), whitespace=st.booleans())


@pytest.mark.parametrize(
    ("match", "text", "golden", "right"),
    [
        (Match(), " Paris\n", "Paris", True),
        (Match(), "cafe\u0301", "café", True),
        (Match(), "paris", "Paris", False),
        (Match(case=True), "STRASSE", "straße", True),
        (Match(), "a  b", "a b", False),
        (Match(whitespace=True), "a \n b", "a b", True),
        (Match(extract="#### (.*)"), "so 3 + 4\n#### 7 ", "four and three\n#### 7", True),
        (Match(extract="#### (.*)"), "#### 1\n#### 7", "7", True),
        (Match(extract="#### (.*)"), "7", "#### 7", False),
        (Match(extract=r"\d+"), "it is 12", "12", True),
        (Match(extract=r"(?:It is )?(.*)"), "It is 12", "12", True),
        (Match(extract=LAST_NUMBER), "3 + 4 = 1,007.", "the answer: 1007", True),
        (Match(extract=LAST_NUMBER), "about -2.5", "-2.5", True),
        (Match(extract=LAST_NUMBER), "I do not know", "5", False),
    ],
)
def test_answers_are_the_same_or_not(match: Match, text: str, golden: str, right: bool) -> None:
    assert match.right(text, match.accepted([golden])) is right


SAME = (
    ("29", ("$29.00", "29.0", "29.", "+29", "029", "so it is 29 dollars", "\u20ac29", "2.9e1")),
    ("-5", ("\u22125", "-5.0", "-$5", "$-5", "\uff0d5", "x=-5", "\u2011 then \u20115.00")),
    ("1234567.5", ("1,234,567.50", "1\u202f234\u202f567.5", "1'234'567.5", "12,34,567.5")),
    ("0", ("0.00", "-0", "$0")),
    ("0.1", (".1", "0.10", "1e-1")),
    ("3", ("1,2,3", "10-3", "GPT-3", "1, 2 and 3", "2\u20133", "7/3")),
    ("12345678901234567890123456789.1", ("12345678901234567890123456789.10",)),
)
UNLIKE = (
    ("29", "29.01"),
    ("-5", "5"),
    ("12345678901234567890123456789", "12345678901234567890123456788"),
)


def test_numbers_are_compared_as_exact_decimals_however_they_are_written() -> None:
    match = Match(extract=LAST_NUMBER)
    same = [(golden, text) for golden, texts in SAME for text in texts]
    assert [pair for pair in same if not match.right(pair[1], match.accepted([pair[0]]))] == []
    assert [pair for pair in UNLIKE if match.right(pair[1], match.accepted([pair[0]]))] == []


def test_any_of_several_references_is_accepted() -> None:
    accepted = Match(case=True).accepted(["New York", "NYC"])
    assert all(Match(case=True).right(text, accepted) for text in ("nyc", "new york"))


@given(MATCHES, TEXTS, TEXTS)
def test_a_text_that_becomes_right_was_possible_at_every_moment(
    match: Match, text: str, golden: str
) -> None:
    accepted = match.accepted([golden])
    if match.right(text, accepted):
        assert all(match.possible(text[:end], accepted) for end in range(len(text) + 1))


@given(MATCHES, TEXTS)
def test_the_golden_text_in_another_unicode_form_is_right_and_always_possible(
    match: Match, golden: str
) -> None:
    assume(match.normalise(golden))
    text = unicodedata.normalize("NFD", golden)
    accepted = match.accepted([golden])
    assert match.right(text, accepted)
    assert all(match.possible(text[:end], accepted) for end in range(len(text) + 1))


def test_a_text_that_went_another_way_is_not_possible() -> None:
    accepted = Match().accepted(["The capital is Paris."])
    assert Match().possible("The capital is Lo", accepted) is False
    assert Match().possible("The capital is P", accepted)
    assert Match(extract="is (.*)").possible("The capital is Lo", accepted)


def test_a_character_of_which_bytes_are_missing_can_still_come_out_right() -> None:
    assert Match().possible("caf\ufffd", Match().accepted(["café"]))


def test_an_expression_that_is_none_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match=r"eval.extract '\(' is no regular expression"):
        Match(extract="(")


@given(MATCHES)
def test_a_text_of_nothing_is_never_right(match: Match) -> None:
    assert not match.right("", match.accepted(["", " "]))
    assert not match.right(" ", match.accepted(["7", ""]))
