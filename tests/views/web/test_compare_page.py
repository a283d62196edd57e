"""The comparison in a real browser: shared axes, the paired test, the numbers, the settings, the link."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from looking import drag, glass, head, open_menu, painted, panel, save
from playwright.sync_api import Browser, Page, expect
from recorded_run import metric_records, recorded, run_record, sample, write
from recorded_set import CAPITALS, as_told, records, write_capitals
from serving import serving
from test_axe import violations


def two(runs: Path) -> None:
    """Two runs on one set: the second answers line 1 wrong and lines 2, 4 and 5 right."""
    write_capitals(runs, "one")
    better = records(
        "two",
        runs.parent / "capitals.jsonl",
        CAPITALS,
        went=lambda i, e: i != 0 if e == 4 else as_told(i, e),
        config={"train": {"lr": 0.1, "note": "<b>x</b>"}},
    )
    write(runs / "two", better)


def test_two_runs_are_drawn_on_shared_axes_and_told_apart_by_letter(
    page: Page, server: str, runs: Path
) -> None:
    two(runs)
    page.goto(f"{server}/#/compare?runs=one,two")
    expect(page.locator(".compared li")).to_have_text([re.compile("^Aone"), re.compile("^Btwo")])
    charts = page.locator(".panel canvas")
    expect(charts).to_have_count(4)
    assert painted(charts.first)
    em = page.get_by_role("img", name=re.compile("^Exact match"))
    expect(em).to_have_attribute("aria-label", re.compile(r"A one 50\.0\s%; B two 83\.3\s%"))


def test_the_paired_test_says_what_differs_and_leads_to_it(
    page: Page, server: str, runs: Path
) -> None:
    two(runs)
    page.goto(f"{server}/#/compare?runs=one,two")
    row = page.get_by_role("region", name="Paired tests").get_by_role("row", name=re.compile("two"))
    expect(row).to_contain_text("+33.3\u202fpoints")
    expect(row).to_contain_text("n 6")
    expect(row).to_contain_text("No difference shown")
    expect(row).to_contain_text("1 right only in A")
    row.get_by_role("link", name="3 right only in B").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Examples")
    lines = [re.compile(f"line {line}$") for line in (2, 4, 5)]
    expect(page.locator(".example-open")).to_have_text(lines)
    expect(page.get_by_text("3 of 6 examples")).to_contain_text("against one")


def test_runs_on_different_sets_are_not_paired_and_it_is_said(
    page: Page, server: str, runs: Path
) -> None:
    two(runs)
    write(runs / "bare", [run_record("bare"), sample(1)])
    page.goto(f"{server}/#/compare?runs=one,first,bare")
    pairs = page.get_by_role("region", name="Paired tests")
    expect(pairs).to_contain_text("because they were scored on different fixed sets")
    expect(pairs).to_contain_text("because bare has not been evaluated yet")
    expect(page.locator(".remark")).to_contain_text("2 different fixed sets")
    expect(panel(page, "compare-em")).to_contain_text("Not drawn, because nothing is recorded: C")


def test_the_link_restores_runs_axis_scale_and_settings(
    page: Page, server: str, runs: Path
) -> None:
    two(runs)
    page.goto(f"{server}/#/compare")
    expect(page.locator(".empty")).to_contain_text("because no run is chosen")
    for name in ("two", "one"):
        page.get_by_role("combobox", name="Add a run").select_option(name)
    page.get_by_text("tokens", exact=True).click()
    page.get_by_role("button", name="log scale").click()
    page.get_by_role("button", name=re.compile("^show all")).click()
    expected = f"{server}/#/compare?runs=two,one&axis=tokens&log=1&settings=all"
    expect(page).to_have_url(expected)
    page.reload()
    expect(page.get_by_role("radio", name="tokens")).to_be_checked()
    expect(page.get_by_role("button", name="log scale")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".compared li").first).to_contain_text("two")
    expect(page.locator(".panel .axis-title").first).to_contain_text("by tokens")
    page.get_by_role("button", name="as reference: one").click()
    expect(page.locator(".compared li").first).to_contain_text("one")
    page.get_by_role("button", name="Leave two out").click()
    expect(page.locator(".compared li")).to_have_count(1)


def test_settings_show_only_what_differs_until_asked_for_all(
    page: Page, server: str, runs: Path
) -> None:
    two(runs)
    page.goto(f"{server}/#/compare?runs=one,two")
    table = page.get_by_role("region", name="Settings of each run")
    expect(table.get_by_role("row", name=re.compile("train.lr"))).to_contain_text("0.1")
    expect(table.get_by_role("row", name=re.compile("train.note"))).to_contain_text("<b>x</b>")
    expect(table.get_by_role("row", name=re.compile("^model"))).to_have_count(0)
    page.get_by_role("button", name=re.compile("^show all")).click()
    expect(table.get_by_role("row", name=re.compile("^model"))).to_have_count(1)
    expect(table.get_by_role("row", name=re.compile("train.lr"))).to_contain_text("differs")


def test_the_charts_share_range_and_cursor_and_the_address_keeps_the_range(
    page: Page, server: str, runs: Path
) -> None:
    two(runs)
    page.goto(f"{server}/#/compare?runs=one,two&axis=tokens")
    titles = ("Exact match", "Streaming CE", "Held-out CE", "Calibration error")
    em = glass(page, "Exact match", "Token")
    expect(em).to_have_attribute("aria-valuemax", str(40 * 512))
    drag(page, em, 0.4, 0.7)
    first = page.get_by_role("spinbutton", name="First token shown")
    last = page.get_by_role("spinbutton", name="Last token shown")
    low, high = int(first.input_value()), int(last.input_value())
    assert 4_000 < low < 10_000 < high < 16_000
    for title in titles:
        glass(page, title, "Token").scroll_into_view_if_needed()  # out of sight a chart rests
        expect(glass(page, title, "Token")).to_have_attribute("aria-valuemin", str(low))
        expect(glass(page, title, "Token")).to_have_attribute("aria-valuemax", str(high))
    expect(page).to_have_url(re.compile(f"range={low}-{high}$"))
    page.reload()
    expect(first).to_have_value(str(low))
    expect(last).to_have_value(str(high))
    em.focus()
    page.keyboard.press("ArrowRight")
    expect(em).to_have_attribute("aria-valuetext", re.compile(r"^[\d,]+ tokens: A one 0\.\d+"))
    at = em.get_attribute("aria-valuenow") or ""
    for title in titles:
        expect(glass(page, title, "Token")).to_have_attribute("aria-valuenow", at)
    page.get_by_role("button", name="Reset").click()
    expect(last).to_have_value(str(40 * 512))
    expect(page).not_to_have_url(re.compile("range="))


def test_a_zoom_shows_every_step_of_long_runs(page: Page, tmp_path: Path) -> None:
    spiked = {"loss/streaming": 9.5}
    steps = [sample(step, **(spiked if step == 5_005 else {})) for step in range(1, 10_001)]
    write(tmp_path / "long", [run_record("long"), *metric_records(), *steps])
    with serving(tmp_path) as address:
        page.goto(f"{address}/#/compare?runs=long&axis=tokens&range={5_000 * 512}-{5_010 * 512}")
        curve = glass(page, "Streaming CE", "Token")
        for _ in range(50):  # until the finer points are here
            curve.focus()
            page.keyboard.press("Home")
            page.keyboard.press("ArrowRight")
            if curve.get_attribute("aria-valuenow") == str(5_001 * 512):
                break
            page.wait_for_timeout(100)
        for step in range(5_001, 5_011):
            expect(curve).to_have_attribute("aria-valuenow", str(step * 512))
            if step == 5_005:
                expect(curve).to_have_attribute("aria-valuetext", re.compile("A long 9.5"))
            page.keyboard.press("ArrowRight")
        page.goto("about:blank")


def test_training_time_is_told_in_seconds(page: Page, server: str, runs: Path) -> None:
    two(runs)
    page.goto(f"{server}/#/compare?runs=one,two&axis=seconds")
    em = glass(page, "Exact match", "Second")
    em.focus()
    page.keyboard.press("End")
    expect(em).to_have_attribute("aria-valuetext", re.compile(r"^40\u202fs: A one"))
    page.keyboard.press("+")
    expect(page.get_by_role("spinbutton", name="First second shown")).not_to_have_value("0")


def test_a_run_can_be_hidden_in_a_chart(page: Page, server: str, runs: Path) -> None:
    two(runs)
    page.goto(f"{server}/#/compare?runs=one,two")
    em = glass(page, "Exact match")
    expect(em).to_have_attribute("aria-valuetext", re.compile("B two"))
    panel(page, "compare-em").get_by_role("button", name=re.compile("^B two")).click()
    expect(em).not_to_have_attribute("aria-valuetext", re.compile("B two"))


def test_every_chart_and_table_of_the_comparison_is_saved(
    page: Page, server: str, runs: Path
) -> None:
    two(runs)
    page.goto(f"{server}/#/compare?runs=one,two")
    name = "Exact match, with 95 % intervals, by steps"
    open_menu(page, "Exact match")
    text = save(page, name, "SVG").path().read_text("utf-8")
    ElementTree.fromstring(text)  # well-formed
    assert ">B</text>" in text
    open_menu(page, "Exact match")
    assert save(page, name, "PNG").path().read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    open_menu(page, "Exact match")
    with save(page, name, "CSV").path().open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["0", "10", "20", "30", "40"]
    assert float(rows[-1]["B two"]) == 5 / 6
    tables = {
        "Which answers the fixed set better": ("Paired tests", "run", "two"),
        "Latest numbers": ("Latest numbers", "number", "state"),
        "Settings": ("Settings", "setting", "train.lr"),
    }
    for title, (table, column, value) in tables.items():
        open_menu(page, title)
        saved = json.loads(save(page, table, "JSON").path().read_text("utf-8"))
        assert value in [row[column] for row in saved], title


def test_the_panels_of_the_comparison_fold_move_and_fill_the_screen(
    page: Page, server: str, runs: Path
) -> None:
    two(runs)
    page.goto(f"{server}/#/compare?runs=one,two")
    titles = page.locator(".panel-title")
    expect(titles).to_have_count(7)
    head(page, "compare-finals").click()
    head(page, "compare-ce").focus()
    page.keyboard.press("Alt+ArrowUp")
    expect(titles.nth(1)).to_have_text("Held-out CE")
    page.reload()
    expect(titles.nth(1)).to_have_text("Held-out CE")
    expect(head(page, "compare-finals")).to_have_attribute("aria-expanded", "false")
    page.get_by_role("button", name="Options of Held-out CE").click()
    page.get_by_role("button", name="Full screen").click()
    dialog = page.get_by_role("dialog", name="Held-out CE")
    expect(dialog.locator("canvas")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_a_nan_is_told_and_not_drawn_over(page: Page, server: str, runs: Path) -> None:
    write(runs / "nan", [*recorded("nan"), sample(61, **{"loss/streaming": float("nan")})])
    page.goto(f"{server}/#/compare?runs=nan")
    expect(page.locator(".not-finite")).to_contain_text("A nan was NaN at step 61")


def test_a_run_that_goes_on_is_drawn_further(page: Page, server: str, runs: Path) -> None:
    page.goto(f"{server}/#/compare?runs=first")
    expect(page.locator(".compared li")).to_contain_text("step 60")
    write(runs / "first", [sample(61)])
    expect(page.locator(".compared li")).to_contain_text("step 61", timeout=15_000)


def test_a_run_that_is_not_there_says_so(chromium: Browser, server: str) -> None:
    page = chromium.new_page()
    page.goto(f"{server}/#/compare?runs=missing")
    expect(page.get_by_role("alert")).to_contain_text("no run called 'missing'")
    expect(page.get_by_role("alert")).to_have_count(1)
    page.close()


def test_the_others_are_compared_where_a_run_is_gone_and_it_can_be_left_out(
    chromium: Browser, server: str, runs: Path
) -> None:
    two(runs)
    page = chromium.new_page()
    page.goto(f"{server}/#/compare?runs=one,gone,two&axis=tokens")
    expect(page.locator(".compared li")).to_have_count(2)
    expect(page.get_by_role("alert")).to_contain_text("There is no run called 'gone'")
    page.get_by_role("button", name="Compare without it").click()
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.locator(".compared li")).to_have_count(2)
    assert page.url.endswith("#/compare?runs=one,two&axis=tokens")
    page.close()


def test_a_run_named_twice_is_compared_once(page: Page, server: str) -> None:
    page.goto(f"{server}/#/compare?runs=first,first")
    expect(page.locator(".compared li")).to_have_count(1)
    expect(head(page, "compare-em")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_the_comparison_and_its_examples_have_no_axe_violation_and_fit(
    page: Page, server: str, runs: Path, scheme: str, width: int
) -> None:
    two(runs)
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{server}/#/compare?runs=one,two,first&settings=all")
    expect(page.locator(".panel canvas").first).to_be_visible()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.goto(f"{server}/#/run/two/examples?against=one")
    expect(page.locator(".example")).to_have_count(6)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator(".example-open").first.click()
    expect(page.get_by_role("dialog").locator("tbody tr")).to_have_count(5)
    assert violations(page) == []
