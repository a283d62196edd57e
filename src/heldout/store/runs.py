"""The folder of runs: `RUNS/<run>/journal.jsonl`."""

from __future__ import annotations

import time
from pathlib import Path

from heldout.errors import RunNotFound
from heldout.store.journal import FILE_NAME

MOST_TOLD = 200
"""Characters of a name that is not there that its error repeats."""


def list_runs(root: Path) -> list[Path]:
    """Return the run folders in `root`, the most recently written first.

    `root` may itself be a run folder; then it is the only one. A missing folder holds no runs. What
    stands in `root` as a link is none: it could lead anywhere.
    """
    if is_real(root / FILE_NAME):
        return [root.resolve()]
    journals = [
        path
        for path in root.glob(f"*/{FILE_NAME}")
        if is_real(path) and not path.parent.is_symlink()
    ]
    journals.sort(key=lambda path: (-path.stat().st_mtime, path.parent.name))
    return [path.parent for path in journals]


def is_real(path: Path) -> bool:
    """Whether there is a regular file at `path` itself, not at the end of a link."""
    return path.is_file() and not path.is_symlink()


def stamp(path: Path) -> tuple[int, int]:
    """Return size and time of the last change (ns) of a file, other ones whenever it was written to.

    Zeros where it cannot be seen.
    """
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def find_run(root: Path, run_id: str) -> Path:
    """Return the folder of the run called `run_id`.

    Compares names with those in the folder instead of building a path from the name, so no name
    can leave `root`. A name that is no text is found as it is shown. Raises `RunNotFound` listing what
    there is.
    """
    runs = list_runs(root)
    for folder in runs:
        if run_id in (folder.name, _shown(folder)):
            return folder
    known = ", ".join(map(_shown, runs[:5])) or "none"
    raise RunNotFound(f"no run called {run_id[:MOST_TOLD]!r}. Runs here: {known}")


def _shown(folder: Path) -> str:
    """The folder's name as records are encoded: a question mark for a byte that is no UTF-8."""
    return folder.name.encode("utf-8", "replace").decode()


def new_run(root: Path) -> str:
    """Make a folder for a new run and return its name: the time, with a number where that is taken."""
    stamp = name = time.strftime("%Y%m%d-%H%M%S")
    number = 1
    while True:
        try:
            (root / name).mkdir(parents=True)
        except FileExistsError:
            number += 1
            name = f"{stamp}-{number}"
        else:
            return name


def open_run(path: Path) -> Path:
    """Return the journal that `path` means: a journal file, a run folder, or a folder of runs.

    A folder of runs means its latest. Raises `RunNotFound` when there is none.
    """
    if path.is_file():
        return path
    runs = list_runs(path)
    if not runs:
        raise RunNotFound(f"{path}: no {FILE_NAME} here or one folder down")
    return runs[0] / FILE_NAME
