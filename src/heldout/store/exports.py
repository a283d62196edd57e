"""Tables that dashboards export: their columns are called by a run or by nothing, not by a number alone."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from heldout.store.reader import Row

WANDB = re.compile(r"(?P<run>.+?) - (?P<name>.+?)(?P<bound>__MIN|__MAX)?")
"""A column of a chart that W&B exports: the run, the number, and the lowest or highest of a group."""
TENSORBOARD = {"wall time", "step", "value"}
TAG = re.compile(r"tag-(.+)$")
"""How TensorBoard ends the name of the file, less its suffix: the tag, with _ for /."""
SPLITS = re.compile(r"^(train|eval|val|valid|validation|test)_")
VALUE = "Value"


@dataclass(frozen=True, slots=True)
class Export:
    """The names of a table's columns, None for those that are left out, and what is to be said."""

    header: Sequence[str | None]
    remarks: Sequence[str] = field(default_factory=tuple)


def known_export(header: Sequence[str], stem: str) -> Export:
    """Return the columns by the names of their numbers, where W&B or TensorBoard exported the table.

    `stem` is the file's name, in which TensorBoard puts what the table holds.
    """
    if {cell.lower() for cell in header} == TENSORBOARD:
        tag = TAG.search(stem)
        name = SPLITS.sub(r"\1/", tag[1]) if tag else VALUE
        return Export([name if cell.lower() == "value" else cell for cell in header])
    found = [WANDB.fullmatch(cell) for cell in header]
    if not any(match and match["bound"] for match in found):
        return Export(header)
    runs = list(dict.fromkeys(match["run"] for match in found if match))
    names: list[str | None] = []
    for cell, match in zip(header, found, strict=True):
        kept = match is None or (match["run"] == runs[0] and not match["bound"])
        names.append((match["name"] if match else cell) if kept else None)
    others = ", ".join(runs[1:4]) + (", ..." if len(runs) > 4 else "")
    said = [f"it holds {len(runs)} runs; {runs[0]} is read, not {others}"] if others else []
    return Export(names, said)


def with_value_named(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """The rows of a TensorBoard export whose file says no tag, its value read as a loss if it falls."""
    values = [row.values[VALUE] for row in rows if VALUE in row.values]
    known = [value for value in values if math.isfinite(value)]
    if len(known) < len(values) or not known or any(len(row.values) > 1 for row in rows):
        return list(rows), []
    third = max(1, len(known) // 3)
    if statistics.fmean(known[-third:]) >= statistics.fmean(known[:third]):
        return list(rows), [
            "the table does not say what 'Value' is: name the file as TensorBoard does, "
            "..._tag-train_loss.csv, or the column: loss, eval_loss, ..."
        ]
    renamed = [replace(row, values={"loss": row.values[VALUE]}) for row in rows]
    return renamed, ["'Value' falls and is read as the training loss: the table does not say"]
