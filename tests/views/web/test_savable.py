"""Whatever picture or table stands in a panel can be saved, on every page, and the files hold it."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from looking import open_menu, panel
from playwright.sync_api import Page, expect
from recorded_run import STARTED, open_alert, write
from test_compare_page import two
from test_runs_page import several

from heldout.records import Data, Rows

UNSAVED = """() => {
    const lost = (selector, holder) => [...document.querySelectorAll(selector)]
        .filter((each) => !each.closest(holder) && each.getBoundingClientRect().width > 0)
        .map((each) => `${each.closest(".panel")?.id}: ${each.outerHTML.slice(0, 120)}`);
    const pictures = ["canvas", "svg", ".heat", ".profile-grid", ".split-bar", ".ramp", ".leaders"];
    return [
        ...lost(pictures.map((each) => `.panel-body ${each}`).join(), "[data-picture]"),
        ...lost(".panel-body table", "[data-data]"),
    ];
}"""


def open_everything(page: Page) -> None:
    closed = page.locator(".panel h2 button[aria-expanded=false]")
    while closed.count():
        closed.first.click()
    folds = page.locator("main details:not([open]) > summary")
    while folds.count():
        folds.first.click()


def save_everything(page: Page) -> list[str]:
    """Save all that the menus of the panels offer, look into each file, and return their names."""
    names: list[str] = []
    for title in page.locator(".panel-title").all_inner_texts():
        open_menu(page, title)
        offered = page.locator(".menu-export button")
        for i in range(offered.count()):
            open_menu(page, title)
            with page.expect_download() as found:
                offered.nth(i).click()
            names.append(found.value.suggested_filename)
            look_into(names[-1], found.value.path().read_bytes())
            expect(page.locator(".menu-list")).to_have_count(0)
            page.wait_for_timeout(100)  # Chromium drops downloads beyond ten a second
        if page.locator(".menu-list").count():
            page.keyboard.press("Escape")
    return names


def look_into(name: str, data: bytes) -> None:
    kind = name.rpartition(".")[2]
    if kind == "png":
        assert data[:8] == b"\x89PNG\r\n\x1a\n", name
        assert len(data) > 1_000, name
        return
    text = data.decode("utf-8")
    if kind == "svg":
        found = ElementTree.fromstring(text)
        assert len(list(found.iter())) > 10, name
    elif kind == "json":
        rows = json.loads(text)
        assert rows, name
        assert all(len(row) == len(rows[0]) > 1 for row in rows), name
    else:
        lines = list(csv.reader(io.StringIO(text)))
        assert len(lines) > 1, name
        assert all(len(line) == len(lines[0]) > 1 for line in lines), name


def test_every_picture_and_table_of_a_run_is_saved(page: Page, server: str, runs: Path) -> None:
    data = Data(
        time=STARTED,
        path="train.jsonl",
        rows=100,
        looked_at=100,
        tokens=1000,
        label_tokens=250,
        longest=90,
        found={"duplicate": Rows(n=2, rows=[3, 9], partners=[1, 2])},
    )
    write(runs / "first", [*open_alert(), data])
    page.goto(f"{server}/run/first")
    expect(page.locator(".panel")).to_have_count(9)
    open_everything(page)
    expect(panel(page, "lora").locator(".leaders")).to_have_count(2)
    assert page.evaluate(UNSAVED) == []
    names = save_everything(page)
    assert len(names) == len(set(names))
    stems = {name.removeprefix("first-").rpartition(".")[0] for name in names}
    assert stems >= {
        *(
            "loss-nats-per-token-by-optimizer-step",
            "gradient-norm",
            "exact-match-with-its-95-interval",
        ),
        *("calibration-error", "reliability-diagram", "evaluations", "pattern-by-length"),
        *("alerts", "alert-history", "not-checked", "where-the-time-goes", "layers-by-depth"),
        *("layers-that-stand-out", "layers-moved", "other-signals", "log"),
        *("training-data", "checkpoints", "settings", "environment"),
    }
    for picture in ("loss-nats-per-token-by-optimizer-step", "layers-by-depth", "other-signals"):
        assert {f"first-{picture}.{kind}" for kind in ("png", "svg", "csv", "json")} <= set(names)


def test_every_picture_and_table_of_a_comparison_is_saved(
    page: Page, server: str, runs: Path
) -> None:
    two(runs)
    page.goto(f"{server}/#/compare?runs=one,two,first&settings=all")
    expect(page.locator(".panel")).to_have_count(7)
    open_everything(page)
    assert page.evaluate(UNSAVED) == []
    names = save_everything(page)
    assert len(names) == len(set(names)) == 4 * 4 + 3 * 2


@pytest.mark.parametrize("kind", ["PNG", "SVG"])
def test_the_list_of_runs_is_saved_as_a_picture(
    page: Page, server: str, runs: Path, kind: str
) -> None:
    several(runs)
    page.goto(f"{server}/#/runs")
    with page.expect_download() as found:
        page.get_by_role("button", name=f"{kind}: save runs").click()
    assert found.value.suggested_filename == f"runs.{kind.lower()}"
    data = found.value.path().read_bytes()
    look_into(found.value.suggested_filename, data)
    if kind == "SVG":
        for text in (b"good", b"Best checkpoint", b"critical", b"91.7"):
            assert text in data


def test_a_panel_that_fills_the_screen_saves_what_it_shows(page: Page, server: str) -> None:
    page.goto(f"{server}/run/first")
    open_menu(page, "Loss")
    page.get_by_role("button", name="Full screen").click()
    dialog = page.get_by_role("dialog", name="Loss")
    dialog.get_by_role("button", name="Options of Loss").click()
    with page.expect_download() as found:
        dialog.get_by_role("button", name=re.compile("^Save Loss, nats .* as SVG$")).click()
    wide = ElementTree.fromstring(found.value.path().read_text("utf-8")).attrib["width"]
    assert int(wide) > 1200
