"""JSON: the whole run in one object: snapshot, every scalar of every step, every held-out example.

Strict JSON: numbers that are not finite are the strings "NaN", "Infinity" and "-Infinity".
"""

from __future__ import annotations

import msgspec

from heldout.derive.history import History
from heldout.records import encode
from heldout.views.exporter import Exporter
from heldout.views.snapshot import snapshot


def write(history: History) -> bytes:
    """Return the run as one UTF-8 JSON object with a line break at its end."""
    whole = {
        **snapshot(history),
        "series": {
            name: {"steps": series.steps.tolist(), "values": series.values.tolist()}
            for name, series in history.columns.series.items()
        },
        "items": {step: msgspec.to_builtins(items) for step, items in history.items.items()},
        "layers": [msgspec.to_builtins(reading) for reading in history.layers],
    }
    return encode(whole) + b"\n"


EXPORTER = Exporter(name="json", suffix=".json", media_type="application/json", write=write)
