"""Whatever picture or table stands in a panel of the report file can be saved from it, without a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from looking import panel
from playwright.sync_api import Browser, Page, expect
from recorded_run import open_alert, recorded
from test_savable import UNSAVED, open_everything, save_everything

from heldout.derive.history import History
from heldout.views.report.html import html_report


@pytest.fixture
def report(chromium: Browser, tmp_path: Path) -> Iterator[Page]:
    """The report file of a run, open in a browser without network."""
    path = tmp_path / "report.html"
    history = History.of([*recorded(), *open_alert()])
    path.write_text(html_report("first", history, 0.0), encoding="utf-8")
    context = chromium.new_context(
        offline=True,
        viewport={"width": 1400, "height": 900},
        reduced_motion="reduce",
        locale="en-GB",
    )
    page = context.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(message.text))
    page.goto(path.as_uri())
    yield page
    context.close()
    assert troubles == []


def test_every_picture_and_table_of_the_report_file_is_saved(report: Page) -> None:
    expect(panel(report, "loss").locator("canvas").first).to_be_visible()
    open_everything(report)
    assert report.evaluate(UNSAVED) == []
    names = save_everything(report)
    assert len(names) == len(set(names))
    for picture in ("loss-nats-per-token-by-optimizer-step", "layers-by-depth", "other-signals"):
        assert {f"first-{picture}.{kind}" for kind in ("png", "svg", "csv", "json")} <= set(names)


def test_the_run_as_a_whole_is_exported_by_a_server_only(report: Page) -> None:
    expect(panel(report, "loss").locator("canvas").first).to_be_visible()
    assert report.locator("a[href*='export.']").count() == 0
