"""The loss of a log that holds its parts alone, as detectors' logs do: their sum."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from heldout.names import EVAL_LOSS, LOSS, first_of
from heldout.store.reader import Row

PART = re.compile(r"(train|val)[/_](\w+)_loss", re.IGNORECASE)


def with_totals(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Return the rows with the sums of a loss's parts, and a sentence for each sum that was made.

    `train/box_loss` and `train/cls_loss` are parts where no whole training loss is logged; `val/box_loss` is
    one where `train/box_loss` is. Ultralytics' trainers log the parts with their weights: their sum is what
    is trained.
    """
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    parts: dict[str, dict[str, str]] = {"train": {}, "val": {}}
    for name in names:
        found = PART.fullmatch(name)
        if found:
            parts[found[1].lower()][found[2].lower()] = name
    trained, held_out = parts["train"], parts["val"]
    if len(trained) < 2 or first_of(LOSS, names):
        return list(rows), []
    sums = {"train/loss": list(trained.values())}
    also = [name for part, name in held_out.items() if part in trained]
    if also and not first_of(EVAL_LOSS, names):
        sums["val/loss"] = also
    said = [
        f"{total!r} is {'the sum of ' if len(each) > 1 else ''}{', '.join(each)}"
        for total, each in sums.items()
    ]
    return [replace(row, values=_summed(row, sums)) for row in rows], said


def _summed(row: Row, sums: dict[str, list[str]]) -> dict[str, float]:
    values = dict(row.values)
    for total, parts in sums.items():
        if all(part in row.values for part in parts):
            values[total] = sum(row.values[part] for part in parts)
    return values
