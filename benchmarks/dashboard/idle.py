"""What an open page costs while nothing happens: the server's CPU, and bytes on the wire."""

from __future__ import annotations

import time
from collections.abc import Callable

from browser import WINDOW, page, wait_for_charts
from peers import Peer
from playwright.sync_api import Browser
from relay import relay
from serving import free_port, serving

REST_SECONDS = 10.0
"""For what a page still loads once its charts are drawn."""
IDLE_SECONDS = 60.0


def idle_tab(peer: Peer, browser: Browser, limit_seconds: float) -> dict[str, float]:
    """Open the page, let it come to rest, and watch the server for a minute.

    `cpu_share` is of one core, of all the server's processes, `without` the same after the page is
    closed; `bytes_per_minute` are what the server sends, headers included.
    """
    port, charts = free_port(), peer.charts()
    with serving(peer.command(port), port, peer.folder, peer.environment()) as server:
        server.wait_until_it_listens(limit_seconds, peer.says)
        with relay(port) as between, page(browser, charts, peer.size.scalars, WINDOW) as opened:
            address = f"http://127.0.0.1:{between.port}{charts.path}"
            opened.goto(address, wait_until="commit", timeout=limit_seconds * 1000)
            wait_for_charts(opened, 1, limit_seconds)
            opened.wait_for_timeout(REST_SECONDS * 1000)
            before = between.sent_bytes
            cpu = share(server.cpu_seconds, IDLE_SECONDS)
            sent = between.sent_bytes - before
        time.sleep(REST_SECONDS)
        without = share(server.cpu_seconds, IDLE_SECONDS / 3)
    return {
        "cpu_share": cpu,
        "cpu_share_without": without,
        "bytes_per_minute": sent * 60 / IDLE_SECONDS,
    }


def share(cpu_seconds: Callable[[], float], seconds: float) -> float:
    """Return CPU seconds a second over the next `seconds`."""
    before, began = cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds() - before) / (time.monotonic() - began)
