"""The token and other sites' pages in a real browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Request, expect
from serving import serving

TOKEN = "a-long-token"


def test_the_token_s_cookie_is_for_this_site_only_and_the_address_forgets_it(
    chromium: Browser, runs: Path
) -> None:
    with serving(runs, token=TOKEN) as address:
        context = chromium.new_context()
        page = context.new_page()
        asked: list[Request] = []
        page.on("request", lambda request: asked.append(request))
        page.goto("about:blank")
        page.goto(f"{address}/?token={TOKEN}")
        expect(page.get_by_role("region", name="Summary")).to_contain_text("step 60 of 80")
        (cookie,) = context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        assert page.evaluate("document.cookie") == ""
        assert [TOKEN in request.url for request in asked] == [True] + [False] * (len(asked) - 1)
        assert not any(request.headers.get("referer") for request in asked)
        assert TOKEN not in page.content()
        page.go_back()
        assert page.url == "about:blank"  # the address with the token is not in the history
        context.close()


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """Another site on this machine: browsers do not keep such a one from calling others here."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>elsewhere</title>")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f":{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("site", ["http://localhost", "http://127.0.0.1"])
def test_another_site_s_page_reads_loads_writes_and_frames_nothing(
    chromium: Browser, server: str, elsewhere: str, site: str
) -> None:
    """The one site is another by its name, the other by its port only."""
    context = chromium.new_context()
    page = context.new_page()
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.goto(site + elsewhere)
    outcome = page.evaluate(
        """async (address) => {
            const begun = (element, begin) => new Promise((done) => {
                element.onload = element.onopen = () => done("done");
                element.onerror = () => done("refused");
                begin(element);
            });
            const loaded = (tag) => begun(document.createElement(tag), (element) => {
                element.src = address + "/api/runs"; document.body.append(element); });
            const sent = (path, options) => fetch(address + path, options).then(
                () => "done", () => "refused");
            return {
                read: await sent("/api/runs", { credentials: "include" }),
                written: await sent("/api/runs/first/annotations", {
                    method: "POST", body: "{}",
                    headers: { "x-heldout-write": "1", "content-type": "application/json" } }),
                script: await loaded("script"),
                image: await loaded("img"),
                stream: await begun(new EventSource(address + "/api/changes"), () => {}),
            };
        }""",
        server,
    )
    assert outcome == dict.fromkeys(("read", "written", "script", "image", "stream"), "refused")
    told.clear()
    page.evaluate(
        """(address) => new Promise((done) => {
            const frame = document.createElement("iframe");
            frame.onload = done; frame.src = address; document.body.append(frame);
        })""",
        server,
    )
    page.wait_for_timeout(100)
    assert [text for text in told if "frame-ancestors" in text]
    assert page.frames[1].url.startswith("chrome-error:")
    context.close()
