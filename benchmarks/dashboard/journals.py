"""The journal that heldout shows, written with heldout's own records and encoder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from workload import CHUNK, NAMES, Size

from heldout.records import AnyRecord, Metric, Note, Run, Sample, encode
from heldout.store.journal import FILE_NAME, Journal

RUN = "run"
STARTED = 1.7e9
SECONDS_PER_STEP = 0.5


def write(runs: Path, size: Size, values: Path, names: Sequence[str] | None = None) -> bool:
    """Write a finished run of `size` into the folder `runs`, unless it is there; returns whether."""
    names = names or size.names
    journal = runs / RUN / FILE_NAME
    if journal.exists():
        return False
    journal.parent.mkdir(parents=True, exist_ok=True)
    half_made = journal.with_suffix(".half")
    with half_made.open("wb") as file:
        file.writelines(encode(record) + b"\n" for record in _head(names, size.steps, STARTED))
        for lines in _samples(names, np.load(values, mmap_mode="r")):
            file.write(lines)
        ended = STARTED + size.steps * SECONDS_PER_STEP
        end = Note(step=size.steps, time=ended, topic="finished", text="training ended")
        file.write(encode(end) + b"\n")
    half_made.rename(journal)
    return True


def forget_what_was_kept(runs: Path) -> None:
    """Remove what a server may have left beside the journals to be faster the next time."""
    for path in (runs / RUN).iterdir():
        if path.name != FILE_NAME:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def log_live(runs: Path) -> tuple[Callable[[int, Mapping[str, float]], object], Mapping[str, str]]:
    """Begin a run in the folder `runs`; returns what logs a step of it."""
    journal = Journal(runs / RUN / FILE_NAME)
    journal.append(_head(NAMES, 1_000_000, time.time()))

    def log(step: int, values: Mapping[str, float]) -> None:
        journal.append([Sample(step=step, time=time.time(), values=dict(values))])

    return log, {}


def _head(names: Sequence[str], steps: int, started: float) -> list[AnyRecord]:
    meant = [
        Metric(
            name=name,
            title=name,
            unit="",
            direction="none",
            help="A curve of the benchmark.",
            source="benchmarks/dashboard",
        )
        for name in names
    ]
    return [Run(id=RUN, time=started, model="none", total_steps=steps), *meant]


def _samples(names: Sequence[str], values: np.ndarray) -> Iterator[bytes]:
    for start in range(0, len(values), CHUNK):
        rows = values[start : start + CHUNK].tolist()
        samples = (
            Sample(
                step=step,
                time=STARTED + step * SECONDS_PER_STEP,
                values=dict(zip(names, row, strict=True)),
            )
            for step, row in enumerate(rows, start + 1)
        )
        yield b"".join(encode(sample) + b"\n" for sample in samples)
