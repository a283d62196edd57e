"""The terminal while a frame is on it: its own screen, single keys, and all of it put back after."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from rich.console import Console, ConsoleDimensions
from rich.text import Text

ARROWS = {"[A": "up", "[B": "down", "OA": "up", "OB": "down"}
NAMED = {"\r": "enter", "\n": "enter", "\x03": "q", "\x04": "q", "\x7f": "b", "\x08": "b"}
KEYS = {"k": "up", "j": "down", **NAMED}
ESCAPE = "\x1b"
ERASE_LINE = f"{ESCAPE}[0m{ESCAPE}[2K"
ENTER = f"{ESCAPE}[?1049h{ESCAPE}[?25l"
"""Another screen, without cursor; what the shell showed comes back with the reverse."""
LEAVE = f"{ESCAPE}[0m{ESCAPE}[H{ESCAPE}[?25h{ESCAPE}[?1049l"
"""From the first row: tmux would push the rows above the cursor into its history after a resize."""


def parse_keys(text: str) -> list[str]:
    """The keys in what a terminal sent: up, down, enter, or the character; others are passed over."""
    found = []
    while text:
        if text[0] == ESCAPE:
            arrow = ARROWS.get(text[1:3])
            found.append(arrow or ("b" if len(text) == 1 else ""))
            text = text[3:] if arrow else _after_sequence(text)
            continue
        found.append(KEYS.get(text[0], text[0]))
        text = text[1:]
    return [key for key in found if key]


def _after_sequence(text: str) -> str:
    """What follows the escape sequence that `text` begins with."""
    if text[1:2] not in ("[", "O"):
        return text[2:]
    end = next((i for i, c in enumerate(text[2:], 2) if "@" <= c <= "~"), len(text) - 1)
    return text[end + 1 :]


class Screen:
    """Draws frames and reads keys; made by `opened`."""

    def __init__(self, console: Console, keyboard: int) -> None:
        self.console = console
        self._keyboard = keyboard
        self._size = 0, 0
        self._drawn: list[str | None] = []

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows, as they are now; 80 and 24 where the terminal does not say."""
        width, height = os.get_terminal_size(self.console.file.fileno())
        return width or 80, height or 24

    def draw(self, lines: Sequence[Text]) -> None:
        """Show `lines`; only those that changed are sent, so that a slow connection is spared."""
        if self._size != self.size:
            self._size, self._drawn = self.size, []
        self.console.size = ConsoleDimensions(*self._size)
        shown = [self._encoded(line) for line in lines[: self._size[1]]]
        shown += [""] * (self._size[1] - len(shown))
        before = self._drawn or [None] * len(shown)
        # Line by line and never the whole screen, which tmux would keep in its history.
        parts = [
            f"{ESCAPE}[{row};1H{ERASE_LINE}{text}"
            for row, (text, old) in enumerate(zip(shown, before, strict=True), start=1)
            if text != old
        ]
        self._drawn = list(shown)
        self.console.file.write("".join(parts))
        self.console.file.flush()

    def keys(self, seconds: float) -> list[str]:
        """The keys pressed within `seconds`, at the first of them; a terminal that is gone is a "q"."""
        ready, _, _ = select.select([self._keyboard], [], [], seconds)
        if not ready:
            return []
        try:
            data = os.read(self._keyboard, 1024)
        except OSError:
            data = b""
        return parse_keys(data.decode("utf-8", "replace")) if data else ["q"]

    def _encoded(self, line: Text) -> str:
        with self.console.capture() as captured:
            self.console.print(line, end="", no_wrap=True, overflow="crop")
        return captured.get()


@contextmanager
def opened(console: Console) -> Iterator[Screen]:
    """Take the terminal over for the body, and give it back as it was, however the body ends.

    Ctrl-C and a polite kill end the body; Ctrl-Z does nothing, since a stopped process could not put
    the terminal back.
    """
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _leave)
    try:
        tty.setcbreak(keyboard)
        now = termios.tcgetattr(keyboard)
        now[6][termios.VSUSP] = b"\0"
        termios.tcsetattr(keyboard, termios.TCSANOW, now)
        console.file.write(ENTER)
        console.file.flush()
        yield Screen(console, keyboard)
    finally:
        with suppress(OSError, termios.error):  # the terminal itself may be gone
            console.file.write(LEAVE)
            console.file.flush()
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
