"""The folder of runs: `RUNS/<run>/journal.jsonl`."""

from __future__ import annotations

import time
from pathlib import Path

from heldout.errors import RunNotFound
from heldout.store.journal import FILE_NAME


def list_runs(root: Path) -> list[Path]:
    """Return the run folders in `root`, the most recently written first.

    `root` may itself be a run folder; then it is the only one. A missing folder holds no runs.
    """
    if (root / FILE_NAME).is_file():
        return [root.resolve()]
    journals = [path for path in root.glob(f"*/{FILE_NAME}") if path.is_file()]
    journals.sort(key=lambda path: (-path.stat().st_mtime, path.parent.name))
    return [path.parent for path in journals]


def find_run(root: Path, run_id: str) -> Path:
    """Return the folder of the run called `run_id`.

    Compares names with those in the folder instead of building a path from the name, so no name
    can leave `root`. Raises `RunNotFound` listing what there is.
    """
    runs = list_runs(root)
    for folder in runs:
        if folder.name == run_id:
            return folder
    known = ", ".join(folder.name for folder in runs[:5]) or "none"
    raise RunNotFound(f"no run called {run_id!r}. Runs here: {known}")


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
