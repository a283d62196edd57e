"""The live page in a process of its own, so that drawing never takes time from training."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from heldout.errors import HeldoutError

STOP_SECONDS = 5.0


@contextmanager
def page(runs: Path, port: int) -> Iterator[str]:
    """Serve `runs` while the body runs; gives the address. A taken port is answered by a free one.

    Raises `HeldoutError` with the server's own words when it does not start.
    """
    server, address = _start(runs, port)
    if not address:
        server, address = _start(runs, 0)
    if not address:
        raise HeldoutError(
            f"the page cannot be served: {server.stderr.read() if server.stderr else ''}"
        )
    try:
        yield address
    finally:
        server.terminate()
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        for stream in (server.stdout, server.stderr):
            if stream:
                stream.close()


def of_run(address: str, run: str) -> str:
    """The address of one run's page, whichever other runs are served beside it."""
    return f"{address}#/run/{quote(run, safe='')}"


def _start(runs: Path, port: int) -> tuple[subprocess.Popen[str], str]:
    """Start the server; its address is the first line it prints, "" if it ended instead."""
    command = [
        sys.executable,
        "-m",
        "heldout",
        "ui",
        str(runs),
        "--no-browser",
        "--port",
        str(port),
    ]
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    assert server.stdout is not None
    return server, server.stdout.readline().strip()
