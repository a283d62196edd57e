"""The texts of the fixed set, from its own file: the journal holds how the examples went, not what they say.

The file is opened where the run recorded it, and a row of it is given away only to who has the hash of
its content from an evaluation. So a row that has changed since is not shown under an old score, and a
journal that names another file learns nothing of it.
"""

from __future__ import annotations

import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from heldout.errors import HeldoutError
from heldout.evals.overlap import content_id
from heldout.evals.rows import TURNS, Keys, Message, read
from heldout.records import Run

MOST_BYTES = 1 << 28
"""A larger file is not read: it would take the page's memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """What one example says."""

    messages: tuple[Message, ...]
    references: tuple[str, ...] = ()

    @property
    def prompt(self) -> str:
        """What the user says before the answer."""
        return "\n\n".join(m["content"] for m in self.messages[:-1] if m["role"] == "user")

    @property
    def golden(self) -> str:
        """The golden response."""
        return str(self.messages[-1]["content"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """The texts found, by example id, and why some or all are missing ("" where none is)."""

    found: dict[str, Text]
    missing: str = ""


class SetFile:
    """The file of one run's fixed set, read again only when it or the examples change."""

    def __init__(self) -> None:
        self._known: tuple[Any, ...] = ()
        self._texts = Texts(found={})

    def texts(self, run: Run | None, ids: Collection[str], beside: Path) -> Texts:
        """Return the texts of the examples `ids`; a relative path is looked for from `beside` too."""
        about = run.eval_set if run else None
        if run is None or about is None:
            return Texts(found={}, missing="this run was given no fixed set")
        if not about.path:
            return Texts(
                found={},
                missing="the set was given in memory and stands in no file: prompts and golden answers "
                "cannot be shown. Give heldout.Monitor a path to see them here",
            )
        path = _find(Path(about.path), beside)
        if path is None:
            return Texts(
                found={},
                missing="the set's file is not there any more (or not on this machine): "
                "prompts and golden answers cannot be shown",
            )
        status = path.stat()
        if status.st_size > MOST_BYTES:
            return Texts(found={}, missing="the set's file is too large to be read for this page")
        known = (path, status.st_size, status.st_mtime_ns, about.hash, len(ids))
        if known != self._known:
            self._texts = _read(path, run, ids)
            self._known = known
        return self._texts


def _find(path: Path, beside: Path) -> Path | None:
    """The regular file `path` means, if there is one; a device or a pipe is none.

    Nor is an empty one: the kernel's own files are of no size, and reading some of them never ends.
    """
    for candidate in [path] if path.is_absolute() else [path, beside / path, beside.parent / path]:
        try:
            status = candidate.stat()
            if stat.S_ISREG(status.st_mode) and status.st_size:
                return candidate
        except (OSError, ValueError):
            continue
    return None


def _read(path: Path, run: Run, ids: Collection[str]) -> Texts:
    keys, turns = _settings(run)
    wanted = set(ids)
    try:
        rows = read(path, keys, turns, MOST_BYTES).rows
    except HeldoutError:
        return Texts(found={}, missing="the set's file cannot be read any more")
    found = {}
    for row in rows:
        name = content_id(row)
        if name in wanted:
            found[name] = Text(messages=row.messages, references=row.references)
    lost = len(wanted) - len(found)
    if not lost:
        return Texts(found=found)
    missing = (
        f"the set's file has changed since: {lost:,} of {len(wanted):,} examples are not in it as "
        "they were scored, so their prompts and golden answers are not shown"
    )
    return Texts(found=found, missing=missing)


def _settings(run: Run) -> tuple[Keys, str]:
    """How the run read the file."""
    section = run.config.get("eval")
    asked: dict[str, Any] = section if isinstance(section, dict) else {}

    def name(key: str) -> str | None:
        value = asked.get(key)
        return value if isinstance(value, str) else None

    turns = asked.get("turns", "last")
    keys = Keys(prompt=name("prompt_key"), response=name("response_key"))
    return keys, turns if turns in TURNS else "last"
