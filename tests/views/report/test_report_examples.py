"""The examples in the report file: the page's own, only when asked for, and no more than fits."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from recorded_run import STARTED, recorded, run_record, sample
from recorded_set import CAPITALS, OWNED, PAYLOADS, records, write_capitals

from heldout.cli import main
from heldout.derive.history import History
from heldout.records import AnyRecord
from heldout.store.journal import read
from heldout.views.report import examples
from heldout.views.report.examples import examples_data
from heldout.views.report.html import html_report
from heldout.views.web import examples_file
from heldout.views.web.examples import SORTS, Query, page
from heldout.views.web.set_file import SetFile


def of(records: list[AnyRecord]) -> History:
    return History.of(records)


def history_of(folder: Path) -> History:
    return of(read(folder / "journal.jsonl")[0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_capitals(tmp_path / "runs")
    return tmp_path / "runs" / "capitals"


@pytest.fixture
def opened(chromium: Browser, folder: Path, tmp_path: Path) -> Iterator[Page]:
    """The report of the capitals with its examples, opened without a network."""
    target = tmp_path / "report.html"
    text = html_report("capitals", history_of(folder), STARTED, examples_from=folder)
    target.write_text(text, "utf-8")
    context = chromium.new_context(offline=True, accept_downloads=True)
    shown = context.new_page()
    troubles: list[str] = []
    shown.on("console", lambda message: troubles.append(message.text))
    shown.on("pageerror", lambda error: troubles.append(str(error)))
    shown.on("request", lambda request: troubles.append(request.url))
    shown.goto(target.as_uri())
    yield shown
    assert [text for text in troubles if not text.startswith(("file:", "data:", "blob:"))] == []
    context.close()


def test_texts_are_left_out_unless_asked_for(folder: Path) -> None:
    text = html_report("capitals", history_of(folder), STARTED)
    assert not [answer for pair in CAPITALS for answer in pair if answer in text]


def test_no_more_than_fits_is_held_the_wrong_ones_first_and_the_rest_is_counted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = examples_data(history_of(folder), folder)
    assert whole is not None
    assert len(whole["page"]["rows"]) == 6
    wrong = [row["id"] for row in whole["page"]["rows"] if not row["correct"]]
    monkeypatch.setattr(examples, "MOST_BYTES", 8_000)
    held = examples_data(history_of(folder), folder)
    assert held is not None
    ids = [row["id"] for row in held["page"]["rows"]]
    assert 0 < len(ids) < 6
    assert set(ids) <= set(wrong) or set(wrong) <= set(ids)
    assert list(held["whole"]) == ids
    assert f"this file holds {len(ids)} of 6 examples" in held["page"]["missing"]


def test_a_run_without_an_evaluation_holds_none() -> None:
    assert examples_data(of([run_record(), sample(1)]), Path()) is None


def test_a_set_that_is_gone_is_said(tmp_path: Path) -> None:
    held = examples_data(of(recorded()), tmp_path)
    assert held is not None
    assert "not there any more" in held["page"]["missing"]
    assert all(row["prompt"] is None for row in held["page"]["rows"])


def test_the_file_says_that_texts_are_left_out(
    chromium: Browser, folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "report.html"
    target.write_text(html_report("capitals", history_of(folder), STARTED), "utf-8")
    shown = chromium.new_page()
    shown.goto(target.as_uri())
    expect(shown.get_by_text("The texts of the examples are left out of this file")).to_be_visible()
    expect(shown.get_by_role("link", name="Examples", exact=True)).to_have_count(0)
    shown.close()


def test_the_page_filters_sorts_and_searches_as_the_live_one(opened: Page, folder: Path) -> None:
    opened.get_by_role("link", name="Examples", exact=True).click()
    expect(opened.get_by_role("heading", name="Examples")).to_be_visible()
    history, file = history_of(folder), SetFile()
    asked: list[dict[str, str]] = [
        *({"sort": sign + sort} for sort in SORTS for sign in ("", "-")),
        *({"kind": kind} for kind in ("right", "wrong", "learned")),
        *({"text": text} for text in ("malta", "CAPITAL", "no such text")),
        {"bin": page(history, Query(), file, folder)["rows"][0]["bin"]},
        {"pattern": page(history, Query(), file, folder)["rows"][0]["pattern"], "sort": "-ce"},
    ]
    seen = set()
    for query in asked:
        found = page(history, Query.of(query), file, folder)
        where = "&".join(f"{name}={value}" for name, value in query.items())
        opened.evaluate(f"location.hash = '#/run/capitals/examples?{where}'")
        lines = [f"line {row['line']}" for row in found["rows"]]
        names = opened.locator(".example-open")
        expect(names).to_have_count(len(lines))
        expect(names).to_contain_text(lines)
        seen.add(tuple(lines))
    assert len(seen) > 4  # the questions do ask for something


def test_an_example_opens_with_every_evaluation_and_the_address_leads_back(opened: Page) -> None:
    opened.get_by_role("link", name="Examples", exact=True).click()
    opened.locator(".example-open").first.click()
    dialog = opened.get_by_role("dialog")
    expect(dialog.locator(".evaluations tbody tr")).to_have_count(5)
    expect(dialog).to_contain_text(CAPITALS[0][0])
    dialog.get_by_role("button", name="Close").click()
    opened.get_by_role("link", name="Run", exact=True).click()
    expect(opened.locator(".headline, .panel").first).to_be_visible()
    opened.go_back()
    expect(opened.get_by_role("heading", name="Examples")).to_be_visible()


def test_a_cell_of_the_heatmap_opens_its_examples(opened: Page) -> None:
    opened.get_by_role("link", name="See its examples").first.click()
    expect(opened.get_by_role("heading", name="Examples")).to_be_visible()
    expect(opened.locator(".example-open").first).to_be_visible()


def test_the_rows_are_saved_as_the_server_saves_them(opened: Page, folder: Path) -> None:
    opened.get_by_role("link", name="Examples", exact=True).click()
    with opened.expect_download() as saved:
        opened.get_by_role("button", name="CSV: save these 6 examples").click()
    got = list(csv.DictReader(io.StringIO(Path(saved.value.path()).read_text("utf-8"))))
    rows = examples_file.rows(history_of(folder), Query(), SetFile(), folder)
    served = list(csv.DictReader(io.StringIO(examples_file.to_csv(rows).decode())))
    assert [list(row) for row in got] == [list(row) for row in served]
    for mine, theirs in zip(got, served, strict=True):
        for name, value in theirs.items():
            if name in ("ce", "entropy"):
                assert float(mine[name]) == float(value)
            else:
                assert mine[name] == value, name


def test_hostile_texts_are_only_text(chromium: Browser, tmp_path: Path) -> None:
    pairs = [(f"{text} ?", text) for text in PAYLOADS]
    others = iter(PAYLOADS[1:] * len(PAYLOADS))
    history = of(
        records("h", tmp_path / "h.jsonl", pairs, said=lambda row: row.response[:4] + next(others))
    )
    target = tmp_path / "report.html"
    target.write_text(html_report("h", history, STARTED, examples_from=tmp_path), "utf-8")
    context = chromium.new_context(offline=True, viewport={"width": 1400, "height": 4000})
    shown = context.new_page()
    troubles: list[str] = []
    shown.on("console", lambda message: troubles.append(message.text))
    shown.on("request", lambda request: troubles.append(request.url))
    shown.goto(target.as_uri())
    shown.get_by_role("link", name="Examples", exact=True).click()
    table = shown.get_by_role("table", name="Examples")
    expect(table).to_contain_text(f"<script>{OWNED}</script>")
    assert table.locator("script, img, a, b").count() == 0
    assert shown.evaluate("window.owned") is None
    assert [url for url in troubles if not url.startswith(("file:", "data:"))] == []
    context.close()


def test_the_command_puts_them_in(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "report.html"
    arguments = ["heldout", "report", str(folder), "--html", str(target), "--examples"]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit):
        main()
    assert "What is the capital of Malta?" in target.read_text("utf-8")
