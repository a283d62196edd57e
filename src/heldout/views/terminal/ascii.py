"""What a terminal that knows no UTF-8 shows instead of lines, bars and dots: an ASCII sign for each."""

from __future__ import annotations

import codecs

NAME = "heldout-ascii"
"""Of the error handler, for `reconfigure(errors=...)`."""
_INSTEAD = {
    "-": "─–—▄▅",
    "|": "│‖",
    ".": "·░",
    "~": "…",
    ">": "→▸≥",
    "<": "≤",
    "x": "×✕",
    "*": "◆",
    "o": "●",
    "_": "▁▂▃⟂",
    "=": "▆▇",
    "#": "█▉▊▋▌▓",
    "+": "▍▎▏▒",
    "d": "Δ",
    "0": "₀",
    "^": "↑",
    "v": "↓",
    "'": "‘’",
    '"': "“”",
}
_SIGNS = {sign: ascii for ascii, signs in _INSTEAD.items() for sign in signs}
UPPER, LOWER = 0x1B, 0xE4
"""The upper and the lower half of a braille cell's dots."""


def register() -> str:
    """Make the handler known to the encoders; returns its name."""
    codecs.register_error(NAME, _replaced)
    return NAME


def _replaced(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(map(in_ascii, error.object[error.start : error.end])), error.end


def in_ascii(sign: str) -> str:
    """The sign nearest to one that cannot be shown, "?" for any other."""
    dots = ord(sign) - 0x2800
    if 0 <= dots <= 0xFF:
        return " '.:"[bool(dots & UPPER) + 2 * bool(dots & LOWER)]
    return _SIGNS.get(sign, "?")
