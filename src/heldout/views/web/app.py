"""The web server: a view of a folder of runs, live by server-sent events.

    /                             the page: the list of runs, or the run where there is one only
    /run/{id}                     the page, on that run
    /api/runs                     the runs, newest first
    /api/changes                  the runs that have changed, as it happens
    /api/compare                  several runs on shared axes
    /api/compare/curves           their training curves in a part of an axis, finer
    /api/runs/{id}                all a page draws, and the cursor to go on from
    /api/runs/{id}/events         what was appended since the cursor, as it happens
    /api/runs/{id}/series         its series between two steps, thinned
    /api/runs/{id}/layers/{step}  its layers as they were read at a step
    /api/runs/{id}/export.{kind}  the run as a file
    /api/runs/{id}/examples       the examples of its fixed set, filtered and in pages
    /api/runs/{id}/examples.{kind}  all that are so filtered, as a file
    /api/runs/{id}/examples/{ex}  one of them with all its evaluations
    /api/runs/{id}/annotations    what people say of the run and its alerts; POST adds to it

It opens no file but journals in the folder, what viewers found of their trainers' life and what people
said of the runs beside them, the fixed sets that the runs name, and its own built pages. It writes
nothing but what people say of the runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Collection
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar
from urllib.parse import quote

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from heldout.derive.history import History
from heldout.errors import ConfigError, DataError, HeldoutError, RunNotFound
from heldout.records import encode
from heldout.views.export import EXPORTERS
from heldout.views.series import thinned
from heldout.views.snapshot import lora
from heldout.views.web.compare import (
    MOST_RUNS,
    Part,
    Scored,
    curve,
    differences,
    pair,
    settings,
    side,
    why_not,
)
from heldout.views.web.examples import Other, Query, one, page
from heldout.views.web.examples_file import KINDS as FILES
from heldout.views.web.examples_file import rows as example_rows
from heldout.views.web.guard import SECURITY_HEADERS, Guard, is_loopback
from heldout.views.web.limits import configured
from heldout.views.web.public import Public
from heldout.views.web.runs_index import RunsIndex
from heldout.views.web.set_file import SetFile
from heldout.views.web.tail import Tail, Tails
from heldout.views.web.writes import OF_ALERTS, read_write, what_stands, write_down, write_seen

T = TypeVar("T")

STATIC = Path(__file__).parent / "static"
RETRY_MILLISECONDS = 1000
TICK_SECONDS = 0.5
STILL_HERE = b"event:still\ndata\n\n"
"""An event, where a comment would do for proxies: a page hears by it that the line is not dead."""
MOST_SET_FILES = 8
BRIEF = ("id", "model", "state", "step", "total_steps", "em", "n", "time")
"""What a page that shows one run wants to know of the others."""

_NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>heldout</title>
<h1>The page is not built yet</h1>
<p>The data is served: <a href="{base}api/runs">api/runs</a>. To build the page, run this in the
source checkout, then load this page again:</p>
<pre>make web</pre></html>
"""


def create_app(
    root: Path,
    *,
    token: str | None = None,
    hosts: Collection[str] = (),
    static: Path = STATIC,
    framed: bool = False,
    public: Public | None = None,
) -> Starlette:
    """Build the server of the runs in `root`.

    `hosts` are names to answer to besides localhost, and `public` is where a proxy shows the page: its
    name is one of them, and its page may write. A `framed` page may be shown inside another one
    of this machine, as a notebook is. Raises `ConfigError` when one of the names can be
    reached from another machine and there is no `token`.
    """
    hosts = {*hosts, *([public.host] if public else [])}
    open_hosts = sorted(host for host in hosts if not is_loopback(host))
    if open_hosts and not token:
        raise ConfigError(f"host {open_hosts[0]!r} is open to other machines: it needs a token")
    app = Starlette(
        routes=[
            Route("/", _page),
            Route("/run/{id}", _page),
            Route("/favicon.ico", _no_icon),  # browsers ask for it on pages that name no icon
            Route("/api/runs", _runs),
            Route("/api/changes", _list_events),
            Route("/api/compare", _compare),
            Route("/api/compare/curves", _compare_curves),
            Route("/api/runs/{id}", _run),
            Route("/api/runs/{id}/events", _events),
            Route("/api/runs/{id}/series", _series),
            Route("/api/runs/{id}/layers/{step}", _layers),
            Route("/api/runs/{id}/examples", _examples),
            Route("/api/runs/{id}/examples.{kind}", _examples_file),
            Route("/api/runs/{id}/examples/{example}", _example),
            Route("/api/runs/{id}/annotations", _annotate, methods=["POST"]),
            Route("/api/runs/{id}/annotations", _annotations),
            Route("/api/runs/{id}/export.{kind}", _export),
            Mount("/assets", _Assets(directory=static / "assets", check_dir=False)),
        ],
        middleware=[
            Middleware(
                Guard,
                token=token or None,
                hosts=hosts,
                framed=framed,
                secure=public is not None and public.is_secure,
            ),
            Middleware(GZipMiddleware, compresslevel=5),
        ],
        exception_handlers={
            RunNotFound: _not_found,
            ConfigError: _bad_request,
            DataError: _bad_request,
            OSError: _unreadable,
            HTTPException: _http_error,
            Exception: _server_error,
        },
    )
    app.state.tails = Tails(root)
    app.state.index = RunsIndex(root)
    app.state.set_files = {}
    app.state.write_key = secrets.token_urlsafe(24)
    app.state.origin = public.origin if public else ""
    app.state.static = static
    return app


def serve(
    root: Path,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    token: str | None = None,
    ready: Callable[[str], None] | None = None,
    framed: bool = False,
    public: str = "",
) -> None:
    """Serve the runs in `root` until interrupted; `ready` gets the address to open.

    Port 0 takes a free one. Who may frame a `framed` page, and what `public` is: see `create_app`. A host
    or a public name beyond this machine gets a token, made here if none is given. Raises `ConfigError`
    for a public address that is none, and `HeldoutError` when the host cannot be listened on.
    """
    proxied = Public.of(public) if public else None
    if not (is_loopback(host) and (proxied is None or is_loopback(proxied.host))):
        token = token or secrets.token_urlsafe(24)
    app = create_app(root, token=token, hosts=_names(host), framed=framed, public=proxied)
    listener = _listen(host, port)
    if ready is not None:
        local = _address(host, listener.getsockname()[1])
        address = proxied.address if proxied else local
        ready(address + (f"?token={quote(token)}" if token else ""))
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is the way to end this: no traceback
        _Server(configured(app), app.state.tails, app.state.index).run(sockets=[listener])


class _Server(uvicorn.Server):
    """A server that lets its event streams go when it is told to end."""

    def __init__(self, config: uvicorn.Config, tails: Tails, index: RunsIndex) -> None:
        super().__init__(config)
        self._tails, self._index = tails, index

    async def main_loop(self) -> None:
        # The parent's looks ten times a second whether to end, which is most of what an idle server does.
        while not await self.on_tick(0):
            await asyncio.sleep(TICK_SECONDS)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._tails.close()
        self._index.close()
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
    index: RunsIndex = request.app.state.index
    brief = "brief" in request.query_params
    found = await index.lines(complete=not brief)
    if brief:
        known = {"ETag": f'"{found["version"]}"', "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == known["ETag"]:
            return Response(status_code=304, headers=known)
        lines = [{field: line[field] for field in BRIEF} for line in found["runs"]]
        return _json({"runs": lines}, headers=known)
    return _json({**found, "write_key": request.app.state.write_key})


async def _list_events(request: Request) -> Response:
    index: RunsIndex = request.app.state.index
    since = request.headers.get("last-event-id") or request.query_params.get("since", "")
    return _event_stream(_lines(index, since))


async def _lines(index: RunsIndex, since: str) -> AsyncIterator[bytes]:
    yield b"retry: %d\n\n" % RETRY_MILLISECONDS
    async for event in index.events(since):
        if event is None:
            yield STILL_HERE
        else:
            yield b"id: %s\ndata: %s\n\n" % (event[0].encode(), event[1])


async def _annotations(request: Request) -> Response:
    tail = await _tail(request)
    stands = await tail.ask(partial(what_stands, tail.path.parent))
    return _json({**stands, "write_key": request.app.state.write_key})


async def _annotate(request: Request) -> Response:
    said = await read_write(request, request.app.state.write_key, request.app.state.origin)
    tail = await _tail(request)
    folder = tail.path.parent
    try:
        if any(name in said for name in OF_ALERTS):
            stands = await tail.ask(partial(write_seen, folder, said))
        else:
            stands = await run_in_threadpool(write_down, folder, said)
    except (ConfigError, DataError):
        raise
    except HeldoutError as error:
        raise HTTPException(409, str(error)) from error
    index: RunsIndex = request.app.state.index
    await index.look_now()
    return _json(stands)


async def _examples(request: Request) -> Response:
    return _json(await _ask_examples(request, page))


async def _examples_file(request: Request) -> Response:
    kind = request.path_params["kind"]
    if kind not in FILES:
        raise HTTPException(404, "examples are given as csv or json")
    media_type, write = FILES[kind]
    found = await _ask_examples(request, example_rows)
    name = f"{request.path_params['id']}-examples.{kind}"
    return _file(await run_in_threadpool(write, found), name, media_type)


async def _ask_examples(request: Request, question: Callable[..., T]) -> T:
    """What `question` makes of the examples that the address asks for."""
    query = Query.of(request.query_params)
    tail, against = await _tail(request), request.query_params.get("against", "")
    other = await _other(request, tail, against) if against else None
    file = _set_file(request, tail)
    beside = tail.path.parent
    return await tail.ask(lambda history: question(history, query, file, beside, other))


async def _other(request: Request, tail: Tail, name: str) -> Other:
    """The run to show the rows against. Raises `ConfigError` where it has another fixed set."""
    tails: Tails = request.app.state.tails
    there = await (await tails.find(name)).ask(partial(Scored.of, name))
    reason = why_not(await tail.ask(partial(Scored.of, request.path_params["id"])), there)
    if reason:
        raise ConfigError(reason)
    return Other(id=name, items={item.id: item for item in there.items})


async def _example(request: Request) -> Response:
    tail = await _tail(request)
    file, name = _set_file(request, tail), request.path_params["example"]
    found = await tail.ask(lambda history: one(history, name, file, tail.path.parent))
    if found is None:
        raise HTTPException(404, "no such example in the latest evaluation")
    return _json(found)


def _set_file(request: Request, tail: Tail) -> SetFile:
    files: dict[Path, SetFile] = request.app.state.set_files
    file = files.pop(tail.path, None) or SetFile()
    files[tail.path] = file  # last used, last in the order
    for path in list(files)[:-MOST_SET_FILES]:
        del files[path]
    return file


async def _compared(request: Request) -> list[tuple[str, Tail]]:
    """The runs that are to be compared, the reference first."""
    names = [name for name in dict.fromkeys(request.query_params.getlist("run")) if name]
    if not 1 <= len(names) <= MOST_RUNS:
        raise ConfigError(f"name 1 to {MOST_RUNS} runs to compare")
    tails: Tails = request.app.state.tails
    return [(name, await tails.find(name)) for name in names]


async def _compare_curves(request: Request) -> Response:
    part = Part.of(request.query_params)
    curves = [
        await tail.ask(partial(_curve, name, tail, part)) for name, tail in await _compared(request)
    ]
    return _json({"curves": curves})


def _curve(name: str, tail: Tail, part: Part, history: History) -> dict[str, Any]:
    return curve(name, history, tail.clock, part)


async def _compare(request: Request) -> Response:
    sides, found, scored = [], [], []
    for name, tail in await _compared(request):
        sides.append(await tail.ask(partial(_side, name, tail)))
        found.append(await tail.ask(settings))
        scored.append(await tail.ask(partial(Scored.of, name)))
    pairs = [
        {"other": other.name, **await run_in_threadpool(pair, scored[0], other)}
        for other in scored[1:]
    ]
    return _json({"runs": sides, "settings": differences(found), "pairs": pairs})


def _side(name: str, tail: Tail, history: History) -> dict[str, Any]:
    return side(name, history, tail.clock)


async def _run(request: Request) -> Response:
    page = await (await _tail(request)).page()
    exports = [{"name": e.name, "suffix": e.suffix.lstrip(".")} for e in EXPORTERS.values()]
    return _json({"id": request.path_params["id"], **page, "exports": exports})


async def _events(request: Request) -> Response:
    text = request.headers.get("last-event-id") or request.query_params.get("cursor", "0")
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise HTTPException(400, "the cursor is not a byte offset")
    stream = _stream(await _tail(request), int(text))
    return _event_stream(stream)


def _event_stream(stream: AsyncIterator[bytes]) -> Response:
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


async def _stream(tail: Tail, cursor: int) -> AsyncIterator[bytes]:
    yield b"retry: %d\n\n" % RETRY_MILLISECONDS
    async for event in tail.events(cursor):
        if event is None:
            yield STILL_HERE
        else:
            yield b"id: %d\ndata: %s\n\n" % (event.end, event.data)


async def _series(request: Request) -> Response:
    """The steps from `first` to `last`, both included."""
    asked = [request.query_params.get(name, "") for name in ("first", "last")]
    if not all(re.fullmatch(r"\d{1,15}", text, re.ASCII) for text in asked):
        raise HTTPException(400, "first and last must be steps")
    first, last = map(int, asked)
    tail = await _tail(request)
    return _json({"series": await tail.ask(lambda history: thinned(history, first, last))})


async def _layers(request: Request) -> Response:
    text: str = request.path_params["step"]
    if not re.fullmatch(r"\d{1,15}", text, re.ASCII):
        raise HTTPException(400, "the step is not a number")
    step = int(text)
    tail = await _tail(request)
    found = await tail.ask(lambda history: _read_at(history, step))
    if found is None:
        raise HTTPException(404, "no layers were read at this step")
    return _json(found)


def _read_at(history: History, step: int) -> dict[str, Any] | None:
    readings = [reading for reading in history.layers if reading.step <= step]
    return lora(readings) if readings and readings[-1].step == step else None


async def _export(request: Request) -> Response:
    kind = request.path_params["kind"]
    found = [e for e in EXPORTERS.values() if e.suffix.lstrip(".") == kind]
    if not found:
        raise HTTPException(404, "no such export")
    exporter = found[0]
    data = await (await _tail(request)).export(exporter)
    return _file(data, f"{request.path_params['id']}.{kind}", exporter.media_type)


def _file(data: bytes, name: str, media_type: str) -> Response:
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    headers = {"Content-Disposition": disposition}
    return Response(data, media_type=media_type, headers=headers)


async def _tail(request: Request) -> Tail:
    tails: Tails = request.app.state.tails
    return await tails.find(request.path_params["id"])


def _json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(encode(value), status, headers, media_type="application/json")


async def _not_found(request: Request, error: Exception) -> Response:
    return _json({"error": str(error)}, 404)


async def _bad_request(request: Request, error: Exception) -> Response:
    return _json({"error": str(error)}, 400)


async def _unreadable(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    reason = os.strerror(error.errno) if error.errno else "no reason given"
    return _json({"error": f"a file of this run cannot be read: {reason}"}, 503)


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


def _address(host: str, port: int) -> str:
    shown = {"": "127.0.0.1", "0.0.0.0": socket.gethostname(), "::": socket.gethostname()}
    name = shown.get(host, host)
    name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{port}/"


__all__ = ["create_app", "serve"]
