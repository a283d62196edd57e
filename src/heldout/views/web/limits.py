"""What clients may take of the server: how many connections, and how long to say what they want.

A connection that never sends a request costs a file descriptor. Without a limit some hundred of them
end the server: the process may open no more files, and nobody is answered.
"""

from __future__ import annotations

import asyncio
import resource
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from heldout.views.web.guard import SECURITY_HEADERS

MOST_CONNECTIONS = 512
"""A browser keeps up to six to one server, so more than eighty of them; a page at rest needs one."""
REQUEST_SECONDS = 10.0
"""Time to send a whole request head, from the connection's begin or from its first byte."""
MOST_AT_ONCE = 64
"""Connections taken up at a time; some three times as many have a file before they are counted."""
HEAD_BYTES = 1 << 16
"""A request head that is longer is refused."""


class Bounded(H11Protocol):
    """A connection that is closed when there are too many, or when no request comes in time."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection up; one too many is told so and closed."""
        super().connection_made(transport)
        if len(self.connections) > _of_files(MOST_CONNECTIONS, 2):
            self._end("503 Service Unavailable", "too many connections are open")
            return
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Read on. Bytes that complete no request do not prolong the wait for one."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        else:
            self._wait()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, with the headers of every other answer."""
        self._end("400 Bad Request", msg)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _end(self, status: str, text: str) -> None:
        """Answer outside of the application and close; in the middle of an answer only close."""
        if self.cycle is None or self.cycle.response_complete:
            headers = {"Content-Type": "text/plain; charset=utf-8", "Connection": "close"}
            lines = [f"{name}: {value}" for name, value in (headers | SECURITY_HEADERS).items()]
            head = "\r\n".join([f"HTTP/1.1 {status}", *lines])
            self.transport.write(f"{head}\r\n\r\n{text}".encode())
        self.transport.close()

    def _wait(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


def configured(app: ASGIApp, **more: Any) -> uvicorn.Config:
    """How `app` is served: bounded, silent about requests, and deaf to what a client says it is."""
    return uvicorn.Config(
        app,
        http=Bounded,
        ws="none",
        backlog=_of_files(MOST_AT_ONCE, 16),
        h11_max_incomplete_event_size=HEAD_BYTES,
        proxy_headers=False,
        server_header=False,
        log_level="warning",
        timeout_graceful_shutdown=2,
        **more,
    )


def _of_files(most: int, part: int) -> int:
    """`most`, or one in `part` of the files this process may open where that is less."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if soft == resource.RLIM_INFINITY else min(most, soft // part)
