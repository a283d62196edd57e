"""A font whose every sign is the same box: with it text is laid out alike on every machine."""

from __future__ import annotations

import struct
from itertools import pairwise

UNITS = 1000
ADVANCE = 560
ASCENT, DESCENT = 800, -200
BOX = (60, 0, 500, 560)
"""Left, bottom, right, top of what is drawn of a sign."""
NAMES = ("Boxes", "Regular", "Boxes", "Boxes", "1", "Boxes")
"""The font's names 1 to 6."""


def box_font() -> bytes:
    """Return a TrueType font of two glyphs: nothing for a space, and a box for all other signs."""
    left, bottom, right, top = BOX
    outline = struct.pack(">hhhhh", 1, left, bottom, right, top) + struct.pack(">HH", 3, 0)
    outline += bytes([1, 1, 1, 1])  # four points on the curve, the differences as words
    outline += struct.pack(">hhhh", left, 0, right - left, 0)
    outline += struct.pack(">hhhh", bottom, top - bottom, 0, bottom - top)
    outline += b"\0" * (-len(outline) % 4)
    tables = {
        b"OS/2": _os2(),
        b"cmap": _cmap(),
        b"glyf": outline,
        b"head": struct.pack(
            ">IIIIHHqqhhhhHHhhh",
            *(0x10000, 0x10000, 0, 0x5F0F3CF5, 3, UNITS, 0, 0, *BOX, 0, 8, 2, 1, 0),
        ),
        b"hhea": struct.pack(
            ">IhhhHhhhhhhhhhhhH",
            *(0x10000, ASCENT, DESCENT, 0, ADVANCE, 0, 0, ADVANCE, 1, 0, 0, 0, 0, 0, 0, 0, 3),
        ),
        b"hmtx": struct.pack(">HhHhHh", ADVANCE, left, ADVANCE, 0, ADVANCE, left),
        b"loca": struct.pack(">IIII", 0, 0, 0, len(outline)),
        b"maxp": struct.pack(">IH13H", 0x10000, 3, 4, 1, 0, 0, 2, *[0] * 8),
        b"name": _name(),
        b"post": struct.pack(">IIhhIIIII", 0x30000, 0, -100, 50, 1, 0, 0, 0, 0),
    }
    return _assembled(tables)


def _cmap() -> bytes:
    """Spaces to glyph 1, all else to glyph 2."""
    blank = (0x20, 0xA0, 0x202F, 0x2009)
    edges = sorted({0, 0x110000, *blank, *(sign + 1 for sign in blank)})
    groups = [(first, end - 1, 1 if first in blank else 2) for first, end in pairwise(edges)]
    table = struct.pack(">HHIII", 13, 0, 16 + 12 * len(groups), 0, len(groups))
    table += b"".join(struct.pack(">III", *group) for group in groups)
    return struct.pack(">HHHHI", 0, 1, 3, 10, 12) + table


def _os2() -> bytes:
    vendor = b"BOXS"
    return struct.pack(
        ">HhHHH10hh10BIIII4sHHHhhhHHIIhhHHH",
        *(4, ADVANCE, 400, 5, 0, *[0] * 10, 0, *[0] * 10, 1, 0, 0, 0, vendor, 64, 0x20, 0xFFFF),
        *(ASCENT, DESCENT, 0, ASCENT, -DESCENT, 1, 0, BOX[3], BOX[3], 0, 0x20, 1),
    )


def _name() -> bytes:
    texts = [text.encode("utf-16-be") for text in NAMES]
    records, at = b"", 0
    for number, text in enumerate(texts, start=1):
        records += struct.pack(">HHHHHH", 3, 1, 0x409, number, len(text), at)
        at += len(text)
    return struct.pack(">HHH", 0, len(texts), 6 + len(records)) + records + b"".join(texts)


def _assembled(tables: dict[bytes, bytes]) -> bytes:
    at = 12 + 16 * len(tables)
    directory, body = b"", b""
    for tag, data in sorted(tables.items()):
        directory += struct.pack(">4sIII", tag, _sum(data), at + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    head = struct.pack(">IHHHH", 0x10000, len(tables), 128, 3, 16 * len(tables) - 128)
    font = head + directory + body
    adjustment = (0xB1B0AFBA - _sum(font)) & 0xFFFFFFFF
    place = font.index(struct.pack(">IIII", 0x10000, 0x10000, 0, 0x5F0F3CF5)) + 8
    return font[:place] + struct.pack(">I", adjustment) + font[place + 4 :]


def _sum(data: bytes) -> int:
    padded = data + b"\0" * (-len(data) % 4)
    return sum(struct.unpack(f">{len(padded) // 4}I", padded)) & 0xFFFFFFFF
