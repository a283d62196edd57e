"""Parse text as JSON Lines, or as one JSON document over one line or many."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

SPACE = " \t\r\n"
COMMENTS = ("#", "//")
LOST = "; the rows from here on are not read"


class Decoder(json.JSONDecoder):
    """Decodes JSON and notes the keys that stand twice in one object with different values."""

    def __init__(self) -> None:
        super().__init__(object_pairs_hook=self._object)
        self.twice: list[str] = []

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            self.twice += [key for key, value in pairs if found[key] != value]
        return found

    def row(self, text: str, at: int = 0) -> tuple[object, int]:
        """The value at a place and where it ends; a `ValueError` in its place for keys that stand twice."""
        self.twice.clear()
        value, end = self.raw_decode(text, at)
        if self.twice:
            return ValueError(f"{self.twice[0]!r} stands in it twice. Remove one."), end
        return value, end


def parsed_json(data: bytes) -> Iterator[tuple[int, object]]:
    """Each row with its number: its line, or its place in an array.

    Only LF and CRLF end a line, or CR in a file that has no LF.
    """
    text = _whole(data)
    begin = len(text) - len(text.lstrip(SPACE)) if text is not None else 0
    if text is None or not text[begin:]:
        yield from _lines(data)
    elif text[begin] == "[" and not _ends_its_line(text, begin):
        yield from _array(text, begin + 1)
    elif text[begin] == "{" and _over_lines(text, begin):
        yield from _objects(text, begin)
    else:
        yield from _lines(data)


def _whole(data: bytes) -> str | None:
    """The text, if it can be one document; None where single lines are not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _ends_its_line(text: str, at: int) -> bool:
    """Whether a whole array stands on the first of several lines, as in JSON Lines of arrays."""
    line, _, rest = text[at:].partition("\n")
    if not rest.strip():
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _over_lines(text: str, at: int) -> bool:
    """Whether the first object goes on behind its line."""
    try:
        _, end = json.JSONDecoder().raw_decode(text, at)
    except (ValueError, RecursionError):
        return False
    return "\n" in text[at:end]


def _array(text: str, at: int) -> Iterator[tuple[int, object]]:
    decoder, number = Decoder(), 0
    while True:
        at = _skip(text, at)
        if text[at : at + 1] == "]":
            if _skip(text, at + 1) < len(text):
                yield number + 1, ValueError("there is more behind the array's ]: not read")
            return
        number += 1
        try:
            value, at = decoder.row(text, at)
        except json.JSONDecodeError as error:
            line = text[error.doc.rfind("\n", 0, at) + 1 :].split("\n", 1)[0]
            where = f" (line {error.lineno})"
            yield number, ValueError(_wrong(line.strip(SPACE + ","), error) + where + LOST)
            return
        except RecursionError:
            yield number, ValueError(f"nested too deeply to be read{LOST}")
            return
        yield number, value
        at = _skip(text, at)
        if text[at : at + 1] == ",":
            at += 1
        elif text[at : at + 1] != "]":
            line_number = text.count("\n", 0, at) + 1
            yield (
                number + 1,
                ValueError(f"not JSON: a comma or ] is missing in line {line_number}{LOST}"),
            )
            return


def _objects(text: str, at: int) -> Iterator[tuple[int, object]]:
    """Objects that go over several lines, one after the other, each by the line it begins on."""
    decoder, line, before = Decoder(), 1, 0
    while (at := _skip(text, at)) < len(text):
        line, before = line + text.count("\n", before, at), at
        try:
            value, at = decoder.row(text, at)
        except (ValueError, RecursionError) as error:
            yield line, ValueError(f"not JSON: {error}{LOST}")
            return
        yield line, value


def _lines(data: bytes) -> Iterator[tuple[int, object]]:
    decoder = Decoder()
    end = b"\n" if b"\n" in data else b"\r"
    for number, line in enumerate(data.split(end), start=1):
        if line.strip():
            yield number, _row(decoder, line)


def _row(decoder: Decoder, line: bytes) -> object:
    try:
        text = line.decode().strip(SPACE)
        value, end = decoder.row(text)
        if end < len(text):
            raise json.JSONDecodeError("Extra data", text, end)
    except UnicodeDecodeError as error:
        return ValueError(f"not UTF-8 at byte {error.start}. Save it as UTF-8.")
    except json.JSONDecodeError as error:
        return ValueError(_wrong(text, error))
    except RecursionError:
        return ValueError("nested too deeply to be read")
    except ValueError as error:  # a number of too many digits
        return ValueError(f"not JSON: {error}")
    return value


def _wrong(line: str, error: json.JSONDecodeError) -> str:
    """What is wrong with a row that is no JSON, and the remedy where it is a usual mistake."""
    rest = error.doc[error.pos :].strip(SPACE)
    said = f"not JSON: {error.msg} at column {error.colno}"
    if line.startswith(COMMENTS):
        return "it is a comment, which JSON does not have. Remove it."
    if error.msg == "Extra data" and rest == ",":
        return "a comma stands behind the object. JSON Lines has none there: remove it."
    if error.msg.startswith("Invalid control character"):
        return f"{said}. Write it as an escape, such as \\t or \\n."
    if re.search(r",\s*$", error.doc[: error.pos]) and rest[:1] in ("}", "]"):
        return f"{said}. Remove the comma before {rest[0]}."
    if _is_python(line):
        return "it is a Python dict, not JSON. Write rows with json.dumps(row)."
    return said


def _is_python(line: str) -> bool:
    if not line.startswith("{"):
        return False
    try:
        return isinstance(ast.literal_eval(line), dict)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return False


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in SPACE:
        at += 1
    return at
