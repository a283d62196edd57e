"""Print the records as TypeScript, so that the page and the journal cannot disagree.

python -m heldout.views.web.types > web/src/records.ts
"""

from __future__ import annotations

import inspect
import json
from typing import get_args

import msgspec
from msgspec import inspect as shape

from heldout.records import SCHEMA, AnyRecord

_HEADER = """\
// Generated from src/heldout/records.py by `python -m heldout.views.web.types`. Do not edit.

/** A float; JSON has no NaN, so one that is not finite is one of these strings. */
export type Float = number | "NaN" | "Infinity" | "-Infinity";
"""


def typescript() -> str:
    """Return the module `records.ts`: an interface a record, and the union of them all."""
    union = get_args(AnyRecord)
    structs: dict[str, str] = {}
    for record in union:
        _declare(record, structs)
    names = "\n".join(f"  | {record.__name__}" for record in union)
    parts = [_HEADER, f"export const SCHEMA = {SCHEMA};\n", *structs.values()]
    return "\n".join([*parts, f"export type AnyRecord =\n{names};\n"])


def _declare(struct: type[msgspec.Struct], structs: dict[str, str]) -> None:
    """Add the interface of `struct`, after those of the structs it holds."""
    kind = shape.type_info(struct)
    assert isinstance(kind, shape.StructType)
    if struct.__name__ in structs:
        return
    lines = [] if kind.tag is None else [f"  {kind.tag_field}: {json.dumps(kind.tag)};"]
    lines += [f"  {field.encode_name}: {_type(field.type, structs)};" for field in kind.fields]
    first = (inspect.getdoc(struct) or "").partition("\n")[0]
    body = "\n".join(lines)
    structs[struct.__name__] = (
        f"/** {first} */\nexport interface {struct.__name__} {{\n{body}\n}}\n"
    )


def _type(kind: shape.Type, structs: dict[str, str]) -> str:
    match kind:
        case shape.BoolType():
            return "boolean"
        case shape.IntType():
            return "number"
        case shape.FloatType():
            return "Float"
        case shape.StrType():
            return "string"
        case shape.NoneType():
            return "null"
        case shape.AnyType():
            return "unknown"
        case shape.LiteralType():
            return " | ".join(json.dumps(value) for value in kind.values)
        case shape.ListType():
            inner = _type(kind.item_type, structs)
            return f"({inner})[]" if " " in inner else f"{inner}[]"
        case shape.DictType():
            return f"Record<{_type(kind.key_type, structs)}, {_type(kind.value_type, structs)}>"
        case shape.UnionType():
            return " | ".join(_type(item, structs) for item in kind.types)
        case shape.StructType():
            _declare(kind.cls, structs)
            return kind.cls.__name__
    raise TypeError(f"records.py uses {kind}, which has no TypeScript form here yet")


if __name__ == "__main__":
    print(typescript(), end="")
