"""The list of runs in a real browser: found, sorted, filtered, told apart, and kept up to date."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Browser, Page, expect
from recorded_run import (
    HOSTILE,
    STARTED,
    eval_records,
    metric_records,
    recorded,
    resumed,
    run_record,
    sample,
    write,
)
from serving import serving
from test_axe import violations

from heldout.records import HEARTBEAT, Note, Verdict, encode


def several(runs: Path) -> None:
    """Beside the recorded run: a finished better one, a failed one, and one that died."""
    good = msgspec.structs.replace(run_record("good"), time=STARTED + 500)
    steps = [sample(step) for step in range(1, 81)]
    end = Note(step=80, time=STARTED + 600, topic="finished", text="")
    write(runs / "good", [good, *metric_records(), *steps, *eval_records(80, right=55), end])
    failed = Note(step=1, time=STARTED + 700, topic="failed", text="out of memory")
    write(runs / "bad", [run_record("bad"), sample(1), failed])
    journal = write(runs / "gone", [run_record("gone"), sample(1), sample(2)])
    died = Verdict(
        step=2,
        time=STARTED + 90,
        rule=HEARTBEAT,
        state="open",
        level="error",
        message="died",
        action="",
        evidence={"state": "died", "bytes": journal.stat().st_size},
    )
    (runs / "gone" / "heartbeat.jsonl").write_bytes(encode(died) + b"\n")


def names(page: Page) -> list[str]:
    return page.locator(".run-name > a").all_inner_texts()


def test_the_bare_address_lists_the_runs_with_what_each_is_doing(
    page: Page, server: str, runs: Path
) -> None:
    several(runs)
    page.goto(server)
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")
    expect(page.get_by_text("4 in this folder")).to_be_visible()
    first = page.get_by_role("row", name=re.compile("first"))
    expect(first).to_contain_text("running")
    expect(first).to_contain_text("60 of 80")
    expect(first).to_contain_text("66.7\u202f%")
    expect(first).to_contain_text("n 60")
    expect(first).to_contain_text("checkpoint-20")
    expect(first).to_contain_text("1 critical")
    expect(first.get_by_role("img")).to_have_attribute(
        "aria-label", re.compile("^streaming CE over 1 to 60 steps")
    )
    expect(page.get_by_role("row", name=re.compile("gone"))).to_contain_text("died")
    expect(page.get_by_role("row", name=re.compile("bad"))).to_contain_text("failed")
    expect(page.get_by_role("row", name=re.compile("bad"))).to_contain_text("not evaluated yet")


def test_the_list_is_sorted_by_any_column_and_the_address_keeps_it(
    page: Page, server: str, runs: Path
) -> None:
    several(runs)
    page.goto(f"{server}/#/runs")
    em = page.get_by_role("columnheader", name="EM")
    em.get_by_role("button").click()
    expect(em).to_have_attribute("aria-sort", "descending")
    assert names(page)[:2] == ["good", "first"]
    em.get_by_role("button").click()
    expect(em).to_have_attribute("aria-sort", "ascending")
    assert names(page)[:2] == ["first", "good"]
    page.reload()
    expect(em).to_have_attribute("aria-sort", "ascending")
    page.get_by_role("columnheader", name="Open alerts").get_by_role("button").click()
    assert names(page)[0] == "first"


def test_the_list_is_searched_and_filtered_by_state(page: Page, server: str, runs: Path) -> None:
    several(runs)
    page.goto(f"{server}/#/runs")
    expect(page.locator(".run-name")).to_have_count(4)
    page.keyboard.press("/")
    page.keyboard.type("go")
    expect(page.locator(".run-name")).to_have_count(2)
    page.get_by_role("searchbox").fill("")
    page.get_by_role("group", name="State").get_by_role("button", name=re.compile("died")).click()
    expect(page.locator(".run-name > a")).to_have_text(["gone"])
    page.get_by_role("searchbox").fill("nothing like this")
    expect(page.locator(".empty")).to_contain_text("because none fits")


def test_runs_are_reached_and_opened_by_keyboard(page: Page, server: str, runs: Path) -> None:
    several(runs)
    page.goto(f"{server}/#/runs?sort=id")
    expect(page.locator(".run-name")).to_have_count(4)
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator(".run-name > a").nth(1)).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.locator(".run-name > a").first).to_be_focused()
    page.keyboard.press("End")
    page.keyboard.press("k")
    page.keyboard.press("x")
    expect(page.get_by_role("checkbox", name="Compare gone")).to_be_checked()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("gone")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")


def test_a_resumed_run_is_one_run(page: Page, server: str, runs: Path) -> None:
    write(runs / "first", [resumed(20), sample(21)])
    page.goto(f"{server}/#/runs")
    expect(page.locator(".run-name")).to_have_count(1)
    expect(page.locator(".run-name")).to_contain_text("resumed 1×")
    expect(page.get_by_role("row", name=re.compile("first"))).to_contain_text("21 of 80")


def test_what_happens_appears_while_the_list_is_open(page: Page, server: str, runs: Path) -> None:
    page.goto(f"{server}/#/runs")
    row = page.get_by_role("row", name=re.compile("first"))
    expect(row).to_contain_text("60 of 80")
    write(runs / "first", [sample(61)])
    expect(row).to_contain_text("61 of 80")
    write(runs / "new", recorded("new"))
    expect(page.locator(".run-name")).to_have_count(2)
    for file in (runs / "new").iterdir():
        file.unlink()
    expect(page.locator(".run-name")).to_have_count(1)


def test_tags_and_a_note_are_kept_beside_the_journal_and_found(
    page: Page, server: str, runs: Path
) -> None:
    several(runs)
    before = (runs / "good" / "journal.jsonl").read_bytes()
    page.goto(f"{server}/#/runs")
    page.get_by_role("button", name="Tags and note of good").click()
    page.get_by_label("Tags, with commas").fill("keep, paper")
    page.get_by_label("Note", exact=True).fill(f"the one {HOSTILE}")
    page.get_by_role("button", name="Save", exact=True).click()
    row = page.get_by_role("row", name=re.compile("good"))
    expect(row).to_contain_text("keep")
    expect(row).to_contain_text(f"the one {HOSTILE}")
    row.get_by_role("button", name="paper").click()
    expect(page.locator(".run-name > a")).to_have_text(["good"])
    stored = json.loads((runs / "good" / "annotations.jsonl").read_text("utf-8"))
    assert stored["tags"] == ["keep", "paper"]
    assert (runs / "good" / "journal.jsonl").read_bytes() == before
    assert page.locator("main img").count() == 0


def test_ticked_runs_go_to_the_comparison(page: Page, server: str, runs: Path) -> None:
    several(runs)
    page.goto(f"{server}/#/runs?sort=id")
    page.get_by_role("checkbox", name="Compare first").check()
    page.get_by_role("checkbox", name="Compare good").check()
    page.get_by_role("link", name="Compare 2").click()
    assert page.url == f"{server}/#/compare?runs=first,good"
    expect(page.get_by_role("heading", level=1)).to_have_text("Compare")


@pytest.mark.parametrize("kind", ["CSV", "JSON"])
def test_the_list_is_saved_with_every_digit(page: Page, server: str, runs: Path, kind: str) -> None:
    several(runs)
    page.goto(f"{server}/#/runs?sort=id")
    with page.expect_download() as found:
        page.get_by_role("button", name=f"{kind}: save runs").click()
    assert found.value.suggested_filename == f"runs.{kind.lower()}"
    text = found.value.path().read_text("utf-8")
    rows = json.loads(text) if kind == "JSON" else list(csv.DictReader(io.StringIO(text)))
    assert [row["id"] for row in rows] == ["bad", "first", "gone", "good"]
    assert float(rows[1]["em"]) == 40 / 60
    assert rows[1]["open_alerts"] == "1 critical"


def test_a_name_with_any_sign_in_it_opens(page: Page, server: str, runs: Path) -> None:
    name = 'a, "b" & c#d?e%41 ü'
    write(runs / name, recorded(name))
    page.goto(f"{server}/#/runs")
    page.get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    page.get_by_role("link", name="Compare", exact=True).click()
    expect(page.locator(".compared li")).to_have_count(1)
    expect(page.locator(".compared a")).to_have_text(name)


def test_the_list_works_under_a_sub_path(page: Page, runs: Path) -> None:
    several(runs)
    with serving(runs, under="/tools/heldout") as address:
        page.goto(f"{address}/run/good")
        page.get_by_role("link", name="Runs", exact=True).click()
        expect(page.locator(".run-name")).to_have_count(4)
        page.get_by_role("link", name="bad", exact=True).click()
        assert page.url == f"{address}/run/bad"
        page.goto("about:blank")


def test_a_cut_is_shown_and_what_was_missed_comes_after_it(chromium: Browser, runs: Path) -> None:
    several(runs)
    page = chromium.new_page()
    with serving(runs) as address:
        page.goto(address)
        expect(page.locator(".badge")).to_contain_text("live")
        expect(page.locator(".run-name")).to_have_count(4)
    expect(page.locator(".badge")).to_contain_text("reconnecting, what you see is old")
    expect(page.locator("main.stale")).to_be_visible()
    write(runs / "first", [sample(61)])
    with serving(runs, port=int(address.rpartition(":")[2])):
        expect(page.locator(".badge")).to_contain_text("live", timeout=20_000)
        expect(page.get_by_role("row", name=re.compile("first"))).to_contain_text("61 of 80")
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 1024, 390])
def test_the_list_has_no_axe_violation_and_fits(
    page: Page, server: str, runs: Path, scheme: str, width: int
) -> None:
    several(runs)
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{server}/#/runs")
    expect(page.locator(".run-name")).to_have_count(4)
    page.get_by_role("checkbox", name="Compare good").check()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("button", name="Tags and note of good").click()
    assert violations(page) == []
