"""How smooth heldout's page is while all its charts are zoomed and panned."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median, quantiles
from typing import Any

from browser import page, wait_for_charts
from peers import Peer
from playwright.sync_api import Browser, Page
from serving import free_port, serving

SECONDS = 4.0
LOOK_SECONDS = 0.9
"""Less than a turn of the gesture takes to come back to the same pictures."""
REFRESH_MS = 1000 / 60
NOISE_MS = 1.0
HIGH = {"width": 1400, "height": 2300}
"""Holds all 20 charts at once, and little else: a whole frame is drawn by the CPU, so its size counts."""

GESTURE = """
([what, seconds, looking]) => new Promise((done) => {
  const glass = document.querySelector(".glass");
  const box = glass.getBoundingClientRect();
  const at = { clientX: box.left + box.width * 0.5, clientY: box.top + box.height / 2 };
  const turn = (options) => glass.dispatchEvent(new WheelEvent("wheel",
    { bubbles: true, cancelable: true, ...at, ...options }));
  const times = [];
  const pictures = new Set();
  let [began, last, n] = [null, null, 0];
  const frame = (now) => {
    began ??= now;
    if (last !== null) times.push(now - last);
    last = now;
    if (looking) pictures.add(document.querySelector("canvas").toDataURL());
    if (now - began > seconds * 1000) return done({ times, pictures: pictures.size });
    const there = Math.floor(n / 60) % 2 === 0 ? 1 : -1;
    if (what === "zoom") turn({ ctrlKey: true, deltaY: -25 * there });
    if (what === "pan") turn({ shiftKey: true, deltaY: 12 * there });
    n += 1;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
})
"""
"""Turn the wheel a little at every frame, a second one way and a second back; note each frame's length.

`looking` counts the pictures of the first chart instead, which takes time of its own."""


def pan_and_zoom(peer: Peer, browser: Browser, limit_seconds: float) -> dict[str, Any]:
    """Zoom, then pan, for some seconds each; the page at rest beside it tells the machine's noise.

    Milliseconds a frame, and how many frames were longer than one and two refreshes at 60 Hz. The
    window holds every chart, and each is drawn anew in each frame. The browser is headless and draws on
    the CPU.
    """
    port, charts = free_port(), peer.charts()
    with (
        serving(peer.command(port), port, peer.folder) as server,
        page(browser, charts, peer.size.scalars, HIGH) as opened,
    ):
        server.wait_until_it_listens(limit_seconds, peer.says)
        opened.goto(server.address + charts.path)
        wait_for_charts(opened, peer.size.scalars, limit_seconds)
        opened.wait_for_timeout(1000)
        found = {"rest": _frames(opened, "rest"), "zoom": _frames(opened, "zoom")}
        opened.get_by_role("button", name="Reset").click()
        opened.get_by_role("button", name="Zoom in").click()
        opened.get_by_role("button", name="Zoom in").click()
        opened.wait_for_timeout(1000)
        found["pan"] = _frames(opened, "pan")
    return {f"{what}_{key}": value for what, each in found.items() for key, value in each.items()}


def _frames(opened: Page, what: str) -> dict[str, float]:
    times: Sequence[float] = opened.evaluate(GESTURE, [what, SECONDS, False])["times"]
    opened.wait_for_timeout(1000)
    looked = opened.evaluate(GESTURE, [what, LOOK_SECONDS, True])
    return {
        "redrawn": looked["pictures"] / (len(looked["times"]) + 1),
        "median": median(times),
        "p95": quantiles(times, n=20)[18],
        "frames": len(times),
        "late": sum(time > REFRESH_MS + NOISE_MS for time in times),
        "very_late": sum(time > 2 * REFRESH_MS + NOISE_MS for time in times),
    }
