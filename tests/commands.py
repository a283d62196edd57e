"""The command line as users run it: its exit code and what it writes, where its output is a pipe."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest.mock import patch

from heldout import cli


@dataclass(frozen=True, slots=True)
class Ran:
    returncode: int
    stdout: str
    stderr: str


def heldout(*arguments: object) -> Ran:
    """Run its entry point in this process, which spares a new one all imports."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in "oe")
    code = 0
    with (
        patch.object(sys, "argv", ["heldout", *map(str, arguments)]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Ran(code, *(file.buffer.getvalue().decode() for file in (out, err)))


def in_a_process(*arguments: object) -> Ran:
    """Run it in a process of its own."""
    command = [sys.executable, "-m", "heldout", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return Ran(done.returncode, done.stdout, done.stderr)
