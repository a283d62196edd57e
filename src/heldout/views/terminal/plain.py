"""Text from a run, made safe for a terminal: prompts, names and paths may hold anything."""

from __future__ import annotations

from rich.markup import escape


def plain(text: str) -> str:
    """Return `text` without control, bidirectional or markup codes, for rich to print."""
    return escape(printable(text))


def printable(text: str) -> str:
    """Return `text` without control and bidirectional codes, for a rich `Text`, which reads no markup."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
