"""Lines for a terminal: hostile text made harmless, wrapped and cut to whole columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from heldout.views.terminal.plain import printable

LEVELS = {"info": "cyan", "warning": "yellow", "error": "red", "critical": "bold red"}
STATES = {
    "running": "green",
    "finished": "green",
    "starting": "cyan",
    "stalled": "bold yellow",
    "died": "bold red",
    "failed": "bold red",
    "interrupted": "bold yellow",
}
DECISIONS = {
    "continue": "green",
    "stop": "yellow",
    "roll-back": "red",
    "resume": "red",
    "look": "yellow",
    "none": "green",
}
_WRAPPER = Console(width=10, force_terminal=False, no_color=True)


def clean(text: object) -> str:
    """Text from a run on one line, without control and bidirectional codes, spaces joined."""
    return printable(" ".join(str(text).split()))


def wrap(text: Text, width: int, most: int, indent: str = "") -> list[Text]:
    """Wrap `text` at words into `most` lines at most; an ellipsis says where more was."""
    room = max(1, width - len(indent))
    lines = list(text.wrap(_WRAPPER, room))
    shown = lines[: max(0, most)]
    for line in shown:
        line.rstrip()
    if shown and len(lines) > len(shown):
        shown[-1].append(" …")
        shown[-1].truncate(room, overflow="ellipsis")
    return [line if i == 0 else Text(indent).append_text(line) for i, line in enumerate(shown)]


def fit(line: Text, width: int) -> Text:
    """`line` cut or padded to exactly `width` columns."""
    fitted = line.copy()
    fitted.truncate(width, overflow="ellipsis", pad=True)
    return fitted


def heading(title: str, width: int, note: str = "") -> Text:
    """A title on a rule, with a note beside it."""
    line = Text.assemble((title, "bold"), no_wrap=True)
    if note:
        line.append(f"  {note}", "dim")
    line.truncate(width, overflow="ellipsis")
    rule = width - line.cell_len - 1
    return line.append(" " + "─" * rule, "dim") if rule > 0 else line


def rate(row: Mapping[str, Any]) -> str:
    """A share with its interval and n, as the report says it."""
    low, high = row["em_low"], row["em_high"]
    return f"{row['em']:.1%} [{low:.1%}, {high:.1%}] of {row['n']}"


def joined(parts: Iterable[str], width: int) -> list[Text]:
    """Parts side by side, as many a line as fit."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + 3 + len(part) <= width:
            lines[-1] += f"   {part}"
        else:
            lines.append(part)
    return [Text(line, no_wrap=True) for line in lines]


def beside(columns: Sequence[tuple[list[Text], int]], height: int) -> list[Text]:
    """Columns of lines beside each other, each as wide as said, a rule between them."""
    lines = []
    for row in range(height):
        line = Text(no_wrap=True)
        for i, (texts, width) in enumerate(columns):
            line.append(" │ " if i else "", "dim")
            line.append_text(fit(texts[row] if row < len(texts) else Text(), width))
        line.rstrip()
        lines.append(line)
    return lines
