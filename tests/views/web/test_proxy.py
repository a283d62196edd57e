"""The page behind a proxy of its own host name: read, followed and written to, and by nobody else."""

from __future__ import annotations

import json
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from recorded_run import sample, write
from serving import serving
from starlette.testclient import TestClient
from test_security import command, first_line

from heldout.errors import ConfigError
from heldout.views.web.app import create_app
from heldout.views.web.guard import cookie_name
from heldout.views.web.public import Public
from heldout.views.web.writes import HEADER

TOKEN = "a-long-token"
UNDER = "/heldout/"
NAME = "gpu.localhost"
"""A name that is not this machine's to the server, and is to the browser's resolver."""
PER_HOP = ("connection", "transfer-encoding", "keep-alive")


@dataclass
class Relay:
    """A proxy over plain http, which passes `UNDER` on without it."""

    port: int
    keeps_host: bool
    behind: int = 0
    """The server's port."""

    @property
    def address(self) -> str:
        return f"http://{NAME}:{self.port}{UNDER}"


@contextmanager
def relaying(*, keeps_host: bool) -> Iterator[Relay]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(UNDER):
                self.send_response(204)  # the icon of a page without one
                self.end_headers()
                return
            # A browser sends no Sec-Fetch-* to a plain http site of another machine.
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in PER_HOP and not name.lower().startswith("sec-fetch")
            }
            headers["Connection"] = "close"
            if not keeps_host:
                headers["Host"] = f"127.0.0.1:{relay.behind}"
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            upstream = HTTPConnection("127.0.0.1", relay.behind, timeout=20)
            try:
                upstream.request(self.command, self.path[len(UNDER) - 1 :], body, headers)
                answer = upstream.getresponse()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in PER_HOP:
                        self.send_header(name, value)
                self.end_headers()
                while part := answer.read1():
                    self.wfile.write(part)
            except OSError:
                pass  # the page or the server has left
            finally:
                upstream.close()

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    relay = Relay(server.server_port, keeps_host)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield relay
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(params=[True, False], ids=["Host kept", "Host rewritten"])
def relay(request: pytest.FixtureRequest, runs: Path) -> Iterator[Relay]:
    """A proxy before a server that was told of it."""
    with relaying(keeps_host=request.param) as relay:
        public = Public.of(relay.address)
        with serving(runs, public=public, token=TOKEN) as address:
            relay.behind = int(address.rpartition(":")[2])
            yield relay


@contextmanager
def ask(
    relay: Relay, path: str, body: bytes | None = None, **headers: str
) -> Iterator[HTTPResponse]:
    """Ask the proxy as a browser at its address would, with the cookie unless told otherwise."""
    sent = {
        "Host": f"{NAME}:{relay.port}",
        "Cookie": f"{cookie_name(TOKEN)}={TOKEN}",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    connection = HTTPConnection("127.0.0.1", relay.port, timeout=20)
    try:
        connection.request("POST" if body is not None else "GET", UNDER + path, body, sent)
        yield connection.getresponse()
    finally:
        connection.close()


def tag(relay: Relay, origin: str) -> int:
    with ask(relay, "api/runs") as answer:
        key = json.loads(answer.read())["write_key"]
    said = {"Content-Type": "application/json", HEADER: key, "Origin": origin}
    with ask(relay, "api/runs/first/annotations", b'{"tags": ["kept"]}', **said) as answer:
        return answer.status


def test_the_page_is_read_followed_and_written_to_through_a_proxy(
    chromium: Browser, relay: Relay, runs: Path
) -> None:
    context = chromium.new_context(viewport={"width": 1400, "height": 900}, locale="en-GB")
    page = context.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda m: troubles.append(m.text) if m.type == "error" else None)
    page.goto(f"{relay.address}?token={TOKEN}")
    summary = page.get_by_role("region", name="Summary")
    expect(summary).to_contain_text("step 60 of 80")
    assert page.url.startswith(relay.address)
    assert TOKEN not in page.url
    write(runs / "first", [sample(61)])
    expect(summary).to_contain_text("step 61 of 80")
    page.goto(f"{relay.address}#/runs")
    page.get_by_role("button", name="Tags and note of first").click()
    page.get_by_label("Tags, with commas").fill("kept")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".runs-table")).to_contain_text("kept")
    context.close()
    assert '"kept"' in (runs / "first" / "annotations.jsonl").read_text()
    assert troubles == []


def test_events_pass_one_by_one(relay: Relay, runs: Path) -> None:
    size = (runs / "first" / "journal.jsonl").stat().st_size
    with ask(relay, f"api/runs/first/events?cursor={size}") as stream:
        assert stream.status == 200
        for step in (61, 62):
            write(runs / "first", [sample(step)])
            found = b""
            while f'"step":{step}'.encode() not in found:
                part = stream.read1()
                assert part, "the stream was ended"
                found += part


def test_only_the_page_at_the_public_address_may_write(relay: Relay, runs: Path) -> None:
    port = relay.port
    for origin in (
        *("http://evil.example", f"http://evil.example:{port}", "null", "", f"http://{NAME}"),
        *(f"https://{NAME}:{port}", f"http://{NAME}:{port}.evil.example", f"http://{NAME}:1{port}"),
        *(f"http://a.{NAME}:{port}", f"http://{NAME}:{port}@evil.example"),
    ):
        expected = relay.keeps_host and origin == f"https://{NAME}:{port}"  # the Host's own page
        assert (tag(relay, origin) == 200) == expected, origin
    (runs / "first" / "annotations.jsonl").unlink(missing_ok=True)
    assert tag(relay, f"http://{NAME}:{port}") == 200
    assert (runs / "first" / "annotations.jsonl").exists()


def test_the_token_is_asked_for_behind_a_proxy_too(relay: Relay) -> None:
    for path in ("", "api/runs", "api/changes", "api/runs/first", "api/runs/first/export.csv"):
        with ask(relay, path, Cookie="") as answer:
            assert answer.status == 401, path
    with ask(relay, f"?token={TOKEN}", Cookie="") as answer:
        assert answer.status == 200
        assert b"url=./" in answer.read()


def test_no_other_name_is_answered_for_the_public_one(runs: Path) -> None:
    public = Public.of("https://gpu.example.org/heldout/")
    client = TestClient(create_app(runs, public=public, token=TOKEN))
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    for host, status in {
        "gpu.example.org": 200,
        "GPU.example.org:8443": 200,
        "localhost:8765": 200,
        "example.org": 400,
        "a.gpu.example.org": 400,
        "gpu.example.org.evil.example": 400,
    }.items():
        answer = client.get("/api/runs", headers={"Host": host, **bearer})
        assert answer.status_code == status, host
    refused = client.get("/api/runs", headers={"Host": "evil.example"})
    assert "--public" in refused.json()["error"]
    with pytest.raises(ConfigError, match="needs a token"):
        create_app(runs, public=public)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_cookie_of_a_page_over_tls_is_for_tls_alone(runs: Path, scheme: str) -> None:
    public = Public.of(f"{scheme}://gpu.example.org/")
    client = TestClient(create_app(runs, public=public, token=TOKEN), base_url="http://localhost")
    cookie = client.get(f"/?token={TOKEN}").headers["set-cookie"].lower()
    assert ("secure" in cookie) == (scheme == "https")


@pytest.mark.parametrize(
    ("url", "host", "address"),
    [
        ("https://gpu.example.org", "gpu.example.org", "https://gpu.example.org/"),
        ("https://GPU.example.org:443/a/b", "gpu.example.org", "https://gpu.example.org/a/b/"),
        ("http://box:8080/heldout/", "box", "http://box:8080/heldout/"),
        ("http://[fd00::1]:80/", "fd00::1", "http://[fd00::1]/"),
    ],
)
def test_a_public_address_is_taken_as_browsers_write_it(url: str, host: str, address: str) -> None:
    public = Public.of(url)
    assert (public.host, public.address) == (host, address)


@pytest.mark.parametrize(
    "url",
    [
        *("gpu.example.org", "gpu.example.org/heldout", "//gpu.example.org", "ftp://a/", "*"),
        *(
            "https://",
            "https://*.example.org/",
            "https://a:b@c/",
            "https://a:0/",
            "https://a:99999/",
        ),
        *("https://a/?x=1", "https://a/#b", "https://a b/", "https://exämple/"),
    ],
)
def test_what_is_no_public_address_is_one_error_that_says_what_is(url: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(repr(url))) as raised:
        Public.of(url)
    assert "like https://gpu.example.org/heldout/" in str(raised.value)


def test_the_command_prints_the_public_link_with_its_token(runs: Path) -> None:
    with command(runs, "--public", "https://gpu.example.org/heldout") as process:
        link = first_line(process)
        found = re.fullmatch(r"https://gpu\.example\.org/heldout/\?token=([\w-]{32,})", link)
        assert found is not None, link
        process.send_signal(signal.SIGINT)
        out, log = process.communicate(timeout=20)
        assert found[1] not in out + log
    with command(runs, "--public", "http://localhost:8080/heldout/") as process:
        assert first_line(process) == "http://localhost:8080/heldout/"  # no other machine's name


def test_the_command_says_what_is_wrong_with_a_public_address(runs: Path) -> None:
    with command(runs, "--public", "gpu.example.org") as process:
        out, error = process.communicate(timeout=20)
    assert process.returncode == 3
    assert out == ""
    assert "'gpu.example.org'" in error
    assert "https://gpu.example.org/heldout/" in error
    assert "Traceback" not in error
