"""Logs of real runs that others published: a folder of trainer_state.json files and an index.csv."""

from __future__ import annotations

import csv
from argparse import ArgumentParser
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

INDEX = "index.csv"
HOW = f"""No --corpus DIR was given, so no published logs are judged. To have some: collect files called
trainer_state.json, which the Hugging Face Trainer writes into each checkpoint folder and many public
repositories hold, into one folder; look at each loss curve, and write beside them an {INDEX} with the
columns `file` and `label`: healthy, plateau, overfit, diverged, spike, not_learning, ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """One published log and what a person said of it."""

    path: Path
    label: str


def add_argument(parser: ArgumentParser) -> None:
    """Add the corpus folder."""
    parser.add_argument("--corpus", type=Path, help=f"folder of logs with an {INDEX}")


def logs(folder: Path | None, labels: Collection[str] = ()) -> list[Log]:
    """The logs with one of `labels`, or all; without a folder none, and how to get some is printed."""
    if folder is None:
        print(f"{HOW}\n")
        return []
    index = folder / INDEX
    if not index.is_file():
        raise SystemExit(f"{index}: no such file. It has the columns file and label.")
    with index.open(encoding="utf-8", newline="") as file:
        found = [Log(path=folder / row["file"], label=row["label"]) for row in csv.DictReader(file)]
    return [log for log in found if not labels or log.label in labels]
