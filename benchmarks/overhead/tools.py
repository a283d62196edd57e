"""Which tools are compared, the interpreter each runs in, and how a worker is started there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORKER = Path(__file__).with_name("worker.py")
TITLES = {
    "floor": "floor: one bare write",
    "heldout": "heldout: Journal.append",
    "trackio": "Trackio: TrackioCallback",
    "tensorboard": "TensorBoard: TensorBoardCallback",
    "wandb": "W&B offline: WandbCallback",
    "mlflow": "MLflow: MLflowCallback",
}
CALLBACKS = ("trackio", "tensorboard", "wandb", "mlflow")
OFFLINE = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_MODE": "offline",
}
"""Nothing may reach for a network; everything else is each tool's default."""


class WorkerFailed(Exception):
    """A worker ended with an error; the message is the end of what it printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool that can run: its name, its interpreter, its version."""

    name: str
    python: Path
    version: str

    @property
    def title(self) -> str:
        return f"{TITLES[self.name]} {self.version}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one run of one tool stores, and the environment that keeps it there and off the net."""

    folder: Path

    def environment(self) -> dict[str, str]:
        aside = self.folder.with_name("aside")
        folders = {name: str(aside) for name in ("HF_HOME", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR")}
        return {**os.environ, **OFFLINE, **folders, "TRACKIO_DIR": str(self.folder / "trackio")}

    def run(self, tool: Tool, job: str, *numbers: float) -> Any:
        """Run a job of the worker to its end and return its answer. Raises `WorkerFailed`."""
        answer = self.folder.with_name("answer.json")
        command = [str(tool.python), str(WORKER), job, tool.name, str(answer), *map(str, numbers)]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        if done.returncode:
            raise WorkerFailed(f"{tool.name}: {job}: {done.stdout[-2000:]}")
        return json.loads(answer.read_text())


@contextmanager
def place() -> Iterator[Place]:
    """Make an empty place, and remove it with all that was stored."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name) / "stored"
        folder.mkdir()
        yield Place(folder=folder)


def add_arguments(parser: ArgumentParser) -> None:
    """Add what both benchmarks take."""
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="TOOL=VENV",
        help="the virtual environment of trackio, tensorboard, wandb or mlflow; repeatable",
    )
    parser.add_argument("--only", help="names with commas between them", default=",".join(TITLES))
    parser.add_argument("--repeats", type=int, default=3)


def chosen(given: Namespace) -> list[Tool]:
    """Return the tools asked for that can run, and print a line for each that cannot."""
    environments = dict(item.split("=", 1) for item in given.env)
    if unknown := {*environments, *given.only.split(",")} - set(TITLES):
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}. Known: {', '.join(TITLES)}")
    tools = []
    for name in given.only.split(","):
        own = environments.get(name)
        python = Path(own).absolute() / "bin" / "python" if own else Path(sys.executable)
        if not python.exists():
            raise SystemExit(f"--env {name}={own}: {python} does not exist")
        version = _version(name, python)
        if version is None:
            wanted = f"{name} 'transformers[torch]'" if name in CALLBACKS else name
            print(f"{TITLES[name]}: not installed: {python} -m pip install {wanted}")
        else:
            tools.append(Tool(name=name, python=python, version=version))
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}\n", flush=True)
    return tools


def _version(name: str, python: Path) -> str | None:
    """Return a tool's version, or None where it or the Trainer's callbacks are not installed."""
    if name == "floor":
        return ""
    needed = [name, "transformers", "torch", "accelerate"] if name in CALLBACKS else [name]
    code = f"from importlib.metadata import version; print(*map(version, {needed}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    return None if done.returncode else done.stdout.split()[0]
