"""A run in a notebook: a cell is executed by IPython, and what it displays opens in a browser."""

from __future__ import annotations

import html
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from IPython.core.interactiveshell import InteractiveShell
from playwright.sync_api import Browser, Page, expect
from recorded_run import HOSTILE, recorded, run_record, sample, write
from serving import serving
from traitlets.config import Config

import heldout
from heldout import host, notebook
from heldout.errors import HeldoutError
from heldout.records import Sample


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
    assert "ACTION: Stop training. Use checkpoint-20." in data["text/plain"]
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


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A kernel on the browser's own machine, whatever machine this is."""
    for variable in notebook.REMOTE:
        monkeypatch.delenv(variable, raising=False)
    yield
    for server in notebook._servers.values():
        server.stop()
    notebook._servers.clear()


@contextmanager
def notebook_page(markup: str) -> Iterator[str]:
    """A page of this machine with a cell's output in it; gives its port."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(f"<!doctype html><title>notebook</title><body>{markup}".encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield str(server.server_port)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def status(url: str) -> int:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return int(answer.status)


def answers(url: str) -> bool:
    try:
        return status(url) == 200
    except urllib.error.URLError:
        return False


@pytest.mark.usefixtures("local")
@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_a_live_run_moves_inside_the_notebook(chromium: Browser, folder: Path, name: str) -> None:
    shown = notebook.show(folder, live=True)
    context = chromium.new_context(viewport={"width": 1000, "height": 800})
    page: Page = context.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(message.text))
    with notebook_page(shown._repr_html_()) as port:
        page.goto(f"http://{name}:{port}/")
        inside = page.frame_locator("iframe[title='heldout, live']")
        expect(inside.get_by_role("region", name="Summary")).to_contain_text("step 60 of 80")
        write(folder, [sample(61)])
        expect(inside.get_by_role("region", name="Summary")).to_contain_text("step 61 of 80")
        page.get_by_text("Nothing above").click()
        below = page.frame_locator("iframe[title='heldout report']")
        expect(below.get_by_role("region", name="Summary")).to_contain_text("step 60 of 80")
        expect(page).to_have_title("notebook")
        context.close()
    assert troubles == []


@pytest.mark.usefixtures("local")
def test_a_page_of_another_machine_may_not_frame_it(chromium: Browser, folder: Path) -> None:
    """`elsewhere.localhost` is this machine to the browser's resolver, and another name to the policy."""
    shown = notebook.show(folder, live=True)
    context = chromium.new_context()
    page: Page = context.new_page()
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    with notebook_page(shown._repr_html_()) as port:
        page.goto(f"http://elsewhere.localhost:{port}/")
        page.wait_for_timeout(300)
        assert [text for text in told if "frame-ancestors" in text]
        assert "chrome-error:" in page.frames[1].url
        context.close()


@pytest.mark.process
@pytest.mark.usefixtures("local")
def test_only_the_notebook_s_server_may_be_framed_and_by_this_machine_only(folder: Path) -> None:
    with urllib.request.urlopen(notebook.show(folder, live=True).url) as answer:
        policy = answer.headers["Content-Security-Policy"]
    allowed = policy.partition("frame-ancestors ")[2].split()
    assert [re.sub(r"https?://(localhost|127\.0\.0\.1):\*", "", each) for each in allowed] == [
        ""
    ] * 4
    assert "unsafe" not in policy
    with serving(folder.parent) as address, urllib.request.urlopen(address) as answer:
        assert answer.headers["Content-Security-Policy"].endswith("frame-ancestors 'none'")


@pytest.mark.process
@pytest.mark.usefixtures("local")
def test_a_folder_is_served_once_until_it_is_stopped(folder: Path) -> None:
    shown = notebook.show(folder, live=True)
    assert notebook.show(folder.parent, live=True).url == shown.url
    shown.stop()
    shown.stop()
    assert not answers(shown.url)
    assert answers(notebook.show(folder, live=True).url)


@pytest.mark.usefixtures("local")
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_the_server_ends_with_the_kernel_however_that_ends(folder: Path, ending: int) -> None:
    program = (
        "import sys, time, heldout\n"
        "print(heldout.show(sys.argv[1], live=True).url, flush=True)\n"
        "time.sleep(600)"
    )
    kernel = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert kernel.stdout is not None
    url = kernel.stdout.readline().strip()
    assert status(url) == 200
    kernel.send_signal(ending)
    kernel.communicate(timeout=20)
    deadline = time.monotonic() + 20
    while answers(url):
        assert time.monotonic() < deadline, "the server outlived its kernel"
        time.sleep(0.1)


@pytest.mark.process
@pytest.mark.usefixtures("local")
@pytest.mark.parametrize("variable", sorted(notebook.REMOTE))
def test_a_remote_kernel_shows_the_report_and_says_how_to_see_it_live(
    folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    shown = notebook.show(folder, live=True)
    markup = shown._repr_html_()
    assert notebook.REMOTE[variable] in markup
    assert f'<a href="{shown.url}" target="_blank" rel="noopener">' in markup
    assert "Forward its port" in markup
    assert 'title="heldout, live"' not in markup
    assert frame(markup).startswith("<!doctype html>")


def test_a_run_that_is_not_there_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(HeldoutError, match="no such file or folder"):
        heldout.show(tmp_path / "nowhere")


@pytest.mark.usefixtures("local")
def test_runs_whose_trainers_died_unseen_are_shown_dead(chromium: Browser, tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_dead(tmp_path / name)
    shown = notebook.show(tmp_path / "one", live=True)
    assert "died at step 3" in repr(shown)
    page: Page = chromium.new_page()
    page.goto(shown.url)
    expect(page.get_by_role("region", name="Summary")).to_contain_text("died")
    page.goto(shown.url.replace("run/one", "#/runs"))
    row = page.get_by_role("row", name=re.compile("other"))
    expect(row).to_contain_text("died", timeout=20_000)  # the server looks at all of them
    page.close()


def write_dead(run: Path) -> None:
    """A journal that was last written two minutes ago by a process that has ended since."""
    trainer = subprocess.Popen([sys.executable, "-c", ""])
    trainer.wait()
    then = time.time() - 120
    record = msgspec.structs.replace(
        run_record(run.name), time=then, host=host.name(), pid=trainer.pid
    )
    samples = [Sample(step=step, time=then, values={"loss/step": 1.0}) for step in (1, 2, 3)]
    journal = write(run, [record, *samples])
    os.utime(journal, (then, then))
