"""Store numbers with one tool, all at once or live, in that tool's own interpreter and folder.

    python filling.py fill TOOL VALUES.npy FACTS.json
    python filling.py live TOOL PACE_SECONDS LOG

`fill` takes the fastest way the tool has, down to its own storage layer, and leaves in FACTS what its
server's addresses need. `live` calls the tool as a training loop does, a step every PACE_SECONDS
without end, every metric's value the number of the step, and appends "step time" to LOG just before
each call, once with step 0 and the facts when it is ready. It ends with the process that started it.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from workload import CHUNK, NAMES, Floats

PROJECT = RUN = "run"
STARTED = 1.7e9
LARGEST = 1.7976931348623157e308
"""What MLflow's store holds for an infinity."""

Facts = Mapping[str, Any]
Log = Callable[[int, Mapping[str, float]], object]


def trackio_fill(values: Floats) -> Facts:
    """Hand rows to the function that Trackio's own writer thread ends in."""
    from trackio.sqlite_storage import SQLiteStorage

    for steps, rows in chunks(values):
        times = [datetime.fromtimestamp(STARTED + s / 2, UTC).isoformat() for s in steps]
        metrics = [dict(zip(NAMES, row, strict=False)) for row in rows]
        SQLiteStorage.bulk_log(PROJECT, RUN, metrics, steps, times, run_id=RUN)
    return {}


def trackio_live() -> tuple[Log, Facts]:
    import trackio

    run = trackio.init(project=PROJECT, name=RUN, embed=False)
    return lambda step, values: trackio.log(dict(values), step=step), {"run_id": run.id}


def tensorboard_fill(values: Floats) -> Facts:
    """Write an event a step with all its scalars, as merged summaries are written."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    Path("run").mkdir(exist_ok=True)
    with Path("run/events.out.tfevents.1700000000.host").open("wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=STARTED, file_version="brain.Event:2").SerializeToString())
        for steps, rows in chunks(values):
            for step, row in zip(steps, rows, strict=True):
                writer.write(_event(step, STARTED + step / 2, zip(NAMES, row, strict=False)))
    return {}


def tensorboard_live() -> tuple[Log, Facts]:
    """Flush after every step, as transformers' callback does."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter("run")

    def log(step: int, values: Mapping[str, float]) -> None:
        writer.add_event(Event.FromString(_event(step, time.time(), values.items())))
        writer.flush()

    return log, {}


def mlflow_fill(values: Floats) -> Facts:
    """Insert rows into the tables that MLflow made, in the order of their key."""
    client, run_id = _mlflow_run()
    with sqlite3.connect("mlflow.db") as connection:
        for name, column in zip(NAMES, values.T, strict=False):
            rows = (
                (name, *_mlflow_value(value), int(STARTED * 1000) + 500 * step, step, run_id)
                for step, value in enumerate(column.tolist(), 1)
            )
            connection.executemany(
                "INSERT INTO metrics (key, value, is_nan, timestamp, step, run_uuid) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                rows,
            )
            last = _mlflow_value(float(column[-1]))
            when = int(STARTED * 1000) + 500 * len(column)
            connection.execute(
                "INSERT INTO latest_metrics (key, value, is_nan, timestamp, step, run_uuid) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (name, *last, when, len(column), run_id),
            )
            connection.commit()
    connection.close()
    client.set_terminated(run_id)
    return {"run_id": run_id}


def mlflow_live() -> tuple[Log, Facts]:
    from mlflow import log_metrics, set_tracking_uri, start_run

    set_tracking_uri("sqlite:///mlflow.db")
    run = start_run()
    return lambda step, values: log_metrics(dict(values), step=step), {"run_id": run.info.run_id}


def aim_fill(values: Floats) -> Facts:
    """Track the first and the last step, and write those between where the tracker does, in bulk.

    The tracker deletes the place of every value before it writes there; this does not, since nothing
    is there, and so leaves a store that is lighter to read.
    """
    from aim.storage.encoding import encode, encode_path
    from aim.storage.hashing import hash_auto

    run = _aim_run()
    run.track(dict(zip(NAMES, values[0].tolist(), strict=False)), step=1)
    infos = {name: info for (_, name), info in run._tracker.sequence_infos.items()}
    places = [
        [
            view.tree.container
            for view in (info.val_view, info.step_view, info.time_view, info.epoch_view)
        ]
        for info in (infos[name] for name in NAMES[: values.shape[1]])
    ]
    nothing = encode(None)
    for steps, rows in chunks(values[1:-1]):
        batch = places[0][0].batch()
        for step, row in zip(steps, rows, strict=True):
            step += 1
            key, number, when = (
                encode_path((hash_auto(step),)),
                encode(step),
                encode(STARTED + step / 2),
            )
            for containers, value in zip(places, row, strict=True):
                for container, each in zip(
                    containers, (encode(value), number, when, nothing), strict=True
                ):
                    container.set(key, each, store_batch=batch)
        places[0][0].commit(batch)
    run.track(dict(zip(NAMES, values[-1].tolist(), strict=False)), step=len(values))
    run.close()
    return {"run_id": run.hash}


def aim_live() -> tuple[Log, Facts]:
    run = _aim_run()
    return lambda step, values: run.track(dict(values), step=step), {"run_id": run.hash}


def chunks(values: Floats) -> Iterator[tuple[list[int], list[list[float]]]]:
    """Give the steps and their rows, some thousand at a time."""
    for start in range(0, len(values), CHUNK):
        rows = values[start : start + CHUNK].tolist()
        yield list(range(start + 1, start + 1 + len(rows))), rows


def _event(step: int, when: float, named: Any) -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event

    event = Event(wall_time=when, step=step)
    for name, value in named:
        event.summary.value.add(tag=name, simple_value=value)
    data: bytes = event.SerializeToString()
    return data


def _mlflow_run() -> tuple[Any, str]:
    from mlflow import MlflowClient

    client = MlflowClient("sqlite:///mlflow.db")
    return client, client.create_run("0").info.run_id


def _mlflow_value(value: float) -> tuple[float, bool]:
    """The value as its store's own code writes it, and whether it stands for a NaN."""
    if math.isnan(value):
        return 0.0, True
    return max(-LARGEST, min(value, LARGEST)), False


def _aim_run() -> Any:
    from aim import Run

    quiet: Any = {"system_tracking_interval": None, "log_system_params": False}
    return Run(repo=".", capture_terminal_logs=False, **quiet)


def live(tool: str, pace_seconds: float, log: Path) -> None:
    """Log without end; ends when the process that started this one has gone."""
    parent = os.getppid()
    with log.open("w", buffering=1) as said:
        if tool == "heldout":
            from journals import log_live

            call, facts = log_live(Path.cwd())
        else:
            call, facts = globals()[f"{tool}_live"]()
        print(0, json.dumps(facts), file=said)
        began = time.time()
        for step in range(1, 10**9):
            with suppress(ValueError):
                time.sleep(began + step * pace_seconds - time.time())
            if os.getppid() != parent:
                return
            print(step, time.time(), file=said)
            call(step, dict.fromkeys(NAMES, float(step)))


def main() -> None:
    job, tool, *rest = sys.argv[1:]
    if job == "live":
        live(tool, float(rest[0]), Path(rest[1]))
        return
    values = np.load(rest[0], mmap_mode="r")
    facts = globals()[f"{tool}_fill"](values)
    Path(rest[1]).write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
