"""What other tools say about a trainer_state.json, each by its own command in its own environment."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callbacks import Series, spikes, z_scores
from training import STATE

WARNED = ("warn", "warning", "error", "critical", "fail")
NO_EVAL = "no_eval"
"""finetune-doctor's advice to evaluate, which it gives as a warning to every run without evaluations."""

Finding = tuple[str, str]
"""Level in lower case and the name of the check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Findings of one tool on one log, those of level warning and above apart."""

    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()
    error: str = ""
    """Why there is no answer."""


def _flat(answer: Any) -> Iterable[Mapping[str, Any]]:
    return answer["findings"]


def _by_run(answer: Any) -> Iterable[Mapping[str, Any]]:
    return [finding for run in answer for finding in run["findings"]]


def _by_report(answer: Any) -> Iterable[Mapping[str, Any]]:
    return [finding for report in answer["reports"] for finding in report["findings"]]


COMMANDS: dict[str, tuple[tuple[str, ...], Callable[[Any], Iterable[Mapping[str, Any]]]]] = {
    "finetune-doctor": (("diagnose", "--format", "json"), _flat),
    "trainspotter": (("analyze", "--output", "json"), _flat),
    "losslint": (("check", "--format", "json"), _flat),
    "runmedic": (("diagnose", "--json"), _by_run),
    "trainproof": (("doctor", "--json"), _by_report),
}
"""Each tool's command and where its answer holds the findings."""
LEVEL_KEYS = ("severity", "level")
NAME_KEYS = ("check", "detector", "id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A tool that can be asked, and how its command reads."""

    name: str
    version: str
    command: str
    look: Callable[[Path], Found]

    @property
    def title(self) -> str:
        return f"{self.name} {self.version}".rstrip()


def add_arguments(parser: ArgumentParser) -> None:
    """Add the environments of the tools."""
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="TOOL=VENV",
        help=f"virtual environment of {', '.join(COMMANDS)}; repeatable",
    )


def rivals(given: Namespace) -> list[Rival]:
    """The tools that can be asked; a line is printed for each that cannot."""
    environments = dict(item.split("=", 1) for item in given.env)
    if unknown := set(environments) - set(COMMANDS):
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}. Known: {', '.join(COMMANDS)}")
    found = []
    for name, (arguments, _) in COMMANDS.items():
        if name not in environments:
            print(f"{name}: left out. --env {name}=VENV says where `pip install {name}` put it.")
            continue
        program = Path(environments[name]).absolute() / "bin" / name
        version = _version(program)
        if version is None:
            print(f"{name}: left out. It is not installed in {environments[name]}.")
            continue
        command = " ".join([name, *arguments, STATE])
        found.append(
            Rival(name=name, version=version, command=command, look=_asking(name, program))
        )
    simple = {
        "Lightning's SpikeDetection rule": (spikes, "window 10, rtol 2.0, its defaults"),
        "W&B-style z-score": (z_scores, "k=3, window 30"),
    }
    for title, (rule, command) in simple.items():
        found.append(Rival(name=title, version="", command=command, look=_ruled(rule)))
    return found


def _asking(name: str, program: Path) -> Callable[[Path], Found]:
    arguments, findings = COMMANDS[name]

    def look(log: Path) -> Found:
        with tempfile.TemporaryDirectory() as folder:
            copy = shutil.copy(log, Path(folder) / STATE)
            done = subprocess.run(
                [program, *arguments, copy], capture_output=True, text=True, cwd=folder
            )
        try:
            answer = json.loads(done.stdout)
            pairs = [
                (_first(f, LEVEL_KEYS).lower(), _first(f, NAME_KEYS)) for f in findings(answer)
            ]
        except (ValueError, KeyError, TypeError):
            said = (done.stderr or done.stdout).strip().splitlines()
            return Found(error=f"exit {done.returncode}: {said[-1] if said else 'no output'}")
        return Found(
            warnings=tuple(check for level, check in pairs if level in WARNED),
            infos=tuple(check for level, check in pairs if level == "info"),
        )

    return look


def _ruled(rule: Callable[[Series], list[int]]) -> Callable[[Path], Found]:
    def look(log: Path) -> Found:
        steps = rule(Series.of(log))
        return Found(warnings=tuple(f"step {step}" for step in steps))

    return look


def _first(finding: Mapping[str, Any], keys: Iterable[str]) -> str:
    return str(next(finding[key] for key in keys if key in finding))


def _version(program: Path) -> str | None:
    """The version installed beside `program`, or None where there is none."""
    code = f"from importlib.metadata import version; print(version({program.name!r}))"
    try:
        done = subprocess.run(
            [program.with_name("python"), "-c", code], capture_output=True, text=True
        )
    except OSError:
        return None
    return None if done.returncode else done.stdout.strip()
