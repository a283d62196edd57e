"""The runs of a folder as a frame to choose from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from heldout.derive.history import History
from heldout.views.snapshot import ACTIVE
from heldout.views.terminal.progress import about
from heldout.views.terminal.watch_blocks import Lines
from heldout.views.terminal.watch_curve import sparkline
from heldout.views.terminal.watch_text import LEVELS, STATES, clean, fit

KEYS = "↑↓ or j k choose   Enter open   q quit"
NO_RUNS = "This folder holds no run. One that starts writing here appears by itself."
FAULTS = ("error", "critical")
RANK = ("info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True)
class Entry:
    """A run in the list; what is not read yet is empty."""

    name: str
    state: str = ""
    steps: str = ""
    score: str = ""
    trace: str = ""
    alerts: str = ""
    level: str = ""
    time: float = 0.0

    @classmethod
    def of(cls, name: str, history: History) -> Entry:
        """A run summed up."""
        total = history.run.total_steps if history.run else 0
        active = [v for v in history.alerts.values() if v.state in ACTIVE]
        levels = sorted((v.level for v in active), key=RANK.index)
        evals = history.evals
        last = evals[-1] if evals else None
        return cls(
            name=name,
            state=history.state,
            steps=f"{history.step:,}" + (f" of {total:,}" if total else ""),
            score=f"{last.em:.1%} [{last.em_low:.1%}, {last.em_high:.1%}] of {last.n}"
            if last
            else "",
            trace=sparkline([each.em for each in evals], 8),
            alerts=f"{len(active)} open" if active else "none",
            level=levels[-1] if levels else "",
            time=history.time,
        )


def runs_frame(
    entries: Sequence[Entry], chosen: int, clock: float, width: int, height: int
) -> Lines:
    """Return the list as `height` lines; the chosen run is among those shown.

    A narrow terminal drops the columns that matter least first.
    """
    count = f"{len(entries)} runs" if len(entries) != 1 else "1 run"
    lines = [fit(Text.assemble(("Runs", "bold"), (f"  {count}, the latest first", "dim")), width)]
    room = max(1, height - 3)
    first = max(0, min(chosen - room // 2, len(entries) - room))
    shown = list(enumerate(entries))[first : first + room]
    rows = [_row(entry, clock) for _, entry in shown]
    head = [Text(name) for name in ("run", "state", "step", "EM", "trend", "alerts", "age")]
    widths = _widths([head, *rows], width - 2)
    lines.append(_line("  ", head, widths, width, "dim"))
    for (i, _), row in zip(shown, rows, strict=True):
        mark, style = ("▸ ", "reverse") if i == chosen else ("  ", "")
        lines.append(_line(mark, row, widths, width, style))
    if not entries:
        lines = [*lines[:1], fit(Text(NO_RUNS, style="dim"), width)]
    lines += [Text()] * (height - len(lines) - 1)
    return [*lines[: height - 1], fit(Text(KEYS, style="dim"), width)]


def _row(entry: Entry, clock: float) -> list[Text]:
    age = about(max(0.0, clock - entry.time)) if entry.time > 0 else ""
    return [
        Text(clean(entry.name), style="bold"),
        _state(entry),
        Text(entry.steps),
        Text(entry.score),
        Text(entry.trace, style="cyan"),
        Text(entry.alerts, style=LEVELS.get(entry.level, "dim")),
        Text(age, style="dim"),
    ]


def _state(entry: Entry) -> Text:
    """The state, in the colour of an error where the run that has finished is no good."""
    if entry.state == "finished" and entry.level in FAULTS:
        return Text(f"finished, {entry.level}", style=LEVELS[entry.level])
    return Text(entry.state or "…", style=STATES.get(entry.state, "dim"))


DROPPED_FIRST = (4, 6, 2, 5, 3)
"""Columns in the order they are left out where there is no room."""
LEAST_NAME = 10


def _widths(rows: Sequence[Sequence[Text]], width: int) -> list[int]:
    """The columns' widths, 0 for those left out; a long name gives way before any is."""
    widths = [max(row[i].cell_len for row in rows) + 2 for i in range(7)]
    for column in (None, *DROPPED_FIRST):
        if column is not None:
            widths[column] = 0
        over = sum(widths) - width
        if over <= 0:
            break
        if widths[0] - over >= min(widths[0], LEAST_NAME + 2):
            widths[0] -= over
            break
    return widths


def _line(mark: str, row: Sequence[Text], widths: Sequence[int], width: int, style: str) -> Text:
    line = Text(mark, style=style, no_wrap=True)
    for cell, room in zip(row, widths, strict=True):
        if room:
            line.append_text(fit(cell, room - 2)).append("  ")
    line = fit(line, width)
    if style:
        line.stylize(style)
    return line
