"""A server of recorded runs in a thread of the test."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from heldout.views.web.app import create_app
from heldout.views.web.limits import configured


@contextlib.contextmanager
def serving(root: Path, *, port: int = 0, under: str = "", **options: Any) -> Iterator[str]:
    """Serve `root` in a thread, `under` a path if given; gives the address without the last slash.

    `port` 0 takes a free one.
    """
    app = inner = create_app(root, **options)
    if under:
        app = Starlette(routes=[Mount(under, inner)])
    server = uvicorn.Server(configured(app, port=port))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive(), "the server ended at once"
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.02)
        bound = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{bound}{under}"
    finally:
        inner.state.tails.close()
        inner.state.index.close()
        server.should_exit = True
        thread.join(timeout=10)
