"""Hostile text, wherever a run can hold any, in every view: it is shown as text and nothing executes."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hostile_run import FOLDERS, hostile, write_hostile
from playwright.sync_api import Browser, Frame, Page, expect
from recorded_set import OWNED, PAYLOADS
from rich.console import Console
from rich.text import Text
from serving import serving

import heldout
from heldout.derive.history import History
from heldout.replay import as_recorded
from heldout.views.follow import Follower
from heldout.views.report.html import html_report
from heldout.views.report.markdown import markdown_report
from heldout.views.terminal.watch import ListView, RunView, once, plain

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
NUMBERS = range(len(FOLDERS))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hostile") / "runs"
    write_hostile(root)
    return root


@pytest.fixture(scope="module")
def server(runs: Path) -> Iterator[str]:
    with serving(runs) as address:
        yield address


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page on which a dialog, a new window, a foreign request or any word on the console fails the test."""
    context = chromium.new_context(reduced_motion="reduce", locale="en-GB")
    page = context.new_page()
    page.set_default_timeout(20_000)
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(f"error {error}"))
    page.on("console", lambda message: troubles.append(f"console {message.text}"))
    page.on("dialog", lambda dialog: troubles.append(f"dialog {dialog.message}"))
    page.on("popup", lambda popup: troubles.append(f"popup {popup.url}"))
    page.on("request", lambda request: troubles.extend(_foreign(request.url)))
    yield page
    page.goto("about:blank")
    context.close()
    assert troubles == []


def _foreign(url: str) -> list[str]:
    ours = re.match(r"http://127\.0\.0\.1|file:|data:|blob:|about:|http://notebook\.test", url)
    return [] if ours and OWNED not in url.split("/assets/")[0].split("/run")[0] else [url]


def unfold(page: Page | Frame) -> None:
    """Open every panel and every detail, so that all of their text is rendered."""
    for _ in range(3):
        page.evaluate(
            """() => {
                for (const each of document.querySelectorAll("details")) each.open = true;
                for (const each of document.querySelectorAll("main [aria-expanded=false]")) each.click();
            }"""
        )
        page.wait_for_timeout(150)


def harmless(page: Page | Frame) -> None:
    """Nothing of the run is an element, and none of its scripts has run."""
    found = page.evaluate(
        """() => ({
            owned: window.owned,
            elements: [...document.querySelectorAll(
                "main script, main iframe, main object, main embed, main form, main link, main style,"
                + "main img:not([src^='data:']):not([src^='blob:']), main svg[onload], main [autofocus],"
                + "main [onerror], main [onmouseover], main [onfocus], main textarea + title"
            )].map((element) => element.outerHTML.slice(0, 200)),
            links: [...document.querySelectorAll("a[href]")].map((a) => a.protocol)
                .filter((protocol) => !["http:", "blob:", "data:", "file:", "about:"].includes(protocol)),
        })"""
    )
    assert found == {"owned": None, "elements": [], "links": []}


def test_the_payloads_would_execute_where_they_are_markup(chromium: Browser) -> None:
    """Without this the tests below could pass on payloads that do nothing."""
    page = chromium.new_page()
    for payload in (*FOLDERS[:2], *PAYLOADS[:3]):
        page.goto("about:blank")
        page.set_content(f"<p>{payload}")
        page.wait_for_function("window.owned === 1", timeout=5000)
    page.close()


def test_the_list_of_runs(page: Page, server: str) -> None:
    page.goto(f"{server}/#/runs")
    expect(page.locator("main")).to_contain_text(FOLDERS[0])
    expect(page.locator("main")).to_contain_text("half ?? text")
    expect(page.locator("main")).to_contain_text(PAYLOADS[0][:40])
    unfold(page)
    harmless(page)


@pytest.mark.parametrize("number", NUMBERS)
def test_the_page_of_a_run(page: Page, server: str, number: int) -> None:
    page.goto(f"{server}/#/run/{shown(number)}")
    expect(page.get_by_role("region", name="Summary")).to_contain_text("Stop training.")
    unfold(page)
    expect(page.locator("#panel-alerts")).to_contain_text(PAYLOADS[0])
    expect(page.locator("#panel-signals")).to_contain_text(PAYLOADS[0])
    expect(page.locator("#panel-log")).to_contain_text(PAYLOADS[0])
    harmless(page)


@pytest.mark.parametrize("number", [0, 3, 9])
def test_the_examples_of_a_run(page: Page, server: str, number: int) -> None:
    page.goto(f"{server}/#/run/{shown(number)}/examples")
    expect(page.locator(".example").first).to_contain_text(PAYLOADS[0])
    harmless(page)


def test_the_comparison_of_runs(page: Page, server: str) -> None:
    names = ",".join(shown(number) for number in (0, 1, 3, 4))
    page.goto(f"{server}/#/compare?runs={names}&settings=all")
    expect(page.locator("main")).to_contain_text(PAYLOADS[1])
    unfold(page)
    harmless(page)


@pytest.mark.parametrize("number", [0, 1, 4])
def test_the_report_file(page: Page, runs: Path, tmp_path: Path, number: int) -> None:
    history = History.of(hostile(number, tmp_path / "set.jsonl"))
    target = tmp_path / "report.html"
    target.write_text(html_report(FOLDERS[number], history, 1.0), "utf-8")
    page.goto(target.as_uri())
    expect(page.get_by_role("region", name="Summary")).to_contain_text("Stop training.")
    unfold(page)
    expect(page.locator("#panel-alerts")).to_contain_text(PAYLOADS[0])
    harmless(page)


def test_the_notebook(page: Page, runs: Path) -> None:
    markup = heldout.show(runs / FOLDERS[0])._repr_html_()
    page.route(
        "http://notebook.test/",
        lambda route: route.fulfill(
            body=f"<!doctype html><meta charset=utf-8><main>{markup}</main>",
            content_type="text/html; charset=utf-8",
        ),
    )
    page.goto("http://notebook.test/")
    inside = page.frames[1]
    expect(page.frame_locator("iframe").locator("#panel-alerts")).to_contain_text(PAYLOADS[0])
    unfold(inside)
    harmless(inside)
    assert page.evaluate("window.owned") is None


def shown(number: int) -> str:
    """The folder's name in an address, as the page writes it."""
    return quote(FOLDERS[number].encode("utf-8", "replace").decode(), safe="")


@pytest.mark.parametrize("number", NUMBERS)
def test_the_terminal(runs: Path, number: int) -> None:
    folder = runs / FOLDERS[number]
    view = RunView(Follower(folder / "journal.jsonl"))
    while not view.look():
        pass
    for size in ((80, 24), (120, 40), (200, 60)):
        inert(view.draw(1.0, *size))
    file = io.StringIO()
    once(folder, Console(file=file, width=100, force_terminal=False), as_recorded)
    inert([Text(line) for line in file.getvalue().split("\n")])
    told: list[str] = []
    plain(folder, told.append, as_recorded, None)
    assert told
    inert([Text(line) for line in told])


def test_the_terminal_s_list_of_runs(runs: Path) -> None:
    listed = ListView(runs)
    for _ in range(100):
        listed.look()
    inert(listed.draw(1.0, 120, 40))


def inert(lines: list[Text]) -> None:
    """No line holds an escape, another control or a mark of direction, or more than one line."""
    for line in lines:
        assert not CONTROL.search(line.plain), repr(line.plain)
        assert "\n" not in line.plain


@pytest.mark.parametrize("number", NUMBERS)
def test_the_markdown(tmp_path: Path, number: int) -> None:
    text = markdown_report(FOLDERS[number], History.of(hostile(number, tmp_path / "set.jsonl")))
    outside, fenced = re.subn(r"^(`{3,})json\n.*?^\1\n", "", text, flags=re.DOTALL | re.MULTILINE)
    assert fenced == 1
    assert not CONTROL.search(outside)
    tags = re.findall(r"<[^>]*>", outside)
    assert set(tags) <= {"<details>", "<summary>", "</summary>", "</details>"}
