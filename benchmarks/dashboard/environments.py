"""The virtual environment that a dashboard runs in, made where there is none, and its version."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from serving import NotFinished


def python_of(package: str, venv: Path) -> Path:
    """Return the interpreter of `venv`, which is made with `package` in it if it is not there.

    Raises `NotFinished` with the end of what pip said where it cannot be installed.
    """
    python = venv.absolute() / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        command = [str(python), "-m", "pip", "install", "--quiet", package]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise NotFinished(f"pip install {package}: {done.stderr.strip().splitlines()[-1]}")
    return python


def version(package: str, python: Path) -> str:
    """Return the version of `package` that `python` finds. Raises `NotFinished` where it has none."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    if done.returncode:
        raise NotFinished(f"{package} is not installed in {python.parents[1]}")
    return done.stdout.strip()
