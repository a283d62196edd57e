"""A dashboard's server as a process: when it answers, what it sends, what it takes of the machine."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 6
"""As many as a browser opens to one server at a time."""
RETRY_SECONDS = 0.01
STOP_SECONDS = 10.0


class NotFinished(Exception):
    """Something did not come about within its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a page asks of its server."""

    path: str
    method: str = "GET"
    body: bytes | None = None
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: the decoded body, and the bytes it took on the wire, headers included."""

    status: int
    body: bytes
    wire_bytes: int


@dataclass(slots=True, kw_only=True)
class Server:
    """A running server; times are those of `time.time()`."""

    process: subprocess.Popen[bytes]
    port: int
    started: float
    log: Path

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        """Ask as a browser does, a few at a time. Raises `OSError` while nobody listens."""
        if len(requests) == 1:
            return [_ask(self.port, requests[0])]
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            return list(pool.map(lambda request: _ask(self.port, request), requests))

    def wait_until_it_listens(self, limit_seconds: float, says: str = "") -> None:
        """Return once connections are taken and its log `says` so. Raises `NotFinished`."""
        for _ in self.tries(limit_seconds):
            if says.encode() not in self.log.read_bytes():
                continue
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return

    def tries(self, limit_seconds: float) -> Iterator[None]:
        """Give a turn every few milliseconds until the time since the start is up: `NotFinished`."""
        while time.time() - self.started < limit_seconds:
            if self.process.poll() is not None:
                raise NotFinished(
                    f"the server ended: {self.log.read_text('utf-8', 'replace')[-1500:]}"
                )
            yield
            time.sleep(RETRY_SECONDS)
        raise NotFinished(f"not finished in {limit_seconds:.0f} s")

    def pids(self) -> list[int]:
        """Return the server's process and all its living descendants."""
        parents = {
            int(folder.name): int(fields[1])
            for folder in Path("/proc").glob("[0-9]*")
            if (fields := _stat(int(folder.name)))
        }
        found = [self.process.pid]
        for parent in found:
            found += [child for child, of in parents.items() if of == parent]
        return found

    def cpu_seconds(self) -> float:
        """Add up user and system time of the living processes and those they waited for."""
        ticks = sum(sum(map(int, fields[11:15])) for pid in self.pids() if (fields := _stat(pid)))
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self) -> tuple[int, int]:
        """Add up the resident memory of all processes: now, and the most that each has had."""
        now = most = 0
        for pid in self.pids():
            with suppress(OSError):
                status = Path(f"/proc/{pid}/status").read_text()
                now += _kilobytes(status, "VmRSS") * 1024
                most += _kilobytes(status, "VmHWM") * 1024
        return now, most


@contextmanager
def serving(
    command: Sequence[str], port: int, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run `command` in `folder`, with a home and a cache of its own that are empty."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as aside:
        log = Path(aside) / "log"
        own = {"HOME": aside, "XDG_CACHE_HOME": aside, "PYTHONUNBUFFERED": "1"}
        with log.open("wb") as output:
            started = time.time()
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **own, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield Server(process=process, port=port, started=started, log=log)
        finally:
            _stop(process)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _ask(port: int, request: Request) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        headers = {"Accept-Encoding": "gzip", "Accept": "*/*"}
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        connection.request(request.method, request.path, request.body, headers)
        response = connection.getresponse()
        body = response.read()
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()
    wire_bytes = len(body) + len(str(response.headers)) + len("HTTP/1.1 200 OK\r\n")
    if response.headers.get("Content-Encoding") == "gzip":
        body = zlib.decompress(body, wbits=31)
    return Answer(status=response.status, body=body, wire_bytes=wire_bytes)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process and all it started: they are one session, hence one group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _kilobytes(status: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) if found else 0


def _stat(pid: int) -> list[str]:
    """The fields of `/proc/PID/stat` after the name, which may hold spaces: state, parent, ..."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
