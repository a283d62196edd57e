"""CSV of the adapted layers: one row a step, layer and kind of module.

Kind "all" is the layer as a whole. Layer -1 is what lies outside of the layers. `norm` is ||dW||, the
other columns are the fields of `Reading`; an empty field is not known, a kind without a row is not
adapted. Non-finite numbers are NaN, Infinity and -Infinity.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from heldout.derive.history import History
from heldout.derive.layers import parts
from heldout.records import Layers, Reading, spelled
from heldout.views.exporter import Exporter

WHOLE = "all"


def write(history: History) -> bytes:
    """Return every reading of the layers as UTF-8 CSV with a header line."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["step", "stack", "layer", "kind", "norm", *Reading.__struct_fields__])
    for reading in history.layers:
        writer.writerows(_rows(reading))
    return out.getvalue().encode()


def _rows(reading: Layers) -> Iterator[list[object]]:
    for layer in reading.layers:
        place = [reading.step, layer.stack, layer.layer]
        yield [*place, WHOLE, *_numbers(layer.delta_norm, layer)]
        for kind, part in parts(layer).items():
            yield [*place, kind, *_numbers(part.norm, part)]


def _numbers(norm: float, reading: Reading) -> list[object]:
    values = (norm, *(getattr(reading, field) for field in Reading.__struct_fields__))
    return [spelled(x) if isinstance(x, float) else "" if x is None else x for x in values]


EXPORTER = Exporter(
    name="layers", suffix=".layers.csv", media_type="text/csv; charset=utf-8", write=write
)
