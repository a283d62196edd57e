"""What fails once is asked for again, and what is old looks old, on every page."""

from __future__ import annotations

import json
import re
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from looking import head
from playwright.sync_api import Browser, Page, Route, expect
from recorded_run import sample, write
from recorded_set import write_capitals
from serving import serving
from test_compare_page import two

from heldout.views.web import waiting

SOON = 15_000
LONG_SILENCE_MILLISECONDS = 41_000
"""After so long the page takes a line for dead."""


@pytest.fixture
def calm(chromium: Browser) -> Iterator[Page]:
    """A page that may meet errors of the network."""
    page = chromium.new_page(viewport={"width": 1400, "height": 900})
    yield page
    page.close()


def fail_at_first(page: Page, address: re.Pattern[str]) -> Callable[[], None]:
    """Let requests to an address fail; what is returned lets them through again."""
    is_busy = [True]

    def answer(route: Route) -> None:
        if is_busy:
            route.fulfill(status=503, body='{"error": "the server is busy"}')
        else:
            route.continue_()

    page.route(address, answer)
    return is_busy.clear


def test_a_comparison_that_failed_is_asked_for_again(calm: Page, server: str, runs: Path) -> None:
    two(runs)
    recover = fail_at_first(calm, re.compile(r"/api/compare\?"))
    calm.goto(f"{server}/#/compare?runs=one,two")
    expect(calm.get_by_role("alert")).to_have_text(
        "Nothing is compared, because the server is busy. Trying again."
    )
    recover()
    expect(calm.locator(".compared li")).to_have_count(2, timeout=SOON)
    expect(calm.get_by_role("alert")).to_have_count(0)
    expect(head(calm, "compare-em")).to_be_visible()


def test_examples_that_failed_are_asked_for_again(calm: Page, server: str, runs: Path) -> None:
    write_capitals(runs)
    recover = fail_at_first(calm, re.compile(r"/capitals/examples\?"))
    calm.goto(f"{server}/#/run/capitals/examples")
    expect(calm.get_by_role("alert")).to_have_text(
        "No examples shown, because the server is busy. Trying again."
    )
    recover()
    expect(calm.locator(".example")).to_have_count(6, timeout=SOON)
    expect(calm.get_by_role("alert")).to_have_count(0)


@pytest.mark.parametrize(
    ("path", "selector", "style", "old"),
    [
        ("#/runs", ".runs-table", "opacity", "0.65"),
        ("run/capitals", ".panel", "borderTopStyle", "dashed"),
        ("#/run/capitals/examples", ".example-table", "opacity", "0.65"),
        ("#/compare?runs=one,two", ".panel", "borderTopStyle", "dashed"),
    ],
)
def test_every_page_that_lost_the_server_looks_old_until_it_is_back(
    calm: Page, runs: Path, path: str, selector: str, style: str, old: str
) -> None:
    write_capitals(runs)
    two(runs)
    look = f"(each) => getComputedStyle(each).{style}"
    with serving(runs) as address:
        calm.goto(f"{address}/{path}")
        expect(calm.locator(".badge")).to_have_text("live")
        expect(calm.locator(selector).first).to_be_visible()
        assert calm.locator(selector).first.evaluate(look) != old
    expect(calm.locator(".badge")).to_have_text("reconnecting, what you see is old")
    expect(calm.locator("main.stale")).to_be_visible()
    assert calm.locator(selector).first.evaluate(look) == old
    with serving(runs, port=int(address.rpartition(":")[2])):
        expect(calm.locator(".badge")).to_have_text("live", timeout=20_000)
        assert calm.locator(selector).first.evaluate(look) != old
        calm.goto("about:blank")


class Tunnel(socketserver.ThreadingTCPServer):
    """Lines to a server that can die without being closed, as those of a tunnel do."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, to: int) -> None:
        super().__init__(("127.0.0.1", 0), _End)
        self.to = to
        self.dead = threading.Event()
        self.open: list[socket.socket] = []

    def die(self) -> None:
        """From now on swallow what is sent, on the lines there are and on new ones."""
        self.dead.set()

    def mend(self) -> None:
        """Carry new lines again; those that died stay dead."""
        self.dead = threading.Event()


class _End(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        tunnel: Tunnel = self.server  # type: ignore[assignment]
        dead = tunnel.dead
        with socket.create_connection(("127.0.0.1", tunnel.to)) as inner:
            tunnel.open += [self.request, inner]
            back = threading.Thread(target=_carry, args=(inner, self.request, dead), daemon=True)
            back.start()
            _carry(self.request, inner, dead)
            back.join()


def _carry(source: socket.socket, sink: socket.socket, dead: threading.Event) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            if not dead.is_set():
                sink.sendall(data)
        if not dead.is_set():
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def tunnel_to(address: str) -> Iterator[tuple[Tunnel, str]]:
    with Tunnel(int(address.rpartition(":")[2])) as tunnel:
        thread = threading.Thread(target=tunnel.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield tunnel, f"http://127.0.0.1:{tunnel.server_address[1]}"
        finally:
            tunnel.shutdown()
            thread.join()
            for each in tunnel.open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("path", "place", "stream"),
    [
        ("run/first", "section[aria-label=Summary]", "/events?"),
        ("#/runs", ".runs-table", "/changes?"),
    ],
)
def test_a_line_that_died_without_a_word_looks_old_and_is_opened_again(
    calm: Page, server: str, runs: Path, path: str, place: str, stream: str
) -> None:
    calm.clock.install()
    asked: list[str] = []
    calm.on("request", lambda request: asked.append(request.url) if stream in request.url else None)
    with tunnel_to(server) as (tunnel, address):
        calm.goto(f"{address}/{path}")
        badge = calm.locator(".badge")
        expect(badge).to_have_text("live")
        write(runs / "first", [sample(61)])
        expect(calm.locator(place)).to_contain_text("61")
        tunnel.die()
        write(runs / "first", [sample(62)])
        calm.clock.fast_forward(LONG_SILENCE_MILLISECONDS)
        expect(badge).to_have_text("reconnecting, what you see is old")
        expect(calm.locator("main.stale")).to_be_visible()
        tunnel.mend()
        calm.clock.fast_forward(LONG_SILENCE_MILLISECONDS)
        expect(badge).to_have_text("live", timeout=SOON)
        expect(calm.locator(place)).to_contain_text("62")
        assert len(asked) == 3
        assert len(set(asked)) == 2, "it goes on behind the last event that came"
        calm.goto("about:blank")


@pytest.mark.parametrize(("path", "stream"), [("run/first", "/events?"), ("#/runs", "/changes?")])
def test_a_quiet_line_on_which_the_server_says_that_it_is_there_is_kept(
    calm: Page, runs: Path, monkeypatch: pytest.MonkeyPatch, path: str, stream: str
) -> None:
    monkeypatch.setattr(waiting, "KEEP_ALIVE_SECONDS", 0.3)
    calm.clock.install()
    asked: list[str] = []
    calm.on("request", lambda request: asked.append(request.url) if stream in request.url else None)
    with serving(runs) as address:
        calm.goto(f"{address}/{path}")
        expect(calm.locator(".badge")).to_have_text("live")
        for _ in range(3):
            calm.wait_for_timeout(1000)
            calm.clock.fast_forward(LONG_SILENCE_MILLISECONDS * 3 // 4)
        expect(calm.locator(".badge")).to_have_text("live")
        assert len(asked) == 1
        calm.goto("about:blank")


def test_a_note_is_saved_on_a_server_that_was_started_again(calm: Page, runs: Path) -> None:
    with serving(runs) as address:
        calm.goto(f"{address}/#/runs")
        calm.get_by_role("button", name="Tags and note of first").click()
        calm.get_by_label("Note", exact=True).fill("typed before")
    with serving(runs, port=int(address.rpartition(":")[2])):
        expect(calm.locator(".badge")).to_have_text("live", timeout=20_000)
        calm.get_by_role("button", name="Save", exact=True).click()
        expect(calm.get_by_role("dialog")).to_have_count(0)
        expect(calm.locator(".runs-table")).to_contain_text("typed before")
        calm.goto("about:blank")
    stored = json.loads((runs / "first" / "annotations.jsonl").read_text("utf-8"))
    assert stored["note"] == "typed before"
