"""The server as an attacker meets it: bytes on a socket, foreign pages, hostile folders."""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
import pytest
from recorded_run import eval_records, recorded, run_record, sample, write
from serving import serving
from starlette.testclient import TestClient

from heldout.records import EvalSet
from heldout.store import journal
from heldout.views.web import limits
from heldout.views.web.app import create_app
from heldout.views.web.guard import MOST_TARGET_BYTES, SECURITY_HEADERS
from heldout.views.web.writes import HEADER
from heldout.views.web.writes import MOST_BYTES as MOST_BODY

TOKEN = "a-long-token"


@dataclass(frozen=True)
class Answer:
    """What came back over a socket."""

    status: int
    headers: dict[str, str]
    body: bytes


def tell(address: str, message: bytes, seconds: float = 5.0) -> Answer:
    """Send bytes as they are; read until the server closes, or for a while."""
    with connected(address) as connection:
        connection.settimeout(seconds)
        connection.sendall(message)
        return heard(connection)


@contextmanager
def connected(address: str) -> Iterator[socket.socket]:
    parts = urlsplit(address)
    assert parts.hostname
    assert parts.port
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        yield connection


def heard(connection: socket.socket) -> Answer:
    data = b""
    with suppress(TimeoutError, ConnectionResetError):
        while part := connection.recv(65536):
            data += part
    head, _, body = data.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in rest)}
    return Answer(int(first.split(" ")[1]) if first else 0, headers, body)


def get(address: str, path: str, *lines: str, host: str = "localhost") -> Answer:
    head = [f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: close", *lines]
    return tell(address, ("\r\n".join(head) + "\r\n\r\n").encode("utf-8"))


@contextmanager
def command(runs: Path, *options: str, files: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """`heldout ui` as a process of its own, which may open as many `files`."""

    def limited() -> None:
        if files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

    process = subprocess.Popen(
        [sys.executable, "-m", "heldout", "ui", str(runs), "--no-browser", "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limited,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


# --- who can connect, and with what token


def test_by_default_only_this_machine_can_connect(runs: Path) -> None:
    with command(runs) as process:
        address = first_line(process)
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
        assert get(address, "/api/runs").status == 200
        with pytest.raises(ConnectionRefusedError):  # a server on every address would answer here
            get(address.replace("127.0.0.1", "127.0.0.2"), "/api/runs")


def test_the_notebook_s_page_is_for_this_machine_only_too(runs: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "heldout.framed", str(runs)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        address = first_line(process)
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address)
        assert get(address, "/api/runs").status == 200
        with pytest.raises(ConnectionRefusedError):
            get(address.replace("127.0.0.1", "127.0.0.2"), "/api/runs")
        process.communicate("", timeout=20)  # the end of its input ends it
        assert process.returncode == 0


def test_another_host_gets_a_token_that_is_printed_once_and_never_logged(runs: Path) -> None:
    with command(runs, "--host", "0.0.0.0") as process:
        link = first_line(process)
        found = re.fullmatch(r"http://[^/]+:(\d+)/\?token=([\w-]{32,})", link)
        assert found is not None
        token = found[2]
        address = f"http://127.0.0.2:{found[1]}"  # it listens on every address
        assert get(address, "/api/runs", host="127.0.0.2").status == 401
        assert get(address, f"/?token={token}x", host="127.0.0.2").status == 401
        assert get(address, f"/?token={token}", host="127.0.0.2").status == 200
        assert get(address, "/", f"Authorization: Bearer {token}", host="127.0.0.2").status == 200
        assert tell(address, f"GET /?token={token} NOHTTP\r\n\r\n".encode()).status == 400
        process.send_signal(signal.SIGINT)
        out, log = process.communicate(timeout=20)
        assert token not in out + log


class NeverCompared(str):
    """A text whose plain comparison, which ends at the first difference, is an error."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared in a time that tells how much was right")

    __ne__ = __eq__


def test_the_token_is_compared_in_constant_time(runs: Path) -> None:
    client = TestClient(create_app(runs, token=NeverCompared(TOKEN)), base_url="http://localhost")
    for offered in (TOKEN, "x", TOKEN[:-1], "ü"):
        expected = 200 if offered == TOKEN else 401
        assert client.get("/api/runs", params={"token": offered}).status_code == expected
        client.cookies.clear()
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert client.get("/api/runs", headers=bearer).status_code == 200


# --- Host


@pytest.mark.parametrize(
    "host",
    [
        *("localhost:80:80", "localhost:evil", "localhost:", "[::1]evil", "[::1", "::1"),
        *("localhost.", "localhost.evil.example", "evil.example:80", "127.0.0.1@evil.example"),
        *("evil.example@127.0.0.1", "localhost, evil.example", "localhost evil.example", "127.1"),
        *("0.0.0.0", "[::ffff:127.0.0.1]", "0x7f000001", "2130706433", "\u212aocalhost", ""),
    ],
)
def test_a_name_that_is_not_ours_is_refused(server: str, host: str) -> None:
    assert get(server, "/api/runs", host=host).status == 400


@pytest.mark.parametrize("host", ["localhost", "LocalHost:9", "127.0.0.1:65535", "[::1]:8123"])
def test_the_names_of_this_machine_are_answered(server: str, host: str) -> None:
    assert get(server, "/api/runs", host=host).status == 200


@pytest.mark.parametrize(
    "message",
    [
        b"GET /api/runs HTTP/1.0\r\n\r\n",
        b"GET /api/runs HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET /api/runs HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET /api/runs HTTP/1.1\r\nHost: evil.example\r\nHost: localhost\r\n\r\n",
        b"GET /api/runs HTTP/1.0\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET http://localhost/api/runs HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        b"GET http://evil.example/api/runs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /api/runs HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: localhost\r\n"
        b"Forwarded: host=localhost\r\nConnection: close\r\n\r\n",
    ],
)
def test_no_other_way_to_name_a_host_is_a_way_in(server: str, message: bytes) -> None:
    answer = tell(server, message)
    assert answer.status in (400, 404)
    assert b"tiny-model" not in answer.body


def test_two_hosts_are_refused_whatever_reads_the_bytes(runs: Path) -> None:
    """By the application too: another reader of HTTP than today's may let them pass."""
    headers = [(b"host", b"localhost"), (b"host", b"evil.example")]
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": "/api/runs",
        "raw_path": b"/api/runs",
        "query_string": b"",
        "headers": headers,
        "http_version": "1.1",
        "root_path": "",
    }
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(create_app(runs)(scope, receive, send))
    assert sent[0]["status"] == 400


# --- other sites


def every_path(runs: Path) -> list[str]:
    """An address of each route of the server, with a run that is there and one that is not."""
    found = []
    for route in create_app(runs).routes:
        path = re.sub(r"\{(\w+)(:\w+)?\}", r"{\1}", getattr(route, "path", ""))
        if path.endswith(("/events", "/changes")):
            path += "?cursor=x"  # refused, where a stream would not end
        for run in ("first", "missing"):
            known = {"{id}": run, "{step}": "20", "{example}": "item-1", "{kind}": "csv"}
            for name, value in known.items():
                path = path.replace(name, value)
            found.append(path)
    assert not [path for path in found if "{" in path]
    return [*dict.fromkeys(found), "/assets/none.js", "/nothing", "/%ff"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "TRACE"])
def test_every_answer_is_closed_to_other_origins_and_to_scripts_in_text(
    runs: Path, method: str
) -> None:
    lines = (
        *("Host: localhost", "Connection: close", "Origin: http://evil.example"),
        *("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: x-heldout-write"),
    )
    with serving(runs) as open_, serving(runs, token=TOKEN) as guarded:
        for address in (open_, guarded):
            for path in every_path(runs):
                if path.startswith("/api/changes"):
                    continue  # it streams; its headers are looked at below
                head = "\r\n".join([f"{method} {path} HTTP/1.1", *lines])
                answer = tell(address, f"{head}\r\n\r\n".encode())
                assert answer.status in (200, 204, 307, 400, 401, 403, 404, 405, 415), path
                closed(answer)


def closed(answer: Answer) -> None:
    assert [name for name in answer.headers if name.startswith("access-control")] == []
    for name, value in SECURITY_HEADERS.items():
        assert answer.headers[name.lower()] == value
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_the_answers_to_what_is_no_request_are_closed_too(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(runs, static=tmp_path / "not-built") as address:
        closed(get(address, "/"))
        closed(tell(address, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"))
        closed(get(address, "/", host="evil.example"))
        closed(get(address, "/api/runs?" + "x" * MOST_TARGET_BYTES))
        for path in ("/api/changes", "/api/runs/first/events?cursor=0"):
            with connected(address) as connection:
                connection.settimeout(1.0)
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                closed(heard(connection))
        monkeypatch.setattr("heldout.views.web.tail.Tail.page", None)
        failed = get(address, "/api/runs/first")
        assert failed.status == 500
        closed(failed)
        monkeypatch.setattr(limits, "MOST_CONNECTIONS", 0)
        full = get(address, "/")
        assert full.status == 503
        closed(full)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_s_page_gets_nothing_even_to_load_or_to_count(server: str, site: str) -> None:
    lines = (f"Sec-Fetch-Site: {site}", "Sec-Fetch-Mode: no-cors")
    for path in ("/", "/api/runs", "/api/changes", "/api/runs/first/events", "/assets/x.js"):
        assert get(server, path, *lines).status == 403
    opened = (f"Sec-Fetch-Site: {site}", "Sec-Fetch-Mode: navigate")
    assert get(server, "/", *opened).status == 200  # a link to the page may be followed


# --- paths

NAMES = (
    *("..", ".", "%2e%2e", "%2e%2e%2foutside", "..%2foutside", "..%2Foutside%2fsecret"),
    *("%252e%252e%252foutside", "%2fetc%2fpasswd", "first%2f..%2f..%2foutside", "..%5coutside"),
    *("first%00", "%00", "%c0%ae%c0%ae%c0%afoutside", "%e0%80%ae%e0%80%ae", "%u002e%u002e"),
    *("linked", "linked-journal", "folder-journal", "broken", "loop", "pipe", "a" * 4000),
    *("first;..", "first#", "~", "$HOME", "*", "%2e", "con", "first%20", "FIRST", "%ff%fe"),
)


@pytest.fixture
def outside(runs: Path) -> Path:
    """A run outside of the folder, and every way to lead there from inside."""
    outside = runs.parent / "outside"
    write(outside / "secret", [run_record("secret-run"), sample(1)])
    (runs / "linked").symlink_to(outside / "secret")
    for name in ("linked-journal", "broken", "loop", "pipe"):
        (runs / name).mkdir()
    (runs / "linked-journal" / "journal.jsonl").symlink_to(outside / "secret" / "journal.jsonl")
    (runs / "broken" / "journal.jsonl").symlink_to("/nowhere/at/all")
    (runs / "loop" / "journal.jsonl").symlink_to("journal.jsonl")
    (runs / "folder-journal" / "journal.jsonl").mkdir(parents=True)
    os.mkfifo(runs / "pipe" / "journal.jsonl")
    return outside


def test_no_run_s_name_leaves_the_folder(runs: Path, outside: Path) -> None:
    tails = ("", "/events", "/series?first=0&last=1", "/layers/1", "/export.json", "/examples")
    with serving(runs) as address:
        for name in NAMES:
            for tail in (*tails, "/examples/x", "/annotations"):
                answer = get(address, f"/api/runs/{name}{tail}")
                assert answer.status in (404, 405), (name, tail)
                assert no_secret(answer.body, runs)
            assert get(address, f"/api/compare?run=first&run={name}").status == 404
        listed = json.loads(get(address, "/api/runs").body)["runs"]
        assert [run["id"] for run in listed] == ["first"]


@pytest.mark.parametrize(
    "name",
    [
        *("../app.py", "%2e%2e/app.py", "..%2fapp.py", "%2e%2e%2f%2e%2e%2fapp.py", "..%5capp.py"),
        *("%252e%252e/app.py", "%c0%ae%c0%ae/app.py", "/etc/passwd", "%2fetc%2fpasswd", "%00"),
        *("x%00.js", "....//app.py", "a" * 5000, "link/passwd", "passwd"),
    ],
)
def test_no_asset_s_name_leaves_the_folder(runs: Path, tmp_path: Path, name: str) -> None:
    assets = tmp_path / "static" / "assets"
    assets.mkdir(parents=True)
    (assets.parent / "app.py").write_text("secret-run")
    (assets / "link").symlink_to("/etc")
    (assets / "passwd").symlink_to("/etc/passwd")
    with serving(runs, static=tmp_path / "static") as address:
        answer = get(address, f"/assets/{name}")
        assert answer.status == 404
        assert no_secret(answer.body, runs)


def no_secret(body: bytes, runs: Path) -> bool:
    """Whether an answer names no path, no source and nothing from outside."""
    text = body.decode("utf-8", "replace")
    words = (str(runs), str(runs.parent), "Traceback", "site-packages", 'File "', "secret-run")
    return not [word for word in (*words, "root:x:", ".py") if word in text]


SET_FILES = (
    *(
        "/etc/passwd",
        "/dev/zero",
        "/dev/stdin",
        "/proc/kmsg",
        "/proc/self/environ",
        "/proc/self/mem",
    ),
    *("/", "", "\x00", "a" * 5000, "../../../../../../etc/passwd", "~/.ssh/id_rsa", "pipe", "huge"),
)


@pytest.mark.parametrize("named", SET_FILES)
def test_a_journal_that_names_another_file_learns_nothing_of_it(runs: Path, named: str) -> None:
    os.mkfifo(runs.parent / "pipe")
    with (runs.parent / "huge").open("wb") as huge:
        huge.truncate(1 << 40)
    path = str(runs.parent / named) if named in ("pipe", "huge") else named
    about = EvalSet(path=path, hash="0" * 64, n=60)
    run = msgspec.structs.replace(run_record("odd"), eval_set=about)
    write(runs / "odd", [run, sample(1), *eval_records(1, right=20)])
    with serving(runs) as address:
        for tail in ("examples", "examples/item-1"):
            answer = get(address, f"/api/runs/odd/{tail}")
            assert answer.status == 200
            assert json.loads(answer.body)["missing"]
            for secret in (b"root:x:", b"PATH=", b"[core]"):
                assert secret not in answer.body


def test_an_annotation_is_written_at_the_end_of_no_link(runs: Path) -> None:
    target = runs.parent / "target"
    target.write_text("kept")
    (runs / "first" / "annotations.jsonl").symlink_to(target)
    (runs / "first" / "heartbeat.jsonl").symlink_to(target)
    with serving(runs) as address:
        assert post(address, b'{"tags": ["a"], "note": ""}').status == 409
    with pytest.raises(journal.JournalError):
        journal.Journal(runs / "first" / "heartbeat.jsonl")
    assert target.read_text() == "kept"


# --- limits


def post(address: str, body: bytes, *lines: str) -> Answer:
    with urllib.request.urlopen(f"{address}/api/runs") as listed:
        key = json.loads(listed.read())["write_key"]
    head = (
        *("POST /api/runs/first/annotations HTTP/1.1", "Host: localhost", f"{HEADER}: {key}"),
        *("Content-Type: application/json", "Connection: close"),
        *(lines or (f"Content-Length: {len(body)}",)),
    )
    return tell(address, "\r\n".join(head).encode() + b"\r\n\r\n" + body)


def test_a_body_above_the_limit_is_refused_however_it_comes(server: str) -> None:
    large = json.dumps({"tags": [], "note": "x" * MOST_BODY}).encode()
    assert post(server, large).status == 413
    chunks = b"".join(b"%x\r\n%s\r\n" % (4096, b"x" * 4096) for _ in range(10)) + b"0\r\n\r\n"
    assert post(server, chunks, "Transfer-Encoding: chunked").status == 413
    deep = b"[" * 30_000
    assert post(server, deep).status == 400
    assert post(server, b'{"tags": [], "note": "fits"}').status == 200


def test_what_is_asked_for_is_bounded(server: str) -> None:
    many = json.loads(get(server, "/api/compare?" + "run=first&" * 1500).body)
    assert len(many["runs"]) == 1
    missing = get(server, "/api/compare?run=" + "x" * 16_000)
    assert (missing.status, len(missing.body) < 500) == (404, True)
    assert get(server, "/api/compare?" + "&".join(f"run={i}" for i in range(9))).status == 400
    assert get(server, "/api/runs?" + "a&" * MOST_TARGET_BYTES).status == 414
    assert get(server, "/" + "a" * MOST_TARGET_BYTES).status == 414
    rows = json.loads(get(server, "/api/runs/first/examples?limit=999999999").body)["rows"]
    assert len(rows) == 60
    for query in (
        "limit=-1",
        "offset=1e9",
        "limit=" + "9" * 50,
        "offset=\u0663",
        "limit=1&limit=x",
    ):
        assert get(server, f"/api/runs/first/examples?{quote(query, safe='=&')}").status == 400
    for path in (
        *("series?first=" + "9" * 16 + "&last=1", "series?first=-1&last=1", "series?first=1"),
        *("layers/" + "9" * 5000, "layers/-1", "layers/1e3", "events?cursor=" + "9" * 19),
        *("events?cursor=-1", "events?cursor=%d9%a3"),
    ):
        assert get(server, f"/api/runs/first/{path}").status == 400, path


def test_a_head_without_end_is_refused(server: str) -> None:
    with connected(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        with suppress(ConnectionError):
            for _ in range(100):
                connection.sendall(b"X-Filler: " + b"x" * 4096 + b"\r\n")
        assert heard(connection).status in (0, 400)
    assert get(server, "/api/runs").status == 200


def test_connections_beyond_the_limit_are_told_and_room_is_made_again(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MOST_CONNECTIONS", 20)
    with ExitStack() as idle:
        for _ in range(20):
            idle.enter_context(connected(server))
        with connected(server) as one_more:
            answer = heard(one_more)
            assert (answer.status, answer.body) == (503, b"too many connections are open")
    answer = get(server, "/api/runs")
    for _ in range(100):  # the others' ends are still on their way
        if answer.status == 200:
            break
        time.sleep(0.05)
        answer = get(server, "/api/runs")
    assert answer.status == 200


def test_a_request_that_never_ends_is_ended(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REQUEST_SECONDS", 0.4)
    with connected(server) as silent, connected(server) as dripping, connected(server) as again:
        again.sendall(b"GET /favicon.ico HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert again.recv(4096).startswith(b"HTTP/1.1 204")
        ended = False
        for _ in range(200):  # a byte now and then, also after an answer, keeps no connection
            with suppress(ConnectionError):
                dripping.sendall(b"G")
            try:
                again.sendall(b"G")
            except ConnectionError:
                ended = True
                break
            time.sleep(0.02)
        assert ended
        for connection in (silent, dripping):
            connection.settimeout(10)
            assert heard(connection).status == 0


def test_a_stream_that_waits_for_news_is_not_ended(
    server: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REQUEST_SECONDS", 0.2)
    size = (runs / "first" / "journal.jsonl").stat().st_size
    with connected(server) as stream:
        stream.sendall(
            f"GET /api/runs/first/events?cursor={size} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        )
        assert stream.recv(4096).startswith(b"HTTP/1.1 200")
        time.sleep(0.8)
        write(runs / "first", [sample(61)])
        stream.settimeout(10)
        found = b""
        while b'"step":61' not in found:
            part = stream.recv(65536)
            assert part, "the stream was ended"
            found += part


def test_more_idle_sockets_than_open_files_do_not_end_the_server(runs: Path) -> None:
    with command(runs, files=256) as process, ExitStack() as idle:
        address = first_line(process)
        for i in range(330):
            connection = idle.enter_context(connected(address))
            if i % 2:
                with suppress(ConnectionError):
                    connection.sendall(b"GET / HTTP/1.1\r\n")
        idle.close()
        for _ in range(200):
            if get(address, "/api/runs").status == 200:
                break
            time.sleep(0.05)
        assert get(address, "/api/runs").status == 200
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=20)
        assert "Too many open files" not in log


# --- errors

ODD = (
    "",
    "0",
    "-1",
    "9" * 5000,
    "NaN",
    "%00",
    "%ff",
    "..",
    "\u202e",
    "<script>",
    "'",
    '"',
    "a" * 300,
)


def test_no_answer_names_a_path_whatever_is_asked(runs: Path, outside: Path) -> None:
    queries = ("cursor", "since", "first", "last", "run", "against", "kind", "sort", "offset")
    app = create_app(runs)
    with TestClient(app, "http://localhost", raise_server_exceptions=False) as client:
        for route in app.routes:
            path = getattr(route, "path", "")
            if path.endswith(("/events", "/changes")):
                continue  # streams; refused cursors are tested above
            for odd in ODD:
                for run in ("first", quote(odd, safe="%")) if "{id}" in path else ("",):
                    asked = path.replace("{id}", run)
                    asked = re.sub(r"\{[^}]+\}", quote(odd, safe="%"), asked)
                    for query in ("", *(f"?{name}={quote(odd, safe='%')}" for name in queries)):
                        answer = client.get(asked + query)
                        assert answer.status_code < 500, asked + query
                        assert no_secret(answer.content, runs), asked + query


def test_a_journal_that_cannot_be_read_is_said_without_its_path(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permission is refused by the reader, since a test may run as root, whom no mode keeps out."""
    write(runs / "second", recorded("second"))
    opened = Path.open

    def refuse(path: Path, *given: Any, **more: Any) -> Any:
        if path.parent.name == "second":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *given, **more)

    monkeypatch.setattr(Path, "open", refuse)
    client = TestClient(create_app(runs), base_url="http://localhost")
    for tail in ("", "/examples", "/series?first=0&last=9", "/export.csv", "/layers/20"):
        answer = client.get(f"/api/runs/second{tail}")
        assert answer.status_code == 503
        assert answer.json() == {"error": "a file of this run cannot be read: Permission denied"}
    assert client.get("/api/compare?run=first&run=second").status_code == 503
    assert [run["id"] for run in client.get("/api/runs").json()["runs"]] == ["first"]
