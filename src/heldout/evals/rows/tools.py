"""The tools that a row offers, as chat templates take them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from heldout.evals.rows.fields import Fields


def offered(fields: Fields) -> tuple[dict[str, Any], ...]:
    """The row's `tools`, or the `functions` of OpenAI's older form; JSON in a text is read.

    Raises `ValueError` for anything but a list of objects.
    """
    key = fields.first(("tools", "functions"))
    if key is None:
        return ()
    value = fields.take(key)
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else []
        except (ValueError, RecursionError):
            raise ValueError(f"{key!r} must be a list of tools, found {value!r:.60}") from None
    if not isinstance(value, list | tuple) or not all(isinstance(each, Mapping) for each in value):
        raise ValueError(f"{key!r} must be a list of tools, found {value!r:.60}")
    if key == "functions":
        return tuple({"type": "function", "function": dict(each)} for each in value)
    return tuple(map(dict, value))
