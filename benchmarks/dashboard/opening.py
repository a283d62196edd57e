"""From the start of the server to the first metrics and to the first picture, and one refresh of all."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from statistics import median

from browser import TALL, Wire, page, wait_for_charts
from peers import Peer
from playwright.sync_api import Browser
from serving import Answer, NotFinished, Server, free_port, serving

WARM_TIMES = 5
PAINT_SECONDS = 30.0
"""How much longer than its first metrics a page may take for the rest of its charts."""
SETTLE_SECONDS = 2.0


def first_metrics(peer: Peer, limit_seconds: float) -> dict[str, float]:
    """Start the server, ask until every metric is there, then refresh some times.

    Seconds are from the start of the process to the end of the first complete answer (`cold`), and of
    one refresh (`warm`, median); CPU seconds of the server are for the same. `wire_bytes` are of one
    refresh; `memory` and `memory_peak` are bytes after it, of all processes.
    """
    port = free_port()
    with serving(peer.command(port), port, peer.folder, peer.environment()) as server:
        cold, answers = wait_for_metrics(peer, server, limit_seconds)
        cold_cpu = server.cpu_seconds()
        warm = []
        for _ in range(WARM_TIMES):
            began = time.perf_counter()
            answers = server.ask(peer.requests())
            warm.append(time.perf_counter() - began)
        warm_cpu = (server.cpu_seconds() - cold_cpu) / WARM_TIMES
        time.sleep(SETTLE_SECONDS)
        now, most = server.memory_bytes()
        return {
            "cold": cold,
            "warm": median(warm),
            "wire_bytes": sum(answer.wire_bytes for answer in answers),
            "requests": len(answers),
            "points": max(len(steps) for steps, _ in peer.series(answers).values()),
            "memory": now,
            "memory_peak": most,
            "cold_cpu": cold_cpu,
            "warm_cpu": warm_cpu,
        }


def wait_for_metrics(
    peer: Peer, server: Server, limit_seconds: float
) -> tuple[float, list[Answer]]:
    """Ask until every metric is there; returns the seconds since the start, and the answers.

    Raises `NotFinished`.
    """
    server.wait_until_it_listens(limit_seconds, peer.says)
    for _ in server.tries(limit_seconds):
        with suppress(OSError):
            answers = server.ask(peer.requests())
            taken = time.time() - server.started
            if peer.complete(answers):
                return taken, answers
    raise NotFinished(f"no metrics in {limit_seconds:.0f} s")


def first_picture(
    peer: Peer, browser: Browser, window: Mapping[str, int], limit_seconds: float
) -> dict[str, float]:
    """Start the server, open its page as soon as it listens, and see when charts are drawn.

    Seconds are from the start of the process; the browser is running and its cache is empty. Some
    pages draw while their server still reads: a chart counts once it is drawn at all. In a `TALL`
    window all charts are waited for, and groups that the page folds are unfolded.
    """
    port, wanted = free_port(), peer.size.scalars
    charts, whole = peer.charts(), window == TALL
    with (
        serving(peer.command(port), port, peer.folder, peer.environment()) as server,
        page(browser, charts, wanted, window, unfolded=whole) as opened,
    ):
        server.wait_until_it_listens(limit_seconds, peer.says)
        wire = Wire(opened)
        opened.goto(server.address + charts.path, wait_until="commit", timeout=limit_seconds * 1000)
        wait_for_charts(opened, 1, limit_seconds)
        found = wait_for_charts(opened, wanted if whole else 1, PAINT_SECONDS)
        opened.wait_for_timeout(SETTLE_SECONDS * 1000)  # for the rest of the page's files
        seconds = {
            key: found[key] - server.started for key in ("first", "all") if found[key] is not None
        }
        return {**seconds, "charts": found["count"], "assets": wire.assets, "data": wire.data}
