"""Hugging Face's `trainer_state.json`, of any version, whole or cut short, or a folder with one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from heldout.errors import DataError
from heldout.store.numbers import SHOWN, Numbers, step_of
from heldout.store.reader import Log, Reader, Row
from heldout.store.trainer import arguments, best_so_far, summary
from heldout.store.training_args import best_by

FILE_NAME = "trainer_state.json"


def accepts(path: Path) -> bool:
    """Text that starts as JSON does, or a folder with a state file or with checkpoints that have one."""
    if path.is_dir():
        return bool(_states(path))
    with path.open("rb") as file:
        start = file.read(64)
    return path.name == FILE_NAME or bool(_JSON.match(start))


def read(path: Path) -> Log:
    """Read the state at `path`, or of a folder the one that reaches furthest and can be read."""
    if not path.is_dir():
        return _read_file(path)
    failures: list[str] = []
    for state in _states(path):
        try:
            log = _read_file(state)
        except DataError as error:
            failures.append(str(error))
        else:
            return replace(log, remarks=[*failures, *log.remarks])
    raise DataError("\n".join(failures))


def _read_file(path: Path) -> Log:
    data = path.read_bytes()
    state, stopped = _parsed(data)
    remarks = []
    if stopped is not None:
        remarks.append(f"{path.name} stops making sense at byte {stopped:,} of {len(data):,}")
    history = state.get("log_history")
    if not isinstance(history, list):
        keys = ", ".join(list(state)[:5]) or "nothing readable"
        if stopped is not None and _is_lines(data):
            raise DataError(
                f"{path}: one JSON object a line (JSON Lines), which is not read. "
                f"Give a Hugging Face {FILE_NAME}, or a CSV file with the columns step, loss, ..."
            )
        where = "" if stopped is None else f" up to byte {stopped:,} of {len(data):,}"
        raise DataError(
            f"{path}: no 'log_history' list in it{where}; found {keys}. Give a Hugging Face {FILE_NAME}"
        )
    numbers = Numbers()
    rows = list(_rows(history, numbers, remarks))
    if not rows:
        raise DataError(
            f"{path}: 'log_history' has {len(history)} rows and none with a step and a number. "
            "Train with logging_steps below the number of steps, or give the newest checkpoint's file"
        )
    reached = step_of(state.get("global_step")) or 0
    total = step_of(state.get("max_steps")) or 0
    last_words = summary(history[-1]) if isinstance(history[-1], dict) else {}
    said = arguments(state)
    return Log(
        id=_id(path),
        rows=rows,
        total_steps=total,
        last_step=reached,
        finished=bool(last_words) or 0 < total <= reached,
        training={**best_by(path), **said.training, **best_so_far(state)},
        environment=last_words,
        checkpoints=_checkpoints(path),
        remarks=[*remarks, *numbers.remarks()],
    )


def _rows(history: list[Any], numbers: Numbers, remarks: list[str]) -> Iterator[Row]:
    strange: list[str] = []
    for i, row in enumerate(history, 1):
        if not isinstance(row, dict):
            strange.append(f"row {i} is {repr(row)[:SHOWN]}")
            continue
        step = step_of(row.get("step"))
        if step is None:
            strange.append(f"row {i} has the step {repr(row.get('step'))[:SHOWN]}")
            continue
        if summary(row):
            continue  # of the whole run, and of no step
        found = {
            key: numbers.of(key, value, f"row {i}") for key, value in row.items() if key != "step"
        }
        values = {key: value for key, value in found.items() if value is not None}
        if values:
            yield Row(step, values)
    if strange:
        remarks.append(f"{len(strange):,} rows of log_history left out: {'; '.join(strange[:3])}")


def _parsed(data: bytes) -> tuple[dict[str, Any], int | None]:
    """What a state file says, and the byte it stops making sense at, None where it is whole."""
    text = data.decode("utf-8-sig", "surrogateescape")
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        state, end = _torn(text)
        return state, len(text[:end].encode("utf-8", "surrogateescape"))
    if isinstance(whole, list):
        whole = {"log_history": whole}
    return (whole if isinstance(whole, dict) else {}), None


def _is_lines(data: bytes) -> bool:
    """Whether the first two lines are a JSON object each."""
    lines = data.split(b"\n", 2)[:2]
    try:
        return len(lines) == 2 and all(isinstance(json.loads(line), dict) for line in lines)
    except (ValueError, RecursionError):
        return False


def _torn(text: str) -> tuple[dict[str, Any], int]:
    """The members and log rows that are whole at the start of a damaged file, and where they end."""
    state: dict[str, Any] = {}
    at = _after(text, 0, "{")
    while at is not None:
        key, end = _value(text, at)
        colon = _after(text, end, ":")
        if not isinstance(key, str) or colon is None:
            return state, end
        rows = _after(text, colon, "[") if key == "log_history" else None
        if rows is not None:
            history, end, closed = _elements(text, rows)
            state[key] = history
            if not closed:
                return state, end
        else:
            value, end = _value(text, colon)
            if end == colon or _space(text, end) == len(text):
                return state, colon
            state[key] = value
        at = _after(text, end, ",")
    return state, end if state else 0


def _elements(text: str, at: int) -> tuple[list[Any], int, bool]:
    """The whole elements of the array whose inside starts at `at`, its end, and whether it closes."""
    found: list[Any] = []
    while True:
        value, end = _value(text, at)
        if end == at or (_space(text, end) == len(text) and not isinstance(value, dict)):
            closing = _after(text, at, "]")
            return found, closing or at, closing is not None
        found.append(value)
        comma = _after(text, end, ",")
        if comma is None:
            closing = _after(text, end, "]")
            return found, closing or end, closing is not None
        at = comma


def _value(text: str, at: int) -> tuple[Any, int]:
    """The JSON value at `at` and its end; (None, `at`) where there is no whole one."""
    try:
        return _DECODER.raw_decode(text, _space(text, at))
    except (ValueError, RecursionError):
        return None, at


def _after(text: str, at: int, mark: str) -> int | None:
    at = _space(text, at)
    return at + 1 if text.startswith(mark, at) else None


def _space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()


def _states(folder: Path) -> list[Path]:
    """The state files of an output folder, that of the most steps first.

    The folder's own is written at the end of training, which may have been continued since.
    """
    files = {folder / name / FILE_NAME: step for step, name in _steps_saved(folder).items()}
    own = folder / FILE_NAME
    if own.is_file():
        files[own] = step_of(_parsed(own.read_bytes())[0].get("global_step")) or 0
    found = [file for file in files if file.is_file()]
    return sorted(found, key=lambda file: (files[file], file == own), reverse=True)


def _checkpoints(path: Path) -> dict[int, str]:
    """The checkpoint folders beside a state file, or beside the checkpoint it is in."""
    folder = path.absolute().parent
    return _steps_saved(folder.parent if _CHECKPOINT.fullmatch(folder.name) else folder)


def _steps_saved(folder: Path) -> dict[int, str]:
    found = {}
    for entry in folder.glob("checkpoint-*"):
        match = _CHECKPOINT.fullmatch(entry.name)
        if match and entry.is_dir():
            found[int(match[1])] = entry.name
    return found


def _id(path: Path) -> str:
    """The file's name, or its folder's where the file has the name that all have."""
    if path.name != FILE_NAME:
        return path.stem
    folder = path.absolute().parent
    return folder.parent.name if _CHECKPOINT.fullmatch(folder.name) else folder.name


_CHECKPOINT = re.compile(r"checkpoint-(\d{1,15})")
_JSON = re.compile(rb'(?:\xef\xbb\xbf)?\s*(?:\{\s*(?:["}]|$)|\[\s*(?:[\[{\]]|$))')
"""An object or a list of some; [2024-07-15 ... and {'loss': ... are lines of a console."""
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")

READER = Reader(
    name="trainer_state",
    what=f"a Hugging Face {FILE_NAME} or the output folder with its checkpoints",
    accepts=accepts,
    read=read,
    rank=1,
)
