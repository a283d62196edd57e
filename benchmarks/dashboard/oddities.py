"""Whether one step that stands out is still there: in what the server sends, and in what is drawn."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from browser import TALL, columns, page, wait_for_charts
from opening import wait_for_metrics
from peers import Peer, Series
from playwright.sync_api import Browser, Page
from serving import Request, free_port, serving
from workload import Oddity, Size

ZOOMS = (4, 50, 1000)
"""How many times narrower than the whole the windows are."""
PLACE = 0.4
"""Where in a window the odd step stands."""
DRAW_SECONDS = 1.0
TALL_SHARE = 0.25
"""A column of pixels with more ink than this is a spike, a dip or a marker, since curves are thin."""
MARK_SHARE = 0.2
"""The same for red ink: a marker is a dotted line."""
NEAR = 0.12
"""How far from its place a column may be: axes and their labels take some of the width."""


def windows(size: Size, oddity: Oddity) -> Iterator[tuple[str, int, int]]:
    """Give the whole range and narrower ones around the oddity: name, first and last step."""
    yield "all", 1, size.steps
    for zoom in ZOOMS:
        width = size.steps // zoom
        first = oddity.step - int(PLACE * width)
        yield f"1/{zoom}", first, first + width


def in_answers(peer: Peer, limit_seconds: float) -> dict[str, dict[str, str]]:
    """Say for each oddity and window what the server's answer holds at its step."""
    port, found = free_port(), {}
    with serving(peer.command(port), port, peer.folder, peer.environment()) as server:
        wait_for_metrics(peer, server, limit_seconds)
        for oddity in peer.size.oddities:
            found[oddity.kind] = {
                name: held(
                    peer.series(server.ask(_of_one(peer, oddity, name, first, last))), oddity
                )
                for name, first, last in windows(peer.size, oddity)
            }
    return found


def _of_one(peer: Peer, oddity: Oddity, window: str, first: int, last: int) -> list[Request]:
    """The requests that the one metric is in: one of them where there is one a metric."""
    asked = peer.requests() if window == "all" else peer.requests(first, last)
    place = peer.size.names.index(oddity.name)
    return asked if len(asked) == 1 else asked[place : place + 1]


def held(series: Series, oddity: Oddity) -> str:
    """Say what a thinned series has at the step: "kept", "lost", or the value it turned into."""
    steps, values = series[oddity.name]
    here = values[steps == oddity.step]
    if not len(here):
        return "lost"
    value = float(here[0])
    if value == oddity.value or (math.isnan(value) and math.isnan(oddity.value)):
        return "kept"
    return "kept" if math.isclose(value, oddity.value, rel_tol=1e-6) else f"as {value:.3g}"


def in_pixels(peer: Peer, browser: Browser, limit_seconds: float) -> dict[str, dict[str, str]]:
    """Say for each oddity and window whether the page of heldout shows it."""
    port, size, charts = free_port(), peer.size, peer.charts()
    found: dict[str, dict[str, str]] = {}
    with (
        serving(peer.command(port), port, peer.folder, peer.environment()) as server,
        page(browser, charts, size.scalars, TALL) as opened,
    ):
        server.wait_until_it_listens(limit_seconds, peer.says)
        opened.goto(server.address + charts.path)
        wait_for_charts(opened, size.scalars, limit_seconds)
        for oddity in size.oddities:
            glass = opened.locator(charts.plots).nth(size.names.index(oddity.name))
            found[oddity.kind] = {}
            for name, first, last in windows(size, oddity):
                zoom(opened, first, last)
                time.sleep(DRAW_SECONDS)
                glass.scroll_into_view_if_needed()
                place = (oddity.step - first) / (last - first)
                seen = drawn(columns(glass), place, marked=not math.isfinite(oddity.value))
                found[oddity.kind][name] = "drawn" if seen else "not drawn"
    return found


def zoom(page: Page, first: int, last: int) -> None:
    """Show some steps only in heldout's page."""
    bar = page.get_by_role("group", name="Steps shown in all charts")
    reset = bar.get_by_role("button", name="Reset")
    if reset.is_enabled():
        reset.click()
    if last - first + 1 < int(bar.get_by_label("Last step shown").input_value()):
        for label, step in (("First step shown", first), ("Last step shown", last)):
            bar.get_by_label(label).fill(str(step))
            bar.get_by_label(label).press("Enter")


def drawn(pixels: list[tuple[float, float]], place: float, *, marked: bool) -> bool:
    """Whether a tall thin line stands near `place`, a share of the width; a red one for a marker."""
    middle, reach = place * len(pixels), NEAR * len(pixels)
    near = pixels[max(0, int(middle - reach)) : int(middle + reach) + 1]
    tall = sum(column[marked] > (MARK_SHARE if marked else TALL_SHARE) for column in near)
    return 0 < tall <= len(near) / 3
