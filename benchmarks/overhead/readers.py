"""What each tool's own reader finds in the current folder after the writing process is gone.

Each returns the scalars by step, without the prefix that a callback gives to their names.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workload import NAMES
from writers import FLOOR_FILE, FLOOR_ROW, JOURNAL_FILE

Steps = dict[int, dict[str, Any]]
PREFIX = "train/"


def floor() -> Steps:
    """Unpack the whole rows."""
    data = Path(FLOOR_FILE).read_bytes()
    whole = data[: len(data) - len(data) % FLOOR_ROW.size]
    return {
        step: dict(zip(NAMES, values, strict=True))
        for step, *values in FLOOR_ROW.iter_unpack(whole)
    }


def heldout() -> Steps:
    """Read the journal as heldout's server does."""
    from heldout.records import Sample
    from heldout.store.journal import read

    records, _ = read(Path(JOURNAL_FILE))
    return {record.step: record.values for record in records if isinstance(record, Sample)}


def trackio() -> Steps:
    """Read what the dashboard reads, without its thinning to at most 3,000 points."""
    from trackio import Api
    from trackio.sqlite_storage import SQLiteStorage

    try:
        (run,) = Api().runs("huggingface")
    except ValueError:  # killed before the first of its batches made the database or the run
        return {}
    rows = SQLiteStorage.get_logs("huggingface", run.name, run_id=run.id)
    return {int(row[f"{PREFIX}global_step"]): _without_prefix(row) for row in rows}


def tensorboard() -> Steps:
    """Load the event files with TensorBoard's accumulator, keeping every point."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    steps: Steps = defaultdict(dict)
    for file in Path("output").rglob("events.out.tfevents.*"):
        found = EventAccumulator(str(file), size_guidance={"scalars": 0})
        found.Reload()
        for tag in found.Tags()["scalars"]:
            for event in found.Scalars(tag):
                steps[event.step][tag.removeprefix(PREFIX)] = event.value
    return steps


def wandb() -> Steps:
    """Print the transaction log's records with `wandb leet inspect`, and keep its history."""
    (file,) = Path("wandb").glob("offline-run-*/*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    steps: Steps = {}
    for line in lines:
        row = json.loads(line).get("history", {}).get("item", {})
        if f"{PREFIX}global_step" in row:
            steps[int(row[f"{PREFIX}global_step"])] = _without_prefix(row)
    return steps


def mlflow() -> Steps:
    """Ask the tracking store for each metric's history."""
    from mlflow import MlflowClient

    client = MlflowClient()
    experiments = [e.experiment_id for e in client.search_experiments()]
    (run,) = client.search_runs(experiments)
    steps: Steps = defaultdict(dict)
    for name in NAMES:
        for point in client.get_metric_history(run.info.run_id, name):
            steps[point.step][name] = point.value
    return steps


READERS: dict[str, Callable[[], Steps]] = {
    "floor": floor,
    "heldout": heldout,
    "trackio": trackio,
    "tensorboard": tensorboard,
    "wandb": wandb,
    "mlflow": mlflow,
}


def _without_prefix(row: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(PREFIX): value for name, value in row.items()}
