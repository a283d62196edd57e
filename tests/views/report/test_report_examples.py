"""The examples in the report file: only when asked for, as text, and no more than fits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from recorded_run import STARTED, recorded, run_record, sample
from recorded_set import CAPITALS, OWNED, PAYLOADS, records, write_capitals

from heldout.cli import main
from heldout.derive.history import History
from heldout.records import AnyRecord
from heldout.store.journal import read
from heldout.views.report import examples
from heldout.views.report.examples import examples_section
from heldout.views.report.html import html_report


def of(records: list[AnyRecord]) -> History:
    return History.of(records)


def history_of(folder: Path) -> History:
    return of(read(folder / "journal.jsonl")[0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_capitals(tmp_path / "runs")
    return tmp_path / "runs" / "capitals"


def test_texts_are_left_out_unless_asked_for_and_the_file_says_so(folder: Path) -> None:
    text = html_report("capitals", history_of(folder), STARTED)
    assert "The texts of the examples are left out of this file" in text
    assert not [answer for pair in CAPITALS for answer in pair if answer in text]


def test_every_example_stands_there_the_wrong_ones_first(folder: Path) -> None:
    section = examples_section(history_of(folder), folder)
    assert "Examples of step 40 (6)" in section
    assert all(f'<bdi dir="auto">{prompt}</bdi>' in section for prompt, _ in CAPITALS)
    wrong = [m.start() for m in re.finditer(", wrong\n", section)]
    right = [m.start() for m in re.finditer(", right\n", section)]
    assert max(wrong) < min(right)
    assert len(wrong) + len(right) == 6
    assert "wrong at steps 0 to 10, right at steps 20 to 40" in section
    assert "▯▯▮▮▮" in section


def test_where_the_model_leaves_the_golden_answer_is_marked(tmp_path: Path) -> None:
    run = records("one", tmp_path / "one.jsonl", (("a?", "Zagreb"),), went=lambda i, e: False)
    section = examples_section(of(run), tmp_path)
    assert "Zag</bdi><mark" in section
    assert "&lt;b&gt;else&lt;/b&gt;" in section


def test_no_more_than_fits_is_held_and_the_rest_is_counted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples, "MOST_BYTES", 2_000)
    section = examples_section(history_of(folder), folder)
    assert re.search(r"\([1-5] of 6\)", section)
    assert "would make the file too large" in section
    assert len(section.encode()) < 4_000


def test_a_run_without_an_evaluation_has_no_section() -> None:
    assert examples_section(of([run_record(), sample(1)]), Path()) == ""


def test_a_set_that_is_gone_is_said(tmp_path: Path) -> None:
    section = examples_section(of(recorded()), tmp_path)
    assert "not there any more" in section
    assert section.count("not known") == 2 * 60


@pytest.mark.browser
def test_hostile_texts_are_only_text_with_and_without_a_script(
    chromium: Browser, tmp_path: Path
) -> None:
    pairs = [(f"{text} ?", text) for text in PAYLOADS]
    others = iter(PAYLOADS[1:] * len(PAYLOADS))
    history = of(
        records("h", tmp_path / "h.jsonl", pairs, said=lambda row: row.response[:4] + next(others))
    )
    target = tmp_path / "report.html"
    target.write_text(html_report("h", history, STARTED, examples_from=tmp_path), "utf-8")
    for scripts in (True, False):
        context = chromium.new_context(offline=True, java_script_enabled=scripts)
        page = context.new_page()
        troubles: list[str] = []
        page.on("console", lambda message, to=troubles: to.append(message.text))
        page.on("request", lambda request, to=troubles: to.append(request.url))
        page.goto(target.as_uri())
        page.locator(".held-examples summary").click()
        table = page.locator(".held-examples table")
        expect(table).to_contain_text(f"<script>{OWNED}</script>")
        expect(table).to_contain_text("⟨U+202E⟩gnp.exe")
        expect(table).to_contain_text("⟨U+001B⟩[31mred")
        assert table.locator("script, img, svg, b, a").count() == 0
        if scripts:
            assert page.evaluate("window.owned") is None
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
