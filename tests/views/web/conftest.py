"""A folder with a recorded run, and a server on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from recorded_run import recorded, write
from serving import serving

from heldout.views.web.app import STATIC


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of runs with the recorded one in it."""
    root = tmp_path / "runs"
    write(root / "first", recorded())
    return root


@pytest.fixture
def server(runs: Path) -> Iterator[str]:
    with serving(runs) as address:
        yield address


@pytest.fixture
def page(chromium: Browser, server: str) -> Iterator[Page]:
    """A fresh page that fails its test on any script error, console error or foreign request.

    It asks for `server` so that it is closed before the server is, which would be such an error.
    """
    built = (STATIC / "index.html").is_file()
    assert built, "the page is not built: make web"
    context = chromium.new_context(
        viewport={"width": 1400, "height": 900}, reduced_motion="reduce", locale="en-GB"
    )
    page = context.new_page()
    page.set_default_timeout(10_000)
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on(
        "console",
        lambda m: (
            troubles.append(f"{m.text} {m.location}") if m.type in ("error", "warning") else None
        ),
    )
    page.on("request", lambda r: troubles.append(r.url) if "127.0.0.1" not in r.url else None)
    yield page
    context.close()
    assert troubles == []
