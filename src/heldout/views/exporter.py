"""What an exporter is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from heldout.derive.history import History


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """Turns a history into a file: `name` is asked for, `suffix` ends the file's name."""

    name: str
    suffix: str
    media_type: str
    write: Callable[[History], bytes]
