"""What `training_args.bin` beside a Trainer's state says of the best checkpoint, read without running it.

The file is a pickle, which runs whatever its writer wanted. So nothing is unpickled: its operations are
looked through for a setting's name and the plain value pushed behind it.
"""

from __future__ import annotations

import itertools
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE_NAME = "training_args.bin"
WANTED = ("metric_for_best_model", "greater_is_better")
MOST_BYTES = 1 << 20
"""Of the pickle: it holds settings and no weights."""
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


def best_by(state: Path) -> dict[str, Any]:
    """Return metric_for_best_model and greater_is_better as far as a file beside `state` has them."""
    folder = state.absolute().parent
    saved = sorted(folder.glob(f"checkpoint-*/{FILE_NAME}"), key=lambda file: file.stat().st_mtime)
    if folder.name.startswith("checkpoint-"):
        saved = [folder.parent / FILE_NAME]
    for file in [folder / FILE_NAME, *saved[::-1]]:
        if file.is_file():
            return _settings(file)
    return {}


def _settings(file: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if name.endswith("data.pkl")]
            if not names or archive.getinfo(names[0]).file_size > MOST_BYTES:
                return {}
            pushed = list(_pushed(archive.read(names[0])))
    except (OSError, ValueError, zipfile.BadZipFile):
        return {}
    return {
        name: value
        for name, value in itertools.pairwise(pushed)
        if name in WANTED and isinstance(value, str | bool)
    }


def _pushed(data: bytes) -> Iterator[Any]:
    """The plain values that the pickle pushes, in order; what is built of them is passed over."""
    memo: dict[int, Any] = {}
    last: Any = None
    argument: Any
    for operation, argument, _ in pickletools.genops(data):
        match operation.name:
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                memo[int(argument)] = last
                continue
            case "MEMOIZE":
                memo[len(memo)] = last
                continue
            case "BINGET" | "LONG_BINGET" | "GET":
                last = memo.get(int(argument))
            case name if name in CONSTANTS:
                last = CONSTANTS[name]
            case _:
                last = argument if isinstance(argument, str) else object()
        yield last
