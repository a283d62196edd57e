"""How long after it was logged a step is in the server's answers, and in the page."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import quantiles
from typing import Any

from browser import WINDOW, page, wait_for_charts
from peers import Peer
from playwright.sync_api import Browser, Page, Response
from playwright.sync_api import Error as BrowserError
from serving import Answer, NotFinished, Server, free_port, serving
from tools import FACTS, FILLING

PACE_SECONDS = 0.5
STEPS = 70
POLL_SECONDS = 0.05
BEGIN_SECONDS = 5.0
"""Let some steps be there before the server starts."""
WAIT_SECONDS = 60.0
"""How long the last steps are waited for."""

WATCH = """
([latest, chart]) => {
  const seen = window.__seen = [];
  let [shown, told, drawn] = [0, 0, ""];
  const picture = (element) => element instanceof HTMLCanvasElement ? element.toDataURL()
    : [...element.querySelectorAll("path")].map((path) => path.getAttribute("d")).join();
  const look = () => {
    requestAnimationFrame(look);
    const [text, element] = [document.querySelector(latest), document.querySelector(chart)];
    if (!text || !element) return;
    shown = Number(text.textContent.replace(/[^0-9]/g, ""));
    if (shown === told) return;
    const now = picture(element);
    if (now === drawn) return;
    [told, drawn] = [shown, now];
    seen.push([shown, (performance.timeOrigin + performance.now()) / 1000]);
  };
  requestAnimationFrame(look);
}
"""
"""At every frame: which step the text shows, once the picture has changed as well."""


class Training:
    """A process that logs a step every so often; `facts` are what the server's addresses need."""

    def __init__(self, log: Path) -> None:
        self._log = log

    @property
    def steps(self) -> dict[int, float]:
        """When each step was logged, by number."""
        lines = self._log.read_text().split("\n")[1:-1]
        return {int(step): float(when) for step, when in (line.split() for line in lines)}

    @property
    def facts(self) -> dict[str, Any] | None:
        """What its first line tells; None while it is not ready."""
        first, newline, _ = self._log.read_text().partition("\n")
        return json.loads(first.partition(" ")[2]) if newline else None


@contextmanager
def training(peer: Peer, pace_seconds: float, limit_seconds: float) -> Iterator[Training]:
    """Log live into the peer's folder, which is emptied before."""
    shutil.rmtree(peer.folder, ignore_errors=True)
    peer.folder.mkdir(parents=True)
    log = peer.folder / "live.log"
    log.touch()
    run = Training(log)
    process = subprocess.Popen(
        [peer.python, str(FILLING), "live", peer.name, str(pace_seconds), str(log)],
        cwd=peer.folder,
        env={**os.environ, **peer.environment()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + limit_seconds
        while run.facts is None:
            if process.poll() is not None or time.monotonic() > until:
                raise NotFinished("the training process did not begin")
            time.sleep(POLL_SECONDS)
        (peer.folder / FACTS).write_text(json.dumps(run.facts))
        time.sleep(BEGIN_SECONDS)
        yield run
    finally:
        process.kill()
        process.wait()


def log_to_pixel(peer: Peer, browser: Browser, limit_seconds: float) -> dict[str, Any]:
    """Watch a run of 20 scalars, a step every half second, from its fifth second on.

    `answer` is the delay until the server's answer has the step, asked for the first chart every
    50 ms; `page` until the page draws it or, where `page_is` says so, has received it. Delays in
    seconds: p50, p95, max, and of how many steps.
    """
    with training(peer, PACE_SECONDS, limit_seconds) as run:
        port = free_port()
        with serving(peer.command(port), port, peer.folder, peer.environment()) as server:
            server.wait_until_it_listens(limit_seconds, peer.says)
            answered = _in_answers(peer, server, run)
            answer = summary(delays(run.steps, answered))
            drawn = bool(peer.charts().latest)
            with page(browser, peer.charts(), 1, WINDOW) as opened:
                watch = _drawn if drawn else _received
                seen = watch(peer, opened, server, run, limit_seconds)
            shown = summary(delays(run.steps, seen))
            return {
                **{f"answer_{key}": value for key, value in answer.items()},
                **{f"page_{key}": value for key, value in shown.items()},
                "page_is": "drawn" if drawn else "received",
            }


def _in_answers(peer: Peer, server: Server, run: Training) -> list[tuple[int, float]]:
    """Ask for the first chart again and again; returns the latest step of each answer, and when."""
    seen: list[tuple[int, float]] = []
    request, end = peer.requests()[:1], time.monotonic() + STEPS * PACE_SECONDS
    while time.monotonic() < end:
        with suppress(OSError, ValueError, LookupError):
            found = peer.series(server.ask(request))
            seen.append((_latest(found), time.time()))
        time.sleep(POLL_SECONDS)
    return seen


def _drawn(
    peer: Peer, opened: Page, server: Server, run: Training, limit_seconds: float
) -> list[tuple[int, float]]:
    charts = peer.charts()
    opened.goto(server.address + charts.path)
    wait_for_charts(opened, 1, limit_seconds)
    watch(opened, charts)
    opened.wait_for_timeout(STEPS * PACE_SECONDS * 1000)
    return [(int(step), when) for step, when in opened.evaluate("window.__seen")]


def watch(opened: Page, charts: Any) -> None:
    """Begin to note which step heldout's page shows; what is out of sight is not drawn."""
    opened.locator(charts.each).first.scroll_into_view_if_needed()
    opened.evaluate(WATCH, [charts.latest, charts.each])


def _received(
    peer: Peer, opened: Page, server: Server, run: Training, limit_seconds: float
) -> list[tuple[int, float]]:
    """Note when answers with series come in, and read them afterwards."""
    paths = {request.path.partition("?")[0].rstrip("/") for request in peer.requests()}
    came: list[tuple[float, Response]] = []

    def finished(request: Any) -> None:
        if any(path in request.url for path in paths):
            came.append((time.time(), request.response()))

    opened.on("requestfinished", finished)
    opened.goto(server.address + peer.charts().path, wait_until="commit")
    opened.wait_for_timeout(STEPS * PACE_SECONDS * 1000)
    last = max(run.steps)
    seen: list[tuple[int, float]] = []
    until = time.monotonic() + WAIT_SECONDS
    read = 0
    while time.monotonic() < until and not any(step >= last for step, _ in seen):
        for when, response in came[read:]:
            with suppress(BrowserError, ValueError, LookupError):
                seen.append((_latest(peer.series([_as_answer(response.body())])), when))
        read = len(came)
        opened.wait_for_timeout(1000)
    return seen


def _as_answer(body: bytes) -> Answer:
    return Answer(status=200, body=body, wire_bytes=0)


def _latest(series: Mapping[str, Any]) -> int:
    return int(max(max(steps) for steps, _ in series.values() if len(steps)))


def delays(steps: Mapping[int, float], seen: Sequence[tuple[int, float]]) -> list[float]:
    """Return, for each step that was logged after the first sight, how long it took to be seen.

    `seen` are (latest step shown, when), in the order of time. What a new tab catches up with is no
    delay: it counts from its first sight on.
    """
    if not seen:
        return []
    found = []
    position = 0
    for step in range(seen[0][0] + 1, max(step for step, _ in seen) + 1):
        while seen[position][0] < step:
            position += 1
        if steps[step] > seen[0][1]:
            found.append(seen[position][1] - steps[step])
    return found


def summary(found: Sequence[float]) -> dict[str, float]:
    """Return p50, p95, max and the number; nothing but the number where there are too few."""
    if len(found) < 2:
        return {"n": len(found)}
    cuts = quantiles(found, n=100, method="inclusive")
    return {"p50": cuts[49], "p95": cuts[94], "max": max(found), "n": len(found)}
