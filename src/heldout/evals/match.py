"""When two answers count as the same text, and when an unfinished one can still become the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Context, Decimal
from functools import cached_property

from heldout.errors import ConfigError

LAST_NUMBER = "last-number"
MINUS = "-\u2212\u2010\u2011\ufe63\uff0d"
"""Hyphens and minus signs that stand before a negative number."""
GROUPS = ",'\u2019\u00a0\u2009\u202f"
"""Marks between groups of digits: comma, apostrophes, no-break and thin spaces."""
CURRENCY = "$\u20ac\u00a3\u00a5\u20b9"
NUMBER = (
    rf"(?:(?<![\w.])[{MINUS}+])?[{CURRENCY}]?(?:(?<=[{CURRENCY}])[{MINUS}])?"
    rf"(?:\d{{1,3}}(?:[{GROUPS}]\d{{2,3}})*[{GROUPS}]\d{{3}}(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
    r"(?:[eE][-+]?\d{1,3}(?!\d))?"
)
"""A number with its sign and currency; a hyphen behind a digit or letter is no sign (`10-29`, `GPT-4`)."""
UNFINISHED = "\ufffd"
"""What tokenizers decode a character to of which some bytes are still missing."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What counts as right, normalised: whole texts, and the answers that `extract` finds in them."""

    texts: frozenset[str] = frozenset()
    answers: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Match:
    """How answers are compared: always after NFC and stripping, and as the options say.

    `extract` takes the answer out of a longer text: a regular expression such as `#### (.*)` (its
    first group, of its last occurrence that is not empty), or "last-number". A text in which it finds
    nothing is wrong, unless it is the golden one; a golden answer in which it finds nothing is the
    answer itself.

    Raises `ConfigError` for an expression that is none.
    """

    case: bool = False
    """Ignore case (Unicode case folding)."""
    whitespace: bool = False
    """Take any run of white space as one space."""
    extract: str | None = None

    def __post_init__(self) -> None:
        _ = self._pattern

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        if self.extract is None:
            return None
        try:
            return re.compile(NUMBER if self.extract == LAST_NUMBER else self.extract)
        except re.error as error:
            raise ConfigError(
                f"eval.extract {self.extract!r} is no regular expression: {error}. "
                f"Give one with a group, as in '#### (.*)', or '{LAST_NUMBER}'."
            ) from error

    def normalise(self, text: str) -> str:
        """Return the text in the form that is compared, without extraction."""
        text = unicodedata.normalize("NFC", text)
        if self.case:
            text = unicodedata.normalize("NFC", text.casefold())
        if self.whitespace:
            text = re.sub(r"\s+", " ", text)
        return text.strip()

    def answer(self, text: str) -> str | None:
        """Return the normalised answer in a text; None where `extract` finds none."""
        if self._pattern is None:
            return self.normalise(text)
        group = 1 if self._pattern.groups else 0
        found = [match[group] for match in self._pattern.finditer(text) if match[group]]
        if not found:
            return None
        value = found[-1]
        return _number(value) if self.extract == LAST_NUMBER else self.normalise(value)

    def accepted(self, texts: Collection[str]) -> Accepted:
        """Return what counts as right, from the texts that do; a text of nothing never does."""
        whole = frozenset(filter(None, map(self.normalise, texts)))
        found = frozenset(filter(None, map(self.answer, texts)))
        return Accepted(whole, found or whole)

    def right(self, text: str, accepted: Accepted) -> bool:
        """Whether a finished text is an accepted one, or holds an accepted answer."""
        return self.normalise(text) in accepted.texts or self.answer(text) in accepted.answers

    def possible(self, text: str, accepted: Accepted) -> bool:
        """Whether an unfinished text can still become an accepted answer, whatever follows.

        Never a false no: the last character may still change (a combining mark, a half-decoded
        character), so it is not compared. With `extract` anything is possible.
        """
        if self._pattern is not None:
            return True
        start = self.normalise(_settled(text.rstrip(UNFINISHED)))
        return any(whole.startswith(start) for whole in accepted.texts)


def _number(text: str) -> str:
    """One spelling of each decimal: `29`, `$29.00` and `29.0` are the same, exactly."""
    plain = re.sub(f"[{GROUPS}{CURRENCY}+]", "", re.sub(r"[eE]\+", "e", text))
    value = Decimal(re.sub(f"[{MINUS}]", "-", plain))
    value = Context(prec=len(text) + 1).normalize(value)
    return str(value if value else abs(value))


def _settled(text: str) -> str:
    """The text without its last character and the marks on it, which the next one may combine with."""
    end = len(text)
    while end and _combines(text[end - 1]):
        end -= 1
    return text[: max(0, end - 1)]


def _combines(character: str) -> bool:
    return unicodedata.category(character).startswith("M") or "\u1100" <= character <= "\u11ff"
