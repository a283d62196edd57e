"""The page of a run under axe-core: not one violation, light and dark, wide and narrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from looking import head, panel
from playwright.sync_api import Page, expect
from recorded_run import open_alert, write

pytestmark = pytest.mark.browser

AXE = Path(__file__).parents[3] / "web" / "node_modules" / "axe-core" / "axe.min.js"


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
