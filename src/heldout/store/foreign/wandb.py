"""W&B's offline runs: a `run-*.wandb` file, or the folder with one.

The file is a LevelDB log: blocks of 32 KiB, in them fragments of checksum, length, kind and content,
of which records are put together. wandb 0.31 reads it in its Go program alone; the records are
protocol buffers, and its Python package brings their definition.
"""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

from heldout.errors import DataError
from heldout.store.numbers import Numbers, step_of
from heldout.store.reader import Log, Reader, Row
from heldout.store.trainer import arguments, summary

MAGIC = b":W&B"
FILE_HEADER_BYTES = 7
BLOCK_BYTES = 32768
FRAGMENT = struct.Struct("<IHB")
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
STEPS = ("train/global_step", "global_step", "trainer/global_step", "_step")
"""The step of a history row, best name first; `_step` counts rows and not optimizer steps."""
OWN = ("_step", "_runtime", "_timestamp", "_wandb", *STEPS)


def accepts(path: Path) -> bool:
    """A file that starts as W&B's do, or a folder with one, or with folders of runs."""
    if path.is_dir():
        return bool(_files(path))
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read(path: Path) -> Log:
    """Read the history, with its times, and the config of the run; of several runs, the latest."""
    files = _files(path) if path.is_dir() else [path]
    file, data = files[-1], files[-1].read_bytes()
    records, end = _records(data)
    remarks = []
    if end < len(data):
        remarks.append(f"{file.name} stops making sense at byte {end:,} of {len(data):,}")
    if len(files) > 1:
        remarks.append(f"{path.name} holds {len(files)} runs; {file.parent.name} is the latest")
    return _log(file, records, remarks)


def _log(file: Path, records: list[bytes], remarks: list[str]) -> Log:
    parse = _parser(file)
    numbers = Numbers()
    config: dict[str, Any] = {}
    rows: list[Row] = []
    name, host, code, step = "", "", None, 0
    for record in map(parse, records):
        match record.WhichOneof("record_type"):
            case "run":
                name, host = record.run.display_name or record.run.run_id, record.run.host
                config |= _values(record.run.config.update)
            case "config":
                config |= _values(record.config.update)
            case "history":
                row = _row(_values(record.history.item), step, f"record {record.num}", numbers)
                step = row.step
                rows.append(row)
            case "exit":
                code = record.exit.exit_code
    kept = [row for row in rows if row.values and not summary(row.values)]
    if not kept:
        raise DataError(
            f"{file}: {len(records)} records and no logged number in them. "
            "Give the run-*.wandb file of a run that logged with wandb.log"
        )
    said = arguments(config)
    last = {key: value for row in rows for key, value in row.values.items()}
    return Log(
        id=name or file.stem,
        rows=kept,
        total_steps=said.total_steps,
        finished=code == 0,
        failure=f"W&B's exit code is {code}" if code else "",
        model=said.model,
        schedule=said.schedule,
        training=said.training,
        environment={**summary(last), **({"host": host} if host else {})},
        remarks=[*remarks, *numbers.remarks(texts=False)],
    )


def _row(values: dict[str, Any], before: int, where: str, numbers: Numbers) -> Row:
    """A row of the history; where it tells no step, it is of the same as the row `before`."""
    steps = (step_of(values[name]) for name in STEPS if name in values)
    step = next((step for step in steps if step is not None), before)
    time = values.get("_timestamp")
    found = {
        name: numbers.of(name, value, where) for name, value in values.items() if name not in OWN
    }
    return Row(
        step,
        {name: value for name, value in found.items() if value is not None},
        float(time) if isinstance(time, int | float) else None,
    )


def _values(items: Any) -> dict[str, Any]:
    """Keys and values of a record's items; a key inside another is joined to it by a dot."""
    found = {}
    for item in items:
        try:
            found[".".join(item.nested_key) or item.key] = json.loads(item.value_json)
        except (ValueError, RecursionError):
            continue
    return found


def _records(data: bytes) -> tuple[list[bytes], int]:
    """The whole records of a log, and the byte behind the last: damage ends the reading."""
    records: list[bytes] = []
    parts: list[bytes] = []
    end = at = FILE_HEADER_BYTES
    while at + FRAGMENT.size <= len(data):
        left = BLOCK_BYTES - at % BLOCK_BYTES
        if left < FRAGMENT.size:  # too short for a fragment's head: it is padding
            at += left
            continue
        checksum, length, kind = FRAGMENT.unpack_from(data, at)
        body = data[at + FRAGMENT.size : at + FRAGMENT.size + length]
        whole = len(body) == length and kind in (FULL, FIRST, MIDDLE, LAST)
        if not whole or zlib.crc32(body, zlib.crc32(bytes([kind]))) != checksum:
            break
        at += FRAGMENT.size + length
        parts = [body] if kind in (FULL, FIRST) else [*parts, body]
        if kind in (FULL, LAST):
            records.append(b"".join(parts))
            end = at
    return records, end


def _parser(file: Path) -> Any:
    try:
        from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]
    except ImportError as error:
        raise DataError(
            f"{file}: reading W&B's files needs the package {error.name}. "
            "Install it with: pip install 'heldout[logs]'"
        ) from error
    return Record.FromString


def _files(folder: Path) -> list[Path]:
    """The W&B files of a run's folder, or of the folder of runs, in the order they were begun."""
    own = sorted(folder.glob("*.wandb"))
    runs = [*folder.glob("offline-run-*/*.wandb"), *folder.glob("run-*/*.wandb")]
    return own or sorted(runs, key=lambda file: file.parent.name.removeprefix("offline-"))


READER = Reader(
    name="wandb",
    what="a W&B offline run (*.wandb, or its offline-run-* folder)",
    accepts=accepts,
    read=read,
    rank=3,
)
