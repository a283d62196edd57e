"""A run in a notebook: a cell is executed by IPython, and what it displays opens in a browser."""

from __future__ import annotations

import html
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from playwright.sync_api import Browser, Page, expect
from recorded_run import HOSTILE, recorded, write
from traitlets.config import Config

import heldout
from heldout import notebook
from heldout.errors import HeldoutError

pytestmark = pytest.mark.browser


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "runs" / "first", recorded()).parent


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InteractiveShell:
    """IPython as a kernel has it, without a history file."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)  # another one than ours may be active
    config = Config()
    config.HistoryManager.enabled = False
    return InteractiveShell(config=config)


def displayed(shell: InteractiveShell, cell: str) -> dict[str, Any]:
    """What a notebook keeps of the cell's last value, by media type."""
    ran = shell.run_cell(cell)
    ran.raise_error()
    data, _ = shell.display_formatter.format(ran.result)
    return dict(data)


def frame(markup: str) -> str:
    """The document inside the frame."""
    found = re.search(r'<iframe srcdoc="([^"]*)"', markup)
    assert found is not None
    return html.unescape(found[1])


def test_a_cell_displays_the_report_and_as_text_the_verdict(
    shell: InteractiveShell, folder: Path
) -> None:
    data = displayed(shell, f"import heldout\nheldout.show({str(folder)!r}, height=700)")
    assert set(data) == {"text/html", "text/plain"}
    assert "-> Stop. Use checkpoint-20." in data["text/plain"]
    assert "height: 700px" in data["text/html"]
    assert 'sandbox="allow-scripts allow-downloads"' in data["text/html"]
    assert HOSTILE not in data["text/html"]
    assert frame(data["text/html"]).startswith("<!doctype html>")


def test_the_frame_draws_the_panels_inside_another_page(chromium: Browser, folder: Path) -> None:
    context = chromium.new_context(viewport={"width": 1000, "height": 800})
    page: Page = context.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(message.text))
    markup = heldout.show(folder)._repr_html_()
    body = f"<!doctype html><title>notebook</title><body>{markup}"
    page.route(
        "**/*", lambda route: route.fulfill(body=body, content_type="text/html; charset=utf-8")
    )
    page.goto("http://localhost:8888/notebooks/a.ipynb")
    inside = page.frame_locator("iframe")
    expect(inside.locator("#panel-loss canvas").first).to_be_visible()
    expect(inside.locator("#panel-alerts")).to_contain_text(HOSTILE)
    expect(page).to_have_title("notebook")
    context.close()
    assert troubles == []


def test_a_live_run_is_served_once_and_linked_to(folder: Path) -> None:
    try:
        shown = notebook.show(folder, live=True)
        assert f'<a href="{shown.url}" target="_blank" rel="noopener">' in shown._repr_html_()
        with urllib.request.urlopen(shown.url) as answer:
            assert b'id="page"' in answer.read()
        assert notebook.show(folder.parent, live=True).url == shown.url
    finally:
        notebook._ends.close()
        notebook._pages.clear()


def test_a_run_that_is_not_there_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(HeldoutError, match="no such file or folder"):
        heldout.show(tmp_path / "nowhere")
