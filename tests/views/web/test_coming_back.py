"""What fails once is asked for again, and what is old looks old, on every page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from looking import head
from playwright.sync_api import Browser, Page, Route, expect
from recorded_set import write_capitals
from serving import serving
from test_compare_page import two

pytestmark = pytest.mark.browser

SOON = 15_000


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
