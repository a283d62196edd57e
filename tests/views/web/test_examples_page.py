"""The page of examples in a real browser: what it shows, finds, opens, and never runs."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from recorded_run import run_record, sample, write
from recorded_set import OWNED, PAYLOADS, as_told, records, write_capitals
from serving import serving

NARROW_SPACE = "\u202f"


def open_capitals(page: Page, server: str, query: str = "") -> None:
    page.goto(f"{server}/#/run/capitals/examples{query}")
    expect(page.get_by_role("heading", level=1)).to_have_text("Examples")


def test_a_row_shows_prompt_golden_answer_and_where_the_model_leaves_it(
    page: Page, server: str, runs: Path
) -> None:
    write_capitals(runs)
    open_capitals(page, server)
    expect(page.get_by_text("6 examples · 5 evaluations, the latest at step 40")).to_be_visible()
    second = page.locator(".example").nth(1)
    expect(second).to_contain_text("What is the capital of Slovenia?")
    expect(second.locator(".answer").first).to_contain_text("Ljubljana")
    expect(second.locator("mark")).to_have_text("<b>else</b>")
    expect(second.locator(".answer").nth(1)).to_contain_text("Lju leaves the golden answer here")
    expect(second).to_contain_text("forgotten")
    history = second.get_by_role("img")
    expect(history).to_have_attribute(
        "aria-label", "wrong at step 0, right at step 10, wrong at steps 20–40"
    )
    expect(history.locator("rect.went-right")).to_have_count(1)
    expect(history.locator("rect.went-wrong")).to_have_count(4)


@pytest.mark.parametrize(
    ("chip", "lines"),
    [
        ("wrong", ["2", "4", "5"]),
        ("learned", ["1", "6"]),
        ("forgotten", ["2", "5"]),
        ("persistently wrong", ["4"]),
        ("near tie", ["5"]),
    ],
)
def test_each_kind_can_be_filtered_and_the_address_keeps_it(
    page: Page, server: str, runs: Path, chip: str, lines: list[str]
) -> None:
    write_capitals(runs)
    open_capitals(page, server)
    page.get_by_role("group", name="Kind").get_by_role(
        "button", name=re.compile(f"^{chip} ")
    ).click()
    shown = page.locator(".example-open")
    expect(shown).to_have_text([re.compile(f"line {line}$") for line in lines])
    page.reload()
    expect(shown).to_have_text([re.compile(f"line {line}$") for line in lines])


def test_texts_are_searched_and_nothing_found_says_so(page: Page, server: str, runs: Path) -> None:
    write_capitals(runs)
    open_capitals(page, server)
    expect(page.locator(".example")).to_have_count(6)  # the field to search in comes with the rows
    page.keyboard.press("/")
    page.keyboard.type("ESTONIA")
    expect(page.locator(".example")).to_have_count(1)
    expect(page.locator(".example")).to_contain_text("Tallinn")
    page.get_by_role("searchbox").fill("no such text")
    expect(page.locator(".empty")).to_contain_text("because none fits all the filters")
    page.get_by_role("button", name="Show all 6").click()
    expect(page.locator(".example")).to_have_count(6)


def test_a_cell_of_the_heatmap_opens_its_examples(page: Page, server: str, runs: Path) -> None:
    write_capitals(runs)
    page.goto(f"{server}/run/capitals")
    cell = page.locator("#panel-patterns").get_by_role("link", name=re.compile("^coding, 100–300"))
    cell.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Examples")
    expect(page.locator(".example-open")).to_have_text([re.compile("line 1$")])
    page.go_back()
    expect(page.locator("#panel-patterns")).to_be_visible()


def test_an_example_opens_by_keyboard_with_every_evaluation(
    page: Page, server: str, runs: Path
) -> None:
    write_capitals(runs)
    open_capitals(page, server)
    expect(page.locator(".example")).to_have_count(6)
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("What is the capital of Slovenia?")
    expect(dialog.locator("tbody tr")).to_have_count(5)
    expect(dialog.locator("tbody tr").nth(1)).to_contain_text("right")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.locator(".example-open").nth(1)).to_be_focused()


def test_ten_thousand_examples_stand_as_few_rows(page: Page, server: str, runs: Path) -> None:
    pairs = [(f"How is {i} spelled?", f"as number {i}") for i in range(10_000)]
    write(runs / "many", records("many", runs.parent / "many.jsonl", pairs))
    page.goto(f"{server}/#/run/many/examples")
    rows = page.locator(".example")
    expect(rows.first).to_contain_text("How is 0 spelled?")
    assert rows.count() < 40
    page.get_by_role("columnheader", name="Prompt").click()
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    expect(rows.last).to_contain_text("How is 9999 spelled?")
    assert rows.count() < 40
    expect(page.get_by_role("table", name="Examples")).to_have_attribute("aria-rowcount", "10001")


@pytest.mark.parametrize("width", [390, 1400])
def test_hostile_texts_are_only_text_and_break_no_layout(
    page: Page, server: str, runs: Path, width: int
) -> None:
    pairs = [(f"{text} ?", text) for text in PAYLOADS]
    others = iter(PAYLOADS[1:] * len(PAYLOADS))
    hostile = records(
        "hostile",
        runs.parent / "hostile.jsonl",
        pairs,
        said=lambda row: row.response[:4] + next(others),
    )
    write(runs / "hostile", hostile)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{server}/#/run/hostile/examples?kind=")
    rows = page.locator(".example")
    expect(rows.first).to_contain_text(f"<script>{OWNED}</script>")
    for at in range(0, 15 * 200, 500):
        page.evaluate(f"scrollTo(0, {at})")
        heights = page.evaluate(
            "[...new Set([...document.querySelectorAll('.example')].map((row) => row.offsetHeight))]"
        )
        assert len(heights) == 1
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate("scrollTo(0, 0)")
    for i in range(len(PAYLOADS)):
        page.get_by_role("searchbox").fill("")
        page.goto(f"{server}/#/run/hostile/examples")
        page.evaluate(f"scrollTo(0, {i * (190 if width == 390 else 80)})")
        opener = page.get_by_role("button", name=re.compile(f"of line {i + 1},"))
        opener.click()
        expect(page.get_by_role("dialog").locator(".block-text").first).to_be_visible()
        page.get_by_role("button", name="Close").click()
    assert page.evaluate("window.owned") is None
    assert page.locator("main img, main script, main iframe, main form").count() == 0
    expect(page).to_have_title("Examples · hostile · heldout")


def test_marks_of_direction_and_escapes_are_named_instead_of_obeyed(
    page: Page, server: str, runs: Path
) -> None:
    pairs = [("\u202egnp.exe", "\x1b[31mred")]
    write(runs / "marks", records("marks", runs.parent / "marks.jsonl", pairs))
    page.goto(f"{server}/#/run/marks/examples")
    row = page.locator(".example").first
    expect(row).to_contain_text("⟨U+202E⟩gnp.exe")
    expect(row).to_contain_text("⟨U+001B⟩[31mred")


def test_a_set_that_is_gone_or_changed_says_so(page: Page, server: str, runs: Path) -> None:
    file = write_capitals(runs)
    lines = file.read_text("utf-8").splitlines()
    file.write_text("\n".join([lines[0].replace("Zagreb", "Zadar"), *lines[1:]]), "utf-8")
    open_capitals(page, server)
    expect(page.locator(".remark")).to_contain_text("has changed since: 1 of 6 examples")
    expect(page.locator(".example").first).to_contain_text("not known")
    expect(page.locator(".example").nth(1)).to_contain_text("Ljubljana")
    file.unlink()
    page.reload()
    expect(page.locator(".remark")).to_contain_text("not there any more")
    expect(page.locator(".example")).to_have_count(6)


def test_a_run_without_evaluations_says_why_there_is_nothing(
    page: Page, server: str, runs: Path
) -> None:
    write(runs / "young", [run_record("young"), sample(1)])
    page.goto(f"{server}/#/run/young/examples")
    expect(page.locator(".empty")).to_contain_text("has not been evaluated yet")


def test_a_new_evaluation_appears_by_itself(page: Page, server: str, runs: Path) -> None:
    whole = records("capitals", runs.parent / "capitals.jsonl", (("a?", "b"), ("c?", "d")))
    cut = len(whole) - 3 - 10  # the last evaluation and the ten steps before it
    write(runs / "capitals", whole[:cut])
    open_capitals(page, server)
    expect(page.get_by_text("4 evaluations, the latest at step 30")).to_be_visible()
    write(runs / "capitals", whole[cut:])
    expect(page.get_by_text("5 evaluations, the latest at step 40")).to_be_visible()


def test_the_page_works_under_a_sub_path(page: Page, runs: Path) -> None:
    write_capitals(runs)
    with serving(runs, under="/tools/heldout") as address:
        page.goto(f"{address}/run/capitals")
        page.get_by_role("link", name="Examples", exact=True).click()
        expect(page.locator(".example")).to_have_count(6)
        assert page.url == f"{address}/#/run/capitals/examples"
        page.reload()
        expect(page.locator(".example")).to_have_count(6)
        page.goto("about:blank")


def test_against_another_run_only_the_differing_examples_are_shown(
    page: Page, server: str, runs: Path
) -> None:
    write_capitals(runs)
    write_capitals(
        runs, "other", went=lambda i, e: not as_told(i, e) if i in (0, 1) else as_told(i, e)
    )
    open_capitals(page, server, "?against=other&kind=gained")
    expect(page.locator(".example-open")).to_have_text([re.compile("line 1$")])
    expect(page.locator(".example .answer").nth(2)).to_contain_text("Zag")
    expect(page.locator(".example")).to_contain_text("right only here")


def test_the_examples_that_fit_the_filters_are_saved_with_whole_texts(
    page: Page, server: str, runs: Path
) -> None:
    write_capitals(runs)
    open_capitals(page, server, "?kind=wrong")
    with page.expect_download() as found:
        page.get_by_role("link", name="CSV: save these 3 examples").click()
    assert found.value.suggested_filename == "capitals-examples.csv"
    with found.value.path().open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["line"] for row in rows] == ["2", "4", "5"]
    page.locator(".example-open").first.click()
    with page.expect_download() as found:
        page.get_by_role("button", name="JSON: save example line 2").click()
    went = json.loads(found.value.path().read_text("utf-8"))
    assert [(each["step"], each["correct"]) for each in went][:2] == [(0, "false"), (10, "true")]
