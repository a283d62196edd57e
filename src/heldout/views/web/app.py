"""The web server: a read-only view of a folder of runs, live by server-sent events.

    /                             the page, on the newest run
    /run/{id}                     the page, on that run
    /api/runs                     the runs, newest first
    /api/runs/{id}                all a page draws, and the cursor to go on from
    /api/runs/{id}/events         what was appended since the cursor, as it happens
    /api/runs/{id}/export.{kind}  the run as a file

It opens no file but journals in the folder and its own built pages, and it never writes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path
from types import FrameType
from urllib.parse import quote

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from heldout.errors import ConfigError, HeldoutError, RunNotFound
from heldout.records import encode
from heldout.views.export import EXPORTERS
from heldout.views.web.guard import SECURITY_HEADERS, Guard, is_loopback
from heldout.views.web.tail import Tail, Tails

STATIC = Path(__file__).parent / "static"
RETRY_MILLISECONDS = 1000

_NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>heldout</title>
<h1>The page is not built yet</h1>
<p>The data is served: <a href="{base}api/runs">api/runs</a>. To build the page, run this in the
source checkout, then load this page again:</p>
<pre>make web</pre></html>
"""


def create_app(
    root: Path, *, token: str | None = None, hosts: Collection[str] = (), static: Path = STATIC
) -> Starlette:
    """Build the server of the runs in `root`.

    `hosts` are names to answer to besides localhost. Raises `ConfigError` when one of them can be
    reached from another machine and there is no `token`.
    """
    open_hosts = sorted(host for host in hosts if not is_loopback(host))
    if open_hosts and not token:
        raise ConfigError(f"host {open_hosts[0]!r} is open to other machines: it needs a token")
    app = Starlette(
        routes=[
            Route("/", _page),
            Route("/run/{id}", _page),
            Route("/favicon.ico", _no_icon),  # browsers ask for it on pages that name no icon
            Route("/api/runs", _runs),
            Route("/api/runs/{id}", _run),
            Route("/api/runs/{id}/events", _events),
            Route("/api/runs/{id}/export.{kind}", _export),
            Mount("/assets", _Assets(directory=static / "assets", check_dir=False)),
        ],
        middleware=[
            Middleware(Guard, token=token or None, hosts=hosts),
            Middleware(GZipMiddleware, compresslevel=5),
        ],
        exception_handlers={
            RunNotFound: _not_found,
            HTTPException: _http_error,
            Exception: _server_error,
        },
    )
    app.state.tails = Tails(root)
    app.state.static = static
    return app


def serve(
    root: Path,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    token: str | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the runs in `root` until interrupted; `ready` gets the address to open.

    Port 0 takes a free one. A host beyond this machine gets a token, made here if none is given.
    Raises `HeldoutError` when the address cannot be listened on.
    """
    hosts = _names(host)
    if not is_loopback(host):
        token = token or secrets.token_urlsafe(24)
    app = create_app(root, token=token, hosts=hosts)
    listener = _listen(host, port)
    if ready is not None:
        ready(_address(host, listener.getsockname()[1], token))
    config = uvicorn.Config(
        app, log_level="warning", server_header=False, timeout_graceful_shutdown=2
    )
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is the way to end this: no traceback
        _Server(config, app.state.tails).run(sockets=[listener])


class _Server(uvicorn.Server):
    """A server that lets its event streams go when it is told to end."""

    def __init__(self, config: uvicorn.Config, tails: Tails) -> None:
        super().__init__(config)
        self._tails = tails

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._tails.close()
        super().handle_exit(sig, frame)


class _Assets(StaticFiles):
    """The built files; their names hold a hash of their content, so they never go stale."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


async def _page(request: Request) -> Response:
    # The page's addresses are relative, so it works under any sub-path; <base> says from where.
    base = "../" if "id" in request.path_params else "./"
    index: Path = request.app.state.static / "index.html"
    if not index.is_file():
        return HTMLResponse(_NOT_BUILT.format(base=base), headers={"Cache-Control": "no-cache"})
    if base == "./":
        return FileResponse(index, headers={"Cache-Control": "no-cache"})
    text = index.read_text("utf-8").replace('<base href="./"', f'<base href="{base}"', 1)
    return HTMLResponse(text, headers={"Cache-Control": "no-cache"})


async def _no_icon(request: Request) -> Response:
    return Response(status_code=204)


async def _runs(request: Request) -> Response:
    tails: Tails = request.app.state.tails
    return _json({"runs": await tails.summaries()})


async def _run(request: Request) -> Response:
    page = await (await _tail(request)).page()
    exports = [{"name": e.name, "suffix": e.suffix.lstrip(".")} for e in EXPORTERS.values()]
    return _json({"id": request.path_params["id"], **page, "exports": exports})


async def _events(request: Request) -> Response:
    text = request.headers.get("last-event-id") or request.query_params.get("cursor", "0")
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise HTTPException(400, "the cursor is not a byte offset")
    stream = _stream(await _tail(request), int(text))
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


async def _stream(tail: Tail, cursor: int) -> AsyncIterator[bytes]:
    yield b"retry: %d\n\n" % RETRY_MILLISECONDS
    async for event in tail.events(cursor):
        if event is None:
            yield b": still here\n\n"
        else:
            yield b"id: %d\ndata: %s\n\n" % (event.end, event.data)


async def _export(request: Request) -> Response:
    kind = request.path_params["kind"]
    found = [e for e in EXPORTERS.values() if e.suffix.lstrip(".") == kind]
    if not found:
        raise HTTPException(404, "no such export")
    exporter = found[0]
    data = await (await _tail(request)).export(exporter)
    name = f"{request.path_params['id']}.{kind}"
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    headers = {"Content-Disposition": disposition}
    return Response(data, media_type=exporter.media_type, headers=headers)


async def _tail(request: Request) -> Tail:
    tails: Tails = request.app.state.tails
    return await tails.find(request.path_params["id"])


def _json(value: object, status: int = 200) -> Response:
    return Response(encode(value), status, media_type="application/json")


async def _not_found(request: Request, error: Exception) -> Response:
    return _json({"error": str(error)}, 404)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _json({"error": error.detail}, error.status_code)


async def _server_error(request: Request, error: Exception) -> Response:
    # This answer is made outside the Guard, so it brings the headers itself.
    response = _json({"error": "the server failed at this; its log says why"}, 500)
    response.headers.update(SECURITY_HEADERS)
    return response


def _names(host: str) -> frozenset[str]:
    """The names a server bound to `host` answers to; a wildcard means this machine's own names."""
    if host in ("", "0.0.0.0", "::"):
        return frozenset({socket.gethostname(), socket.getfqdn()})
    return frozenset({host})


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=128
        )
    except OSError as error:
        known = error.errno in errno.errorcode
        reason = os.strerror(error.errno) if error.errno and known else error.strerror or error
        raise HeldoutError(
            f"cannot listen on {host}:{port}: {reason}. Another port? (--port 0 takes a free one)"
        ) from error


def _address(host: str, port: int, token: str | None) -> str:
    shown = {"": "127.0.0.1", "0.0.0.0": socket.gethostname(), "::": socket.gethostname()}
    name = shown.get(host, host)
    name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{port}/" + (f"?token={quote(token)}" if token else "")


__all__ = ["create_app", "serve"]
