"""The pages in a real Chromium: when charts are drawn, what is seen in them, what came over the wire."""

from __future__ import annotations

import base64
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from peers import Charts
from playwright.sync_api import Browser, BrowserContext, Locator, Page, sync_playwright
from playwright.sync_api import Error as BrowserError
from serving import NotFinished

FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)
WINDOW = {"width": 1400, "height": 900}
TALL = {"width": 1400, "height": 7600}
"""A window that holds all charts: some pages draw only those in view."""
DATA = ("xhr", "fetch", "eventsource", "websocket")
"""The kinds of requests that carry data; the others are the page itself."""

WATCH = """
(([selector, unfold, wanted]) => {
  const small = new OffscreenCanvas(48, 48).getContext("2d", { willReadFrequently: true });
  const inked = (canvas) => {
    if (!canvas.width || !canvas.height) return false;
    small.clearRect(0, 0, 48, 48);
    small.drawImage(canvas, 0, 0, 48, 48);
    const pixels = new Uint32Array(small.getImageData(0, 0, 48, 48).data.buffer);
    return new Set(pixels).size > 8;
  };
  const long = (path) => (path.getAttribute("d") ?? "").length > 60;
  const drawn = (element) => element instanceof HTMLCanvasElement ? inked(element)
    : long(element) || [...element.querySelectorAll("path")].some(long);
  const seen = new WeakSet();
  const watch = window.__charts = { count: 0, first: null, all: null };
  const look = () => {
    watch.count = 0;
    for (const element of document.querySelectorAll(selector)) {
      if (!seen.has(element) && !drawn(element)) continue;
      seen.add(element);
      watch.count += 1;
    }
    for (const folded of unfold ? document.querySelectorAll(unfold) : []) {
      if (!seen.has(folded)) folded.click();
      seen.add(folded);
    }
    const now = (performance.timeOrigin + performance.now()) / 1000;
    if (watch.count && watch.first === null) watch.first = now;
    if (watch.count >= wanted && watch.all === null) watch.all = now;
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})
"""
"""Looks at every frame which charts hold more than their background."""

INK = """
async (source) => {
  const image = new Image();
  image.src = source;
  await image.decode();
  const { width, height } = image;
  const canvas = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  canvas.drawImage(image, 0, 0);
  const { data } = canvas.getImageData(0, 0, width, height);
  const counts = new Map();
  const at = (x, y) => (y * width + x) * 4;
  for (let y = 0; y < height; y += 1) for (let x = 0; x < width; x += 1) {
    const key = data.slice(at(x, y), at(x, y) + 3).join();
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const ground = [...counts].sort((a, b) => b[1] - a[1])[0][0].split(",").map(Number);
  const columns = [];
  for (let x = 0; x < width; x += 1) {
    let [ink, red] = [0, 0];
    for (let y = 0; y < height; y += 1) {
      const [r, g, b] = data.subarray(at(x, y), at(x, y) + 3);
      const away = Math.abs(r - ground[0]) + Math.abs(g - ground[1]) + Math.abs(b - ground[2]);
      ink += away > 60;
      red += r > 140 && r - g > 70 && r - b > 70;
    }
    columns.push([ink / height, red / height]);
  }
  return columns;
}
"""
"""For every column of pixels: the share that differs from the background, and the share that is red."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a Chromium with an empty profile, the system's own where there is one."""
    own = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=own, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def page(
    browser: Browser, charts: Charts, wanted: int, window: Any = WINDOW, *, unfolded: bool = False
) -> Iterator[Page]:
    """Open an empty page that will tell when its charts are drawn, `unfolded` all of them."""
    context: BrowserContext = browser.new_context(viewport=window)
    try:
        told = json.dumps([charts.each, charts.unfold if unfolded else "", wanted])
        context.add_init_script(f"{WATCH}({told})")
        yield context.new_page()
    finally:
        context.close()


def wait_for_charts(page: Page, wanted: int, limit_seconds: float) -> dict[str, Any]:
    """Wait for `wanted` drawn charts; returns their count and when the first and the last were drawn.

    Raises `NotFinished` when not even one is there in time.
    """
    until = time.monotonic() + limit_seconds
    while True:
        found: dict[str, Any] = page.evaluate("window.__charts ?? {count: 0}")
        if found["count"] >= wanted:
            return found
        if time.monotonic() > until:
            if found["count"]:
                return found
            raise NotFinished(f"no chart in {limit_seconds:.0f} s")
        time.sleep(0.05)


class Wire:
    """The bytes of answers that a page gets, headers included: of data, and of the page itself."""

    def __init__(self, page: Page) -> None:
        self.data = self.assets = 0
        page.on("requestfinished", self._count)

    def _count(self, request: Any) -> None:
        try:
            sizes = request.sizes()
        except BrowserError:  # the page has gone
            return
        size = sizes["responseBodySize"] + sizes["responseHeadersSize"]
        if request.resource_type in DATA:
            self.data += size
        else:
            self.assets += size


def columns(chart: Locator) -> list[tuple[float, float]]:
    """Return the share of ink and of red in every column of a chart's pixels, left to right."""
    picture = base64.b64encode(chart.screenshot()).decode()
    assert chart.page.context.browser is not None
    blank = chart.page.context.browser.new_page()
    try:
        found: list[tuple[float, float]] = blank.evaluate(INK, f"data:image/png;base64,{picture}")
    finally:
        blank.close()
    return found
