"""The report as one file: opened in a real browser with the network off."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from recorded_run import HOSTILE, STARTED, eval_records, layer_record, recorded, run_record, write

from heldout.cli import main
from heldout.derive.history import History
from heldout.errors import HeldoutError
from heldout.records import AnyRecord, Checkpoint, Decision, Note, Verdict
from heldout.views.report import html
from heldout.views.report.html import html_report, report_data

WRITTEN = STARTED + 90
NASTY = (
    "</script><script>document.title='owned'</script>",
    "<!--<script>",
    "]]></style><svg onload=\"document.title='owned'\">",
    HOSTILE,
    "\u202egnp.exe \u2028 \x1b[31m \x00 \ud800 'quote\" `tick` ${1+1} &lt;b&gt; {{1}}",
)
PANELS = ("loss", "fixed-eval", "patterns", "alerts", "speed", "lora", "signals", "details", "log")


def written(records: list[AnyRecord], name: str = "first") -> str:
    return html_report(name, History.of(records), WRITTEN)


def hostile() -> list[AnyRecord]:
    records: list[AnyRecord] = [*recorded(), *eval_records(80, 50), layer_record(80)]
    for i, text in enumerate(NASTY):
        when = STARTED + 80
        records += [
            Verdict(
                step=80,
                time=when,
                rule=f"r{i}",
                state="open",
                level="error",
                message=text,
                action=text,
            ),
            Checkpoint(step=80, time=when, path=text),
            Note(step=80, time=when, topic=text, text=text),
            Decision(step=80, time=when, action="stop", checkpoint=text, tied=[text], reason=text),
        ]
    return records


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page without network; any request but the file's own, or any word on the console, fails."""
    context = chromium.new_context(
        offline=True,
        viewport={"width": 1400, "height": 900},
        reduced_motion="reduce",
        locale="en-GB",
    )
    page = context.new_page()
    page.set_default_timeout(10_000)
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(message.text))
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith(("file:", "data:")) else troubles.append(request.url)
        ),
    )
    yield page
    context.close()
    assert troubles == []


def saved(folder: Path, text: str) -> str:
    path = folder / "report.html"
    path.write_text(text, "utf-8")
    return path.as_uri()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_file_shows_every_panel_without_a_network(
    page: Page, tmp_path: Path, theme: str
) -> None:
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    page.goto(saved(tmp_path, written(recorded())))
    expect(page).to_have_title("first · heldout report")
    headline = page.get_by_role("region", name="Summary")
    expect(headline).to_contain_text("Stop training. Use checkpoint-20.")
    expect(headline).to_contain_text("66.7\u202f%")
    expect(page.locator("header")).to_contain_text("Report written")
    for name in PANELS:
        expect(page.locator(f"#panel-{name}")).to_have_count(1)
    expect(page.locator("#panel-loss canvas").first).to_be_visible()
    expect(page.locator("#panel-patterns")).to_contain_text("74.1\u202f%")
    expect(page.locator("#panel-lora")).to_contain_text("stalled")
    dark: float = page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).slice(0, 3).map(Number)[0]"
    )
    assert (dark < 100) == (theme == "dark")


def test_the_file_links_to_no_other_page_and_answers_what_its_panels_ask(
    page: Page, tmp_path: Path
) -> None:
    page.goto(saved(tmp_path, written(recorded())))
    expect(page.locator("#panel-lora")).to_contain_text("read at step 60")
    links: list[str] = page.eval_on_selector_all(
        "a[href]", "all => all.map(a => a.getAttribute('href'))"
    )
    assert [link for link in links if not link.startswith("#panel-")] == []
    slider = page.get_by_role("slider", name=re.compile("Reading of the layers"))
    slider.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#panel-lora")).to_contain_text("read at step 40")


def test_hostile_text_is_only_text_in_the_file(page: Page, tmp_path: Path) -> None:
    page.goto(
        saved(tmp_path, written(hostile(), "</title><script>document.title='owned'</script>"))
    )
    expect(page.locator("#panel-alerts")).to_contain_text("document.title='owned'")
    page.locator("#panel-log h2 button").first.click()
    page.wait_for_timeout(200)
    assert "owned" in page.title()  # the run's name, as text
    assert page.title().startswith("</title>")
    assert page.locator("main script, main svg[onload], main img:not([src^='data'])").count() == 0


def test_the_policy_lets_nothing_run_but_the_file_s_own_script(page: Page, tmp_path: Path) -> None:
    text = written(recorded())
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    assert "unsafe" not in policy[1]
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")
    page.goto(saved(tmp_path, text))
    expect(page.locator("#panel-loss")).to_be_visible()


def test_without_a_script_the_verdict_is_there_in_words(chromium: Browser, tmp_path: Path) -> None:
    context = chromium.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(saved(tmp_path, written(hostile())))
    assert "ACTION: Stop training. Use" in page.locator("body").inner_text()
    assert page.locator("noscript img, noscript svg, noscript b").count() == 0
    context.close()


def test_the_data_survive_the_way_into_the_file() -> None:
    text = written(hostile())
    block = re.search(r'<script type="application/json" id="heldout-data">(.*?)</script>', text)
    assert block is not None
    assert "<" not in block[1]
    held = json.loads(block[1])
    assert {alert["message"] for alert in held["run"]["snapshot"]["alerts"]} >= set(NASTY[:4])
    assert held["run"]["series"]["loss/step"]["values"][32] == "NaN"
    assert held["written"] == WRITTEN
    assert "\ud800" not in text


def test_the_file_holds_no_address_to_load_from() -> None:
    text = written(recorded())
    markup = re.sub(r"<(script|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    assert re.findall(r"(?:src|href)=\"(?!data:)", markup) == []
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_many_readings_of_the_layers_are_held_evenly_spread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records = [run_record("a b/c"), *(layer_record(step) for step in range(1, 41))]
    monkeypatch.setattr(html, "READINGS_BYTES", 10 * 12_000)
    answers = report_data("a b/c", History.of(records), WRITTEN)["answers"]
    steps = sorted(int(path.rsplit("/", 1)[1]) for path in answers)
    assert steps[-1] == 40
    assert 3 <= len(steps) <= 15
    assert len({b - a for a, b in pairwise(steps)}) == 1
    assert all(path.startswith("api/runs/a%20b%2Fc/layers/") for path in answers)


def test_a_page_that_is_not_built_is_said(tmp_path: Path) -> None:
    with pytest.raises(HeldoutError, match="make web"):
        html_report("first", History.of(recorded()), WRITTEN, built=tmp_path)


def test_the_command_writes_the_file_and_returns_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "first", recorded()).parent
    target = tmp_path / "report.html"
    monkeypatch.setattr("sys.argv", ["heldout", "report", str(folder), "--html", str(target)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "Stop training. Use checkpoint-20." in unescape(target.read_text("utf-8"))
    assert str(target) in capsys.readouterr().out.replace("\n", "")
