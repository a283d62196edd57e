"""Records: each survives its line of JSON, and every line is JSON that any reader takes."""

from __future__ import annotations

import math
import types
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from facts import sample, strict_json
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.records import AnyRecord, Note, Run, Sample, Step, decode, encode

KINDS = get_args(AnyRecord)
WHOLE = st.integers(-(2**53), 2**53)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.one_of(st.none(), st.booleans(), WHOLE, FINITE, st.text(), st.lists(FINITE, max_size=2))


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Values of one field's type."""
    if hint is Any:
        return JSON
    if hint == Step:
        return st.integers(0, 2**53)
    if hint is int:
        return WHOLE
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return structs(hint)
    if get_origin(hint) in (Union, types.UnionType):
        return st.one_of(*map(values, get_args(hint)))
    if get_origin(hint) is list:
        return st.lists(values(get_args(hint)[0]), max_size=3)
    if get_origin(hint) is dict:
        return st.dictionaries(st.text(), values(get_args(hint)[1]), max_size=3)
    return st.from_type(hint)


def structs(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind, include_extras=True)
    return st.builds(kind, **{name: values(hints[name]) for name in kind.__struct_fields__})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_record_survives_its_line_of_strict_json(kind: type[msgspec.Struct]) -> None:
    @settings(max_examples=25)
    @given(structs(kind))
    def check(record: AnyRecord) -> None:
        line = encode(record)
        assert repr(decode(line)) == repr(record)  # repr, because NaN equals nothing
        assert strict_json(line)["type"] == kind.__name__.lower()
        assert b"\n" not in line
        assert b"\r" not in line

    check()


@given(st.floats())
def test_any_float_comes_back_to_the_last_bit(value: float) -> None:
    back = decode(encode(sample(1, value)))
    assert isinstance(back, Sample)
    assert repr(back.values["loss/step"]) == repr(value)


@pytest.mark.parametrize(
    ("value", "text"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")]
)
def test_a_number_that_is_not_finite_is_a_string_python_and_javascript_read(
    value: float, text: str
) -> None:
    written = strict_json(encode({"deep": [{"x": value}], "record": sample(1, value)}))
    assert written["deep"][0]["x"] == text
    assert written["record"]["values"]["loss/step"] == text
    assert repr(float(text)) == repr(value)


def test_a_text_that_looks_like_a_number_stays_text() -> None:
    note = Note(step=1, time=1.0, topic="NaN", text="Infinity")
    assert decode(encode(note)) == note


def test_a_field_of_a_newer_writer_is_passed_over() -> None:
    line = b'{"type":"note","step":1,"time":2.5,"topic":"t","text":"x","mood":{"new":[1]}}'
    assert decode(line) == Note(step=1, time=2.5, topic="t", text="x")


def test_a_field_an_older_writer_lacked_takes_its_default() -> None:
    record = decode(b'{"type":"run","id":"a","time":1,"model":"m","total_steps":3}')
    assert record == Run(id="a", time=1.0, model="m", total_steps=3)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"type":"dream","step":1}',
        b'{"type":"note","step":1}',
        b'{"type":"sample","step":1,"time":1,"values":{"x":"nearly"}}',
        b'{"type":"sample","step":1,"time":1,"val',
        b'{"type":"note","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_a_line_that_is_no_record_is_a_decode_error(line: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(line)


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        sample(1).step = 2  # type: ignore[misc]
