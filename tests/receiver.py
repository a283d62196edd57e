"""A web server that takes notifications as Apprise's json:// addresses send them."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """What arrived, and how to answer: `answers` are status codes used up in turn, then 200."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.answers: list[int] = []
        self.release = threading.Event()
        """Answers wait for this."""
        self.release.set()
        self.arrived = threading.Semaphore(0)
        self.port = 0

    def address(self, secret: str = "secret") -> str:
        return f"json://user:{secret}@127.0.0.1:{self.port}/{secret}"

    def wait(self, count: int = 1) -> list[dict[str, Any]]:
        """Wait for so many more messages and return all."""
        for _ in range(count):
            assert self.arrived.acquire(timeout=20), f"only {len(self.messages)} arrived"
        return self.messages


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = receiver.answers.pop(0) if receiver.answers else 200
            if status == 200:
                receiver.messages.append(json.loads(body))
            receiver.arrived.release()
            receiver.release.wait(20)
            with contextlib.suppress(OSError):  # the other side may have gone
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.release.set()
        server.shutdown()
        server.server_close()
        thread.join()
