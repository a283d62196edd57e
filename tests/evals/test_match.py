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
