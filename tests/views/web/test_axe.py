"""The page of a run under axe-core: not one violation, light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from looking import head, panel
from playwright.sync_api import Browser, Page, expect
from recorded_run import open_alert, recorded, write
from serving import serving

from heldout.derive.history import History
from heldout.views.report.html import html_report

AXE = Path(__file__).parents[3] / "web" / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture
def calm(chromium: Browser) -> Iterator[Page]:
    """A page that may lose its server."""
    context = chromium.new_context(viewport={"width": 1400, "height": 900}, reduced_motion="reduce")
    yield context.new_page()
    context.close()


@pytest.fixture
def offline(chromium: Browser) -> Iterator[Page]:
    """A page without network, for a file."""
    context = chromium.new_context(offline=True, reduced_motion="reduce")
    yield context.new_page()
    context.close()


def violations(page: Page) -> list[str]:
    """What axe finds, a line an element."""
    assert AXE.is_file(), "axe-core is not installed: npm install in web/"
    page.evaluate(AXE.read_text("utf-8") + "; 0")
    found: list[dict[str, Any]] = page.evaluate("axe.run().then((result) => result.violations)")
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_the_run_page_has_no_violation(
    page: Page, server: str, runs: Path, scheme: str, width: int
) -> None:
    write(runs / "first", open_alert())
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{server}/run/first")
    for name in ("log", "details"):
        head(page, name).click()
    folds = page.locator("main details:not([open]) > summary")
    while folds.count():
        folds.first.click()
    page.get_by_role("button", name="Acknowledge loss-spike").click()
    panel(page, "patterns").get_by_text("since step 40").click()
    expect(panel(page, "loss").locator("canvas").first).to_be_visible()
    assert violations(page) == []
    page.get_by_role("slider", name="Step on Loss").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("+")
    expect(page.locator(".range-bar.zoomed")).to_be_visible()
    assert violations(page) == []
    page.get_by_role("button", name="Options of Loss").click()
    assert violations(page) == []
    page.get_by_role("button", name="Full screen").click()
    expect(page.get_by_role("dialog", name="Loss")).to_be_visible()
    assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_the_report_file_has_no_violation(
    offline: Page, tmp_path: Path, scheme: str, width: int
) -> None:
    path = tmp_path / "report.html"
    history = History.of([*recorded(), *open_alert()])
    path.write_text(html_report("first", history, 0.0), encoding="utf-8")
    offline.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    offline.set_viewport_size({"width": width, "height": 900})
    offline.goto(path.as_uri())
    expect(panel(offline, "loss").locator("canvas").first).to_be_visible()
    assert violations(offline) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_folder_without_runs_and_a_page_without_its_server_have_no_violation(
    calm: Page, tmp_path: Path, scheme: str
) -> None:
    calm.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    with serving(tmp_path) as address:
        calm.goto(address)
        expect(calm.get_by_role("heading", name="No runs yet")).to_be_visible()
        assert violations(calm) == []
        write(tmp_path / "first", recorded())
        calm.goto(f"{address}/run/first")
        expect(panel(calm, "loss").locator("canvas").first).to_be_visible()
    expect(calm.locator(".badge")).to_have_text("reconnecting, what you see is old")
    assert violations(calm) == []
