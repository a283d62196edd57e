"""TensorBoard's event files: one, or a folder whose files are of one run."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from heldout.errors import DataError
from heldout.store.numbers import step_of
from heldout.store.reader import Log, Reader, Row
from heldout.store.trainer import arguments, summary

PATTERNS = ("*tfevents*", "*/*tfevents*", "*/*/*tfevents*")
"""As deep as the Trainer puts them, `runs/<time and host>/`; a whole disk is not searched."""
SPLITS = {"train", "training", "validation", "valid", "val", "eval", "test"}
"""Sub-folders of these names are the parts of one run, as Keras writes them."""
FRAME_BYTES = 16
"""Length, its checksum and the content's, around every record."""
TEXTS = ("args/text_summary", "model_config/text_summary")
"""Where the Trainer writes its arguments and the model's config, as JSON."""


def accepts(path: Path) -> bool:
    """An event file by its name, or a folder with one, two folders down at most."""
    if path.is_dir():
        return any(next(path.glob(pattern), None) for pattern in PATTERNS)
    return "tfevents" in path.name


def read(path: Path) -> Log:
    """Read the scalars, with their wall times, and what the Trainer says of itself."""
    files, remarks = _chosen(path)
    rows: list[Row] = []
    config: dict[str, Any] = {}
    for prefix, file in files:
        rows += _rows(file, prefix, config, remarks)
    last = {name: value for row in rows for name, value in row.values.items()}
    steps = [
        row for row in rows if not summary(row.values) and "train/train_loss" not in row.values
    ]
    if not steps:
        names = ", ".join(file.name for _, file in files[:3])
        raise DataError(
            f"{path}: no scalar in {names}. Give the folder that TensorBoard shows curves for"
        )
    said = arguments(config)
    return Log(
        id=_id(path, [file for _, file in files]),
        rows=sorted(steps, key=lambda row: row.time or 0.0),
        total_steps=said.total_steps,
        finished=bool(summary(last)),
        model=said.model,
        schedule=said.schedule,
        training=said.training,
        environment=summary(last),
        remarks=remarks,
    )


def _chosen(path: Path) -> tuple[list[tuple[str, Path]], list[str]]:
    """The files of one run, each with the prefix of its tags, and what was left out.

    A folder's own files, else those of its latest sub-folder, as a folder of runs means its latest.
    """
    if path.is_file():
        return [("", path)], []
    files = sorted(file for pattern in PATTERNS for file in path.glob(pattern) if file.is_file())
    folders = {file.parent for file in files}
    tops = [each for each in folders if not folders & set(each.parents)]
    if len(tops) > 1 and {each.name for each in tops} <= SPLITS:
        return [(f"{file.parent.name}/", file) for file in files if file.parent in tops], []
    latest = max(tops, key=lambda each: (_started(each, files), each.name))
    left = sorted(each.name for each in tops if each != latest)
    shown = ", ".join(left[:3]) + (", ..." if len(left) > 3 else "")
    said = [f"{path.name} holds {len(tops)} runs; {latest.name} is the latest, not {shown}"]
    return [("", file) for file in files if file.parent == latest], said if left else []


def _id(path: Path, files: Sequence[Path]) -> str:
    """The file's name, or that of the one folder that all files are in, or the given folder's."""
    folders = {file.resolve().parent for file in files}
    if path.is_file():
        return path.name
    return folders.pop().name if len(folders) == 1 else path.resolve().name


def _started(folder: Path, files: Sequence[Path]) -> int:
    """When the folder's last file was begun, which its name says, in Unix seconds."""
    stamps = [re.search(r"tfevents\.(\d+)", file.name) for file in files if file.parent == folder]
    return max((int(stamp[1]) for stamp in stamps if stamp), default=0)


def _rows(file: Path, prefix: str, config: dict[str, Any], remarks: list[str]) -> Iterator[Row]:
    """The scalars of one file; fills `config` with what the Trainer says of itself."""
    try:
        from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
        from tensorboard.compat.proto.event_pb2 import Event
    except ImportError as error:
        raise DataError(
            f"{file}: reading TensorBoard's event files needs the package {error.name}. "
            "Install it with: pip install 'heldout[logs]'"
        ) from error
    end, size, strange = 0, file.stat().st_size, 0
    for raw in RawEventFileLoader(str(file)).Load():
        end += len(raw) + FRAME_BYTES
        event = Event.FromString(raw)
        for value in event.summary.value:
            if value.tag in TEXTS:
                config |= _json(value)
                continue
            number, step = _scalar(value), step_of(event.step)
            if number is not None and step is not None:
                time = event.wall_time if math.isfinite(event.wall_time) else None
                yield Row(step, {prefix + value.tag: number}, time)
            strange += number is not None and step is None
    if end < size:
        remarks.append(f"{file.name} stops making sense at byte {end:,} of {size:,}")
    if strange:
        remarks.append(f"{file.name}: {strange:,} numbers at no step (below 0) left out")


def _scalar(value: Any) -> float | None:
    """The number of a summary value in the old form or the new; None for what is none."""
    if value.WhichOneof("value") == "simple_value":
        return float(value.simple_value)
    if value.WhichOneof("value") != "tensor" or value.metadata.plugin_data.plugin_name != "scalars":
        return None
    from tensorboard.util.tensor_util import make_ndarray

    array = make_ndarray(value.tensor)
    return float(array.item()) if array.size == 1 else None


def _json(value: Any) -> dict[str, Any]:
    texts = value.tensor.string_val
    try:
        found = json.loads(texts[0]) if texts else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


READER = Reader(
    name="tensorboard",
    what="TensorBoard event files (*tfevents*), one or their folder",
    accepts=accepts,
    read=read,
    rank=2,
)
