"""A run in a terminal: live, as one frame, or as lines for a log.

It reads the journal as it grows and never writes. The same fold and the same snapshot as the page's.
Another tool's log is read and judged anew whenever it has changed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from heldout.errors import DataError, HeldoutError, RunNotFound
from heldout.store.foreign import READERS, is_journal
from heldout.store.journal import FILE_NAME
from heldout.store.runs import list_runs, open_run
from heldout.views.follow import Follower
from heldout.views.report.data import exit_code
from heldout.views.terminal.watch_blocks import Lines
from heldout.views.terminal.watch_frame import KEYS, LOG_KEYS, Shown, frame, reading
from heldout.views.terminal.watch_list import Entry, runs_frame
from heldout.views.terminal.watch_log import LogFollower, Read
from heldout.views.terminal.watch_plain import plain_lines
from heldout.views.terminal.watch_text import clean

KEY_SECONDS = 0.25
"""How long a key, new bytes or a new size may wait."""
AGE_SECONDS = 5.0
"""How often a frame is drawn again although nothing is new: ages are told to this."""
LIST_SECONDS = 2.0
PLAIN_SECONDS = 1.0
PART_BYTES = 1 << 23
"""A long journal is read in parts of this size, so that keys are heard meanwhile."""


class RunView:
    """One run on the screen."""

    def __init__(self, follower: Follower | LogFollower) -> None:
        self.is_log = isinstance(follower, LogFollower)
        self._follower = follower
        self._behind = True
        self._shown: Shown | None = None
        self._trouble = ""

    def look(self) -> bool:
        """Fold what is new; returns whether there is something else to draw."""
        try:
            news = self._follower.advance(PART_BYTES)
        except (OSError, DataError) as error:
            reason = error.strerror if isinstance(error, OSError) else ""
            told, self._trouble = self._trouble, f"cannot be read: {reason or error}"
            return told != self._trouble
        cured, self._trouble = bool(self._trouble), ""
        self._behind = news.behind
        if not self._behind and (news or self._shown is None):
            self._shown = Shown.of(_name(self._follower), self._follower.history)
        return bool(news) or cured

    def draw(self, clock: float, width: int, height: int) -> Lines:
        """The frame as it stands."""
        keys = LOG_KEYS if self.is_log else KEYS
        keys = f"{keys}   {clean(self._trouble)}" if self._trouble else keys
        if self._shown is None:
            if self.is_log:
                return reading(_name(self._follower), None, width, height, keys)
            size = self._follower.path.stat().st_size if not self._trouble else 0
            share = self._follower.offset / size if size else 0.0
            return reading(_name(self._follower), share, width, height, keys)
        return frame(self._shown, clock, width, height, keys)


class ListView:
    """The runs of a folder on the screen; the order stays while it is open, new runs come first."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folders: list[Path] = []
        self.chosen: Path | None = None
        self._entries: dict[Path, Entry] = {}
        self._followers: dict[Path, Follower] = {}
        self._sizes: dict[Path, int] = {}
        self._listed = 0.0

    def look(self) -> bool:
        """List the folder now and then, and read on in one run; returns whether something changed."""
        changed = False
        if not self.folders or time.monotonic() - self._listed > LIST_SECONDS:
            changed = self._list()
        return self._read_one() or changed

    def draw(self, clock: float, width: int, height: int) -> Lines:
        """The frame as it stands."""
        entries = [self._entries.get(each, Entry(each.name)) for each in self.folders]
        chosen = self.folders.index(self.chosen) if self.chosen in self.folders else 0
        return runs_frame(entries, chosen, clock, width, height)

    def move(self, by: int) -> None:
        """Choose another run."""
        if self.folders:
            at = self.folders.index(self.chosen) if self.chosen in self.folders else 0
            self.chosen = self.folders[max(0, min(len(self.folders) - 1, at + by))]

    def _list(self) -> bool:
        self._listed = time.monotonic()
        found = list_runs(self.root)
        known = [folder for folder in self.folders if folder in found]
        folders = [folder for folder in found if folder not in known] + known
        changed, self.folders = folders != self.folders, folders
        if self.chosen not in folders:
            self.chosen = folders[0] if folders else None
        return changed

    def _read_one(self) -> bool:
        """Read on in the first run that has grown, the chosen one before all."""
        first = [self.chosen] if self.chosen else []
        for folder in [*first, *self.folders]:
            journal = folder / FILE_NAME
            try:
                if journal.stat().st_size == self._sizes.get(folder):
                    continue
                follower = self._followers.setdefault(folder, Follower(journal))
                news = follower.advance(PART_BYTES)
            except OSError:
                continue
            if not news.behind:
                self._sizes[folder] = journal.stat().st_size
                self._entries[folder] = Entry.of(folder.name, follower.history)
                if follower.history.ended:
                    del self._followers[folder]
            return True
        return False


def watch(path: Path, console: Console, read: Read) -> None:
    """Show the run at `path`, the latest of a folder, until q or Ctrl-C.

    `read` reads and judges another tool's log. Raises `RunNotFound` when there is no folder, and
    `HeldoutError` without a terminal.
    """
    if not (console.is_terminal and _is_terminal_input()) or console.is_dumb_terminal:
        raise HeldoutError(
            "the live view needs a terminal that it can draw in (TERM is not dumb). "
            "Without one: heldout watch --plain, or --once"
        )
    from heldout.views.terminal.watch_screen import opened

    if not path.exists():
        raise RunNotFound(f"{path}: no such file or folder")
    listed = ListView(_root(path))
    begun = path.is_file() or list_runs(path) or _is_log(path)
    view: RunView | ListView = RunView(_followed(path, read)) if begun else listed
    with suppress(KeyboardInterrupt), opened(console) as screen:
        due, size = 0.0, (0, 0)
        if isinstance(view, RunView) and view.is_log:  # no key is heard while it is read
            screen.draw(view.draw(time.time(), *screen.size))
        while True:
            changed = view.look()
            now = time.monotonic()
            if changed or screen.size != size or now >= due:
                size, due = screen.size, now + AGE_SECONDS
                screen.draw(view.draw(time.time(), *size))
            for key in screen.keys(0.0 if changed else KEY_SECONDS):
                due = 0.0
                if key == "q":
                    return
                if isinstance(view, RunView):
                    view = listed if key == "b" and not view.is_log else view
                elif key in ("up", "down"):
                    view.move(-1 if key == "up" else 1)
                elif key == "enter" and view.chosen is not None:
                    view = RunView(Follower(view.chosen / FILE_NAME))


def once(path: Path, console: Console, read: Read) -> int:
    """Print one frame of the run at `path`, as long as it has to be; returns report's exit code.

    Raises `HeldoutError` when there is nothing to read.
    """
    follower = _followed(path, read)
    _advance(follower)
    shown = Shown.of(_name(follower), follower.history)
    for line in frame(shown, time.time(), console.width, None, keys=""):
        line.rstrip()
        console.print(line, no_wrap=True, overflow="crop", soft_wrap=False)
    return exit_code(follower.history)


def plain(
    path: Path,
    tell: Callable[[str], None],
    read: Read,
    sleep: Callable[[float], None] | None = time.sleep,
) -> int:
    """Tell what has happened in the run at `path` a line each, then what happens, until it ends.

    Without `sleep` it ends with what is there. Returns report's exit code. Raises as `once`.
    """
    follower = _followed(path, read)
    told: set[str] = set()
    last = ""

    def tell_once(line: str) -> None:
        nonlocal last
        # A decision is recorded again when only its evidence changed; a log is read from its begin.
        if line != last and line not in told:
            tell(line)
        last = line
        if isinstance(follower, LogFollower):
            told.add(line)

    while True:
        try:
            _advance(follower, tell_once)
        except DataError:  # a log that was just being written
            if not follower.offset:
                raise
        history = follower.history
        if sleep is None or history.ended or history.state == "died":
            return exit_code(history)
        sleep(PLAIN_SECONDS)


def _followed(path: Path, read: Read) -> Follower | LogFollower:
    """Who follows the run at `path`. Raises `RunNotFound`."""
    if not path.exists():
        raise RunNotFound(f"{path}: no such file or folder")
    try:
        return Follower(open_run(path)) if is_journal(path) else LogFollower(path, read)
    except OSError as error:
        raise _unreadable(path, error) from error


def _is_log(path: Path) -> bool:
    try:
        return any(reader.accepts(path) for reader in READERS)
    except OSError:
        return False


def _name(follower: Follower | LogFollower) -> str:
    """The run's name: its folder's, and a log's own where it tells one."""
    path, run = follower.path, follower.history.run
    if isinstance(follower, Follower):
        return path.parent.name if path.name == FILE_NAME else path.name
    return run.id if run else path.name


def _advance(
    follower: Follower | LogFollower, tell: Callable[[str], None] = lambda line: None
) -> None:
    behind = True
    while behind:
        try:
            news = follower.advance(PART_BYTES)
        except OSError as error:
            raise _unreadable(follower.path, error) from error
        for line in plain_lines([*news.records, *news.heartbeat]):
            tell(line)
        behind = news.behind


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: cannot be read: {error.strerror or error}")


def _root(path: Path) -> Path:
    """The folder whose runs can be chosen from: that of the run, or `path` itself."""
    if path.is_file():
        return path.resolve().parent.parent
    return path.resolve().parent if (path / FILE_NAME).is_file() else path


def _is_terminal_input() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()
