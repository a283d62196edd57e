"""The usage snippets users were promised, with only the import line changed, and their checklist.

Each snippet below is run as it was written, against a real small model; each line of the checklist
is one test, the ones about pictures in a real browser.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
import torch
from playwright.sync_api import Browser, Page, expect
from serving import serving
from transformers import Trainer, TrainerCallback, TrainingArguments
from watched import collate, encoded

import heldout
from heldout.derive.history import History
from heldout.signals.lora import capture_lora_initial_state, compute_lora_deltas
from heldout.store.journal import read
from heldout.views.export import EXPORTERS

FIXED_EVAL = """
from heldout import FixedEvalSet

# In train.py initialization:
fixed_eval = FixedEvalSet('fixed_eval.jsonl', tokenizer, max_samples=2000)

# In callback, every 500 steps:
if state.global_step % 500 == 0:
    results = fixed_eval.evaluate(model, state.global_step)
    # Returns: {em, ce, ece, best_ckpt, em_trend, ece_rise}
    status_writer.update_fixed_eval(results)
"""

PATTERN_TRACKER = """
from heldout import PatternTracker, get_default_patterns

# In train.py initialization:
tracker = PatternTracker(get_default_patterns())

# In callback, after each eval:
pattern_id, bin_name = tracker.classify(user_prompt, len(tokenizer(golden_response)['input_ids']))
tracker.record(pattern_id, bin_name, matches)

# Every N steps:
matrix = tracker.get_matrix()
status_writer.update_pattern_matrix(matrix)
"""

LORA = """
from heldout import capture_lora_initial_state, compute_lora_deltas

# Call `capture_lora_initial_state()` after LoRA setup
initial_state = capture_lora_initial_state(model)
train_some_steps(model)
# Call `compute_lora_deltas()` every 500 steps
deltas = compute_lora_deltas(model, initial_state)
# Add to status JSON
status_writer.update_lora_deltas(deltas)
"""

ENTROPY = """
from heldout import compute_token_entropy

# After generating:
with torch.no_grad():
    outputs = model(**full_inputs)
    entropy = compute_token_entropy(outputs.logits)

# Add to status:
status_writer.update_streaming_metrics(
    streaming_ce=self.streaming_ce_ema,
    current_entropy=entropy
)
"""

ALERTS_AND_THROUGHPUT = """
from heldout import generate_smart_alerts

# Add to status:
throughput = self.compute_throughput(state, tokenizer, raw_examples)
status_writer.update_throughput(throughput)

# In update methods, add:
status['smart_alerts'] = self.generate_smart_alerts(status)
"""


def run_snippet(code: str, **names: Any) -> dict[str, Any]:
    exec(code, names)
    return names


@pytest.fixture
def status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> heldout.StatusWriter:
    monkeypatch.chdir(tmp_path)
    tiny.write_jsonl(tmp_path / "fixed_eval.jsonl", tiny.rows(20))
    return heldout.StatusWriter()


def on_disk() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("status.json").read_text())
    return found


def test_the_fixed_eval_snippet(status: heldout.StatusWriter, tokenizer: Any) -> None:
    names = run_snippet(
        FIXED_EVAL,
        tokenizer=tokenizer,
        model=tiny.model(),
        state=SimpleNamespace(global_step=1000),
        status_writer=status,
    )
    assert {"em", "ce", "ece", "best_ckpt", "em_trend", "ece_rise"} <= set(names["results"])
    assert on_disk()["fixed_eval"]["best_ckpt"] == "checkpoint-1000"
    assert 0 <= on_disk()["fixed_eval"]["em"] <= 1
    asked = names["results"]["items"][0]["prompt"]
    assert asked not in Path("status.json").read_text(), "others may read the file"


def test_the_pattern_tracker_snippet(status: heldout.StatusWriter, tokenizer: Any) -> None:
    names = run_snippet(
        PATTERN_TRACKER,
        tokenizer=tokenizer,
        user_prompt="What is the capital of Peru?",
        golden_response="Lima",
        matches=True,
        status_writer=status,
    )
    assert (names["pattern_id"], names["bin_name"]) == ("factual", "0-100")
    cell = on_disk()["bucket_matrix"]["cells"][0]
    assert (cell["pattern"], cell["seen"], cell["correct"]) == ("factual", 1, 1)
    assert set(on_disk()["bucket_matrix"]["patterns"]) == set(heldout.get_default_patterns())


def test_the_lora_snippet(status: heldout.StatusWriter) -> None:
    def train_some_steps(model: Any) -> None:
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
        for _ in range(3):
            ids = torch.tensor([[5, 6, 7, 8]])
            model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()

    names = run_snippet(
        LORA, model=tiny.lora_model(), train_some_steps=train_some_steps, status_writer=status
    )
    assert [entry["layer"] for entry in names["deltas"]] == [0, 1, 2]
    for entry in on_disk()["lora_layer_deltas"]:
        assert {"layer", "qkv", "mlp", "delta_norm"} <= set(entry)
        assert entry["delta_norm"] > 0
        assert all(isinstance(entry[kind], float) for kind in ("qkv", "mlp"))


def test_the_entropy_snippet(status: heldout.StatusWriter) -> None:
    full_inputs = {"input_ids": torch.tensor([[5, 6, 7]])}
    run_snippet(
        ENTROPY,
        torch=torch,
        model=tiny.model(),
        full_inputs=full_inputs,
        self=SimpleNamespace(streaming_ce_ema=0.78),
        status_writer=status,
    )
    assert on_disk()["streaming_ce"] == 0.78
    assert 0 < on_disk()["current_entropy"] < math.log(400)


def test_the_alerts_and_throughput_snippets(status: heldout.StatusWriter) -> None:
    names = run_snippet(
        ALERTS_AND_THROUGHPUT,
        self=SimpleNamespace(
            compute_throughput=lambda state, tokenizer, examples: {
                "tokens_per_sec": 1200.0,
                "tokens_per_step": 4096,
                "total_tokens": 81920,
            },
            generate_smart_alerts=status.generate_smart_alerts,
        ),
        state=None,
        tokenizer=None,
        raw_examples=None,
        status_writer=status,
        status={"loss": float("nan"), "fixed_eval": {"em_trend": "plateau", "best_ckpt": "c-1"}},
    )
    assert [alert["level"] for alert in names["status"]["smart_alerts"]] == ["critical", "warning"]
    assert "c-1" in names["status"]["smart_alerts"][1]["action"]
    assert names["generate_smart_alerts"](names["status"]) == names["status"]["smart_alerts"]
    assert on_disk()["throughput"]["total_tokens"] == 81920


# The checklist, on one real run of 1,000 steps (and three short ones that go wrong on purpose).


class Runs:
    """Watched runs of a small model in one folder."""

    def __init__(self, root: Path, tokenizer: Any) -> None:
        self.root = root
        self.tokenizer = tokenizer
        self.eval_set = tiny.write_jsonl(root / "fixed_eval.jsonl", tiny.rows(60)[40:])

    def train(self, name: str, steps: int, *callbacks: TrainerCallback, **more: Any) -> History:
        """Train, and give back what the journal holds."""
        keys = ("every", "margin")
        watching = {key: more.pop(key) for key in keys if key in more}
        monitor = heldout.Monitor(self.eval_set, runs=self.root / "runs", run=name, **watching)
        settings = {
            "output_dir": str(self.root / "out" / name),
            "max_steps": steps,
            "per_device_train_batch_size": 2,
            "learning_rate": 5e-3,
            "logging_steps": 10,
            "save_steps": 500,
            "report_to": "none",
            "disable_tqdm": True,
            "use_cpu": True,
        }
        Trainer(
            model=tiny.lora_model(layers=7),
            args=TrainingArguments(**{**settings, **more}),
            train_dataset=encoded(self.tokenizer, 40),
            data_collator=collate,
            processing_class=self.tokenizer,
            callbacks=[monitor, *callbacks],
        ).train()
        return self.history(name)

    def history(self, name: str) -> History:
        found = History()
        for record in read(self.root / "runs" / name / "journal.jsonl")[0]:
            found.add(record)
        return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Runs:
    found = Runs(tmp_path_factory.mktemp("mission"), tokenizer)
    found.train("long", 1000, every=500)
    return found


@pytest.fixture(scope="module")
def long(runs: Runs) -> History:
    return runs.history("long")


@pytest.fixture
def page(runs: Runs, chromium: Browser) -> Iterator[Page]:
    newest = runs.root / "runs" / "long" / "journal.jsonl"
    os.utime(newest, (time.time() + 60, time.time() + 60))
    with serving(runs.root / "runs") as address:
        tab = chromium.new_page(viewport={"width": 1400, "height": 1000}, accept_downloads=True)
        tab.goto(f"{address}/run/long")
        yield tab
        tab.close()


def test_fixed_eval_runs_every_500_steps_without_errors(long: History) -> None:
    assert [result.step for result in long.evals] == [0, 500, 1000]
    assert all(result.n == 20 and result.non_finite == 0 for result in long.evals)
    assert not [note for note in long.notes if note.topic == "failure"]
    assert long.evals[-1].ce < long.evals[0].ce


def test_pattern_heatmap_populates_and_renders(long: History, page: Page) -> None:
    panel = page.locator("#panel-patterns")
    for name in {item.pattern for item in long.last_items}:
        expect(panel.get_by_text(name, exact=True).first).to_be_visible()
    expect(panel.get_by_text("%").first).to_be_visible()


def test_lora_top_five_displays_correctly(long: History, page: Page) -> None:
    largest = sorted(long.layers[-1].layers, key=lambda layer: -(layer.relative or 0.0))[:5]
    rows = page.locator("#panel-lora ol").first.locator("li")
    expect(rows).to_have_count(5)
    for row, layer in zip(rows.all_inner_texts(), largest, strict=True):
        assert row.startswith(f"layer {layer.layer}\n")
        assert f"{100 * (layer.relative or 0.0):.3g}" in row, row


def test_lora_deltas_make_sense(runs: Runs) -> None:
    model = tiny.lora_model()
    start = capture_lora_initial_state(model)
    assert all(entry["delta_norm"] == 0 for entry in compute_lora_deltas(model, start))
    moved = runs.history("long").layers
    assert all(x.delta_norm > 0 for x in moved[-1].layers)
    assert moved[-1].layers[0].delta_norm > moved[1].layers[0].delta_norm


class Poison(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 5:
            with torch.no_grad():
                next(p for p in kwargs["model"].parameters() if p.requires_grad).fill_(math.nan)


def test_smart_alerts_trigger_on_an_injected_nan(runs: Runs) -> None:
    found = runs.train("poisoned", 12, Poison(), every=6)
    alert = found.alerts["loss-not-finite", ""]
    assert (alert.state, alert.level, alert.step) == ("open", "critical", 6)
    assert "learning rate" in alert.action


def test_smart_alerts_trigger_on_a_plateau(runs: Runs) -> None:
    found = runs.train("flat", 8, every=1, learning_rate=0.0)
    changes = [verdict for verdict in found.verdicts if verdict.rule == "plateau"]
    told = [(verdict.state, verdict.level) for verdict in changes if verdict.state != "no-data"]
    assert told == [("open", "warning"), ("closed", "warning")], "the end leaves nothing to stop"
    assert changes[-1].step == 8
    assert "plateau" in changes[-1].message
    assert heldout.generate_smart_alerts({"fixed_eval": {"em_trend": "plateau"}})


def test_streaming_ce_smooths_the_noisy_loss(long: History) -> None:
    raw = long.columns.get("loss/step").values[500:]
    smooth = long.columns.get("loss/streaming").values[500:]
    jumps = abs(raw[1:] - raw[:-1]).mean()
    assert abs(smooth[1:] - smooth[:-1]).mean() < 0.05 * jumps


def test_token_entropy_is_in_a_reasonable_range(long: History) -> None:
    entropy = long.columns.get("entropy/train").values
    assert len(entropy) == 1000
    assert (entropy > 0).all()
    assert (entropy < math.log(400)).all()


def test_tokens_per_second_displays_and_updates(long: History, page: Page) -> None:
    speed = long.columns.get("throughput/tokens_per_second").values
    assert (speed > 0).all()
    assert len(set(speed.tolist())) > 900
    expect(page.locator("#panel-speed").get_by_text("tokens/s").first).to_be_visible()


def test_all_panels_collapse_and_expand_properly(page: Page) -> None:
    buttons = page.locator("section button[aria-expanded]")
    expect(buttons.first).to_be_visible()
    assert buttons.count() >= 6
    for i in range(buttons.count()):
        before = buttons.nth(i).get_attribute("aria-expanded")
        buttons.nth(i).click()
        expect(buttons.nth(i)).to_have_attribute(
            "aria-expanded", "false" if before == "true" else "true"
        )
        buttons.nth(i).click()
        expect(buttons.nth(i)).to_have_attribute("aria-expanded", before or "")


def test_export_includes_the_new_metrics(long: History, page: Page) -> None:
    with page.expect_download() as download:
        page.get_by_text("CSV", exact=True).first.click()
    header = Path(download.value.path()).read_text().splitlines()[0].split(",")
    new = {"loss/streaming", "entropy/train", "throughput/tokens_per_second"}
    assert new | {"eval/em", "eval/ece", "eval/ce"} <= set(header)
    with page.expect_download() as download:
        page.get_by_text("JSON", exact=True).first.click()
    whole = json.loads(Path(download.value.path()).read_text())
    assert {"fixed_eval", "bucket_matrix", "lora_layer_deltas", "smart_alerts"} <= set(whole)
    assert EXPORTERS["csv"].write(long).startswith(b"step,")
