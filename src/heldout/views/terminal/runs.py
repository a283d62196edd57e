"""A table of judged runs, one row each."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from heldout.views.report.overview import Row
from heldout.views.terminal.plain import plain

COLOURS = ("green", "yellow", "red", "magenta")
"""By exit code."""


def runs_table(rows: Sequence[Row]) -> Table:
    """Return the table, a line a run; text from the runs is made safe."""
    past = any(row.past for row in rows)
    table = Table("run", "verdict", "step", "open", box=None)
    table.columns[0].overflow = "fold"
    if past:
        table.add_column("was open")
    table.add_column("decision")
    for row in rows:
        cells = (row.reached, row.alerts, *((row.past,) if past else ()), row.decision)
        verdict = f"[{COLOURS[row.code]}]{row.word}[/]"
        table.add_row(_cell(row.name), verdict, *map(_cell, cells))
    return table


def _cell(text: str) -> str:
    return plain(text.replace("\n", " "))
