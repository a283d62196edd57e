"""A hundred open tabs on one live run of heldout: how far behind each is, and what the server takes."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from browser import WINDOW, page, wait_for_charts
from journals import RUN
from live import delays, summary, training, watch
from peers import Peer
from playwright.sync_api import Browser
from serving import free_port, serving

PACE_SECONDS = 0.1
SECONDS = 30.0
CLIENTS = 97
PAGES = 3


def hundred_tabs(peer: Peer, browser: Browser, limit_seconds: float) -> dict[str, Any]:
    """Follow a run that logs 20 scalars every 0.1 s from 97 event streams and 3 real pages.

    Seconds a step is behind, by client: the median client's p95, the worst client's p95, the worst
    step of any. `cpu_share` is the server's, of one core.
    """
    with ExitStack() as stack:
        run = stack.enter_context(training(peer, PACE_SECONDS, limit_seconds))
        port = free_port()
        server = stack.enter_context(
            serving(peer.command(port), port, peer.folder, peer.environment())
        )
        server.wait_until_it_listens(limit_seconds, peer.says)
        charts = peer.charts()
        pages = [stack.enter_context(page(browser, charts, 1, WINDOW)) for _ in range(PAGES)]
        for each in pages:
            each.goto(server.address + charts.path)
            wait_for_charts(each, 1, limit_seconds)
        cursor = json.loads(server.ask(peer.requests())[0].body)["cursor"]
        out = Path(peer.folder) / "clients.json"
        path = f"/api/runs/{RUN}/events?cursor={cursor}"
        script = Path(__file__).with_name("clients.py")
        command = [sys.executable, str(script), str(port), path, str(CLIENTS), str(SECONDS)]
        clients = subprocess.Popen([*command, str(out)])
        try:
            pages[0].wait_for_timeout(5000)  # all of them connected
            for each in pages:
                watch(each, charts)
            before = server.cpu_seconds()
            pages[0].wait_for_timeout((SECONDS - 8) * 1000)
            cpu = (server.cpu_seconds() - before) / (SECONDS - 8)
            drawn = [each.evaluate("window.__seen") for each in pages]
            clients.wait()
        finally:
            clients.kill()
        steps = run.steps
        streams = [delays(steps, seen) for seen in json.loads(out.read_text())]
        shown = [delays(steps, [(int(step), when) for step, when in seen]) for seen in drawn]
    by_client = [summary(found) for found in (*streams, *shown) if len(found) > 1]
    return {
        "p95_median": median(each["p95"] for each in by_client),
        "p95_worst": max(each["p95"] for each in by_client),
        "worst": max(each["max"] for each in by_client),
        "pages_p95": max(summary(found)["p95"] for found in shown),
        "clients": len(by_client),
        "cpu_share": cpu,
    }
