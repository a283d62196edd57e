"""The comparison in a real browser: shared axes, the paired test, the numbers, the settings, the link."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from looking import painted
from playwright.sync_api import Browser, Page, expect
from recorded_run import recorded, run_record, sample, write
from recorded_set import CAPITALS, as_told, records, write_capitals
from test_axe import violations

pytestmark = pytest.mark.browser


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
    charts = page.locator(".compare-charts canvas")
    expect(charts).to_have_count(4)
    assert painted(charts.first)
    em = page.get_by_role("img", name=re.compile("^exact match"))
    expect(em).to_have_attribute("aria-label", re.compile(r"A one 50\s%; B two 83.33\s%"))


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
    expect(page.locator(".compare-charts .card").first).to_contain_text(
        "Not drawn, because nothing is recorded: C"
    )


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
    expect(page.locator(".compare-charts .axis-title").first).to_contain_text("by tokens")
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


def test_a_nan_is_told_and_not_drawn_over(page: Page, server: str, runs: Path) -> None:
    write(runs / "nan", [*recorded("nan"), sample(61, **{"loss/streaming": float("nan")})])
    page.goto(f"{server}/#/compare?runs=nan")
    expect(page.locator(".not-finite")).to_contain_text("A was NaN at step 61")


def test_a_run_that_goes_on_is_drawn_further(page: Page, server: str, runs: Path) -> None:
    page.goto(f"{server}/#/compare?runs=first")
    expect(page.locator(".compared li")).to_contain_text("step 60")
    write(runs / "first", [sample(61)])
    expect(page.locator(".compared li")).to_contain_text("step 61", timeout=15_000)


def test_a_run_that_is_not_there_says_so(chromium: Browser, server: str) -> None:
    page = chromium.new_page()
    page.goto(f"{server}/#/compare?runs=missing")
    expect(page.get_by_role("alert")).to_contain_text("no run called 'missing'")
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_the_comparison_and_its_examples_have_no_axe_violation_and_fit(
    page: Page, server: str, runs: Path, scheme: str, width: int
) -> None:
    two(runs)
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{server}/#/compare?runs=one,two,first&settings=all")
    expect(page.locator(".compare-charts canvas").first).to_be_visible()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.goto(f"{server}/#/run/two/examples?against=one")
    expect(page.locator(".example")).to_have_count(6)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator(".example-open").first.click()
    expect(page.get_by_role("dialog").locator("tbody tr")).to_have_count(5)
    assert violations(page) == []
