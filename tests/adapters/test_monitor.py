"""Real Trainer and SFTTrainer runs of a tiny model, watched."""

from __future__ import annotations

import json
import logging
import math
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from accelerate.utils import DistributedType
from datasets import Dataset
from transformers import (
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl import SFTConfig, SFTTrainer
from watched import collate, encoded

import heldout
import heldout.signals.each
from heldout import host
from heldout.adapters.huggingface import _best_by, _is_sharded
from heldout.derive.history import History
from heldout.errors import ConfigError, DataError
from heldout.evals.evaluate import FixedEvalSet
from heldout.folder import load
from heldout.records import Checkpoint, Decision, EvalResult, Layers, Note, Sample, Verdict
from heldout.signals.moment import to_host
from heldout.store.journal import Journal, read
from heldout.store.training_args import best_by
from heldout.verdicts.judge import judge
from heldout.views.snapshot import snapshot

STEPS = 6


def trainer(
    tmp_path: Path, tokenizer: Any, model: Any, *callbacks: Any, data: Any = None, **more: Any
) -> Trainer:
    """A plain Trainer as someone else would write it; `data` tokenises when `tokenizer` is None."""
    settings = {
        "output_dir": str(tmp_path / "out"),
        "max_steps": STEPS,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "save_steps": 2,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "seed": 3,
    }
    return Trainer(
        model=model,
        args=TrainingArguments(**{**settings, **more}),
        train_dataset=encoded(data or tokenizer),
        eval_dataset=encoded(data or tokenizer, 4),
        data_collator=collate,
        processing_class=tokenizer,
        callbacks=list(callbacks),
    )


@pytest.fixture
def eval_set(tmp_path: Path) -> Path:
    return tiny.write_jsonl(tmp_path / "fixed_eval.jsonl", tiny.rows(50)[30:])


def watch(tmp_path: Path, eval_set: Path | None, **more: Any) -> Any:
    more = {"every": 2, "runs": tmp_path / "runs", "run": "r", **more}
    return heldout.Monitor(eval_set, **more)


def journal(tmp_path: Path, run: str = "r") -> list[Any]:
    return read(tmp_path / "runs" / run / "journal.jsonl")[0]


def history(tmp_path: Path, run: str = "r") -> History:
    found = History()
    for record in journal(tmp_path, run):
        found.add(record)
    return found


def notes(tmp_path: Path, topic: str) -> list[str]:
    return [r.text for r in journal(tmp_path) if isinstance(r, Note) and r.topic == topic]


def assert_replay_equals_live(tmp_path: Path) -> int:
    records = journal(tmp_path)
    live = [r for r in records if isinstance(r, Verdict | Decision)]
    assert judge(r for r in records if not isinstance(r, Verdict | Decision)) == live
    return len(live)


def test_a_plain_trainer_run_records_every_signal(
    tmp_path: Path, tokenizer: Any, eval_set: Path
) -> None:
    trainer(tmp_path, tokenizer, tiny.lora_model(), watch(tmp_path, eval_set)).train()
    found = history(tmp_path)
    now = snapshot(found)
    assert now["state"] == "finished"
    assert found.run is not None
    assert found.run.process == host.process()
    assert [result.step for result in found.evals] == [0, 2, 4, 6]
    assert all(result.n == 20 for result in found.evals)
    assert [saved.path for saved in found.checkpoints] == [f"checkpoint-{s}" for s in (2, 4, 6)]
    scalars = set(found.columns.series)
    assert {"loss/step", "loss/streaming", "entropy/train", "grad/norm"} <= scalars
    assert {"learning_rate", "throughput/tokens_per_second", "time/step", "memory/host"} <= scalars
    assert scalars <= set(found.metrics), "every scalar is explained"
    assert [len(found.columns.get(name)) for name in ("loss/step", "grad/norm")] == [STEPS] * 2
    assert len(now["lora"]["layers"]) == 3
    assert found.decision is not None
    assert notes(tmp_path, "failure") == []


def test_an_sft_trainer_run_records_the_same(
    tmp_path: Path, tokenizer: Any, eval_set: Path
) -> None:
    rows = [row["messages"] for row in tiny.rows(24)]
    dataset = Dataset.from_dict(
        {"prompt": [r[:-1] for r in rows], "completion": [r[-1:] for r in rows]}
    )
    args = SFTConfig(
        output_dir=str(tmp_path / "out"),
        max_steps=STEPS,
        per_device_train_batch_size=4,
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        activation_checkpointing=True,
    )
    SFTTrainer(
        model=tiny.lora_model(),
        args=args,
        train_dataset=dataset,
        processing_class=tokenizer,
        callbacks=[watch(tmp_path, eval_set)],
    ).train()
    found = history(tmp_path)
    assert {"loss/step", "entropy/train", "throughput/total_tokens"} <= set(found.columns.series)
    ours, logged = found.columns.get("loss/step"), found.columns.get("loss/logged")
    assert ours.values.tolist() == pytest.approx(logged.values.tolist(), rel=1e-5)
    assert notes(tmp_path, "failure") == []


def test_the_journal_and_the_status_file_keep_the_contract(
    tmp_path: Path, tokenizer: Any, eval_set: Path
) -> None:
    trainer(tmp_path, tokenizer, tiny.lora_model(), watch(tmp_path, eval_set)).train()
    status = json.loads((tmp_path / "runs" / "r" / "status.json").read_text())
    assert {"em", "ce", "ece", "best_ckpt", "em_trend", "ece_rise"} <= set(status["fixed_eval"])
    assert {"layer", "qkv", "mlp", "delta_norm"} <= set(status["lora_layer_deltas"][0])
    assert {"tokens_per_sec", "tokens_per_step", "total_tokens"} <= set(status["throughput"])
    assert status["streaming_ce"] > 0
    assert status["current_entropy"] > 0
    assert status["bucket_matrix"]["cells"]
    assert status["state"] == "finished"
    assert status["schema"] == 1


class Trajectory(TrainerCallback):
    """Remembers every logged number of a run."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        self.rows.append({k: logs[k] for k in ("loss", "grad_norm") if k in logs})


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"bf16": True},
        {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 2},
        {"activation_checkpointing": True},
        {"eval_strategy": "steps", "eval_steps": 2},
    ],
    ids=lambda more: next(iter(more), "plain"),
)
def test_training_is_bit_equal_with_and_without_the_monitor(
    tmp_path: Path, tokenizer: Any, eval_set: Path, more: dict[str, Any]
) -> None:
    trajectories, weights = [], []
    for watched in (False, True):
        seen, model = Trajectory(), tiny.lora_model(lora_dropout=0.2)
        callbacks = [seen, watch(tmp_path, eval_set, every=1)] if watched else [seen]
        run = trainer(tmp_path / str(watched), tokenizer, model, *callbacks, **more)
        run.train()
        trajectories.append(seen.rows)
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert trajectories[0] == trajectories[1]
    assert torch.equal(weights[0], weights[1])
    assert len(history(tmp_path).evals) == STEPS + 1


def test_training_is_bit_equal_too_when_every_evaluation_fails_half_way(
    tmp_path: Path, tokenizer: Any, eval_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(model: Any, *args: Any) -> None:
        assert not model.training
        torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002
        raise RuntimeError("half way")

    monkeypatch.setattr("heldout.evals.evaluate.answers", fail)
    trajectories = []
    for watched in (False, True):
        seen, model = Trajectory(), tiny.lora_model(lora_dropout=0.2)
        callbacks = [seen, watch(tmp_path, eval_set, every=1)] if watched else [seen]
        trainer(tmp_path / str(watched), tokenizer, model, *callbacks).train()
        trajectories.append(seen.rows)
    assert trajectories[0] == trajectories[1]
    assert len(notes(tmp_path, "failure")) == STEPS + 1
    assert "half way" in notes(tmp_path, "failure")[0]


def test_the_step_loss_equals_a_direct_sum_over_all_label_tokens_under_accumulation(
    tmp_path: Path, tokenizer: Any
) -> None:
    trainer(
        tmp_path,
        tokenizer,
        tiny.lora_model(),
        watch(tmp_path, None),
        gradient_accumulation_steps=3,
        per_device_train_batch_size=2,
        learning_rate=0.0,
        max_steps=4,
        train_sampling_strategy="sequential",
    ).train()
    rows, model = encoded(tokenizer), tiny.lora_model().eval()
    found = history(tmp_path).columns.get("loss/step").values
    for step in range(4):
        batch = collate([rows[i] for i in range(6 * step, 6 * step + 6)])
        with torch.no_grad():
            logits = model(**{k: batch[k] for k in ("input_ids", "attention_mask")}).logits
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1).double(), batch["labels"][:, 1:].flatten()
        )
        assert found[step] == pytest.approx(loss.item(), rel=1e-5)


class Poison(TrainerCallback):
    """Writes a NaN into a weight after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            with torch.no_grad():
                next(p for p in kwargs["model"].parameters() if p.requires_grad)[0, 0] = math.nan


def test_nan_is_caught_at_its_step_although_the_trainers_log_hides_it(
    tmp_path: Path, tokenizer: Any, eval_set: Path
) -> None:
    seen = Trajectory()
    callbacks = [watch(tmp_path, eval_set), seen, Poison(3)]
    trainer(tmp_path, tokenizer, tiny.lora_model(), *callbacks).train()
    assert all(math.isfinite(row["loss"]) for row in seen.rows if "loss" in row)
    alerts = [r for r in journal(tmp_path) if isinstance(r, Verdict) and r.state == "open"]
    alerts = [a for a in alerts if a.rule != "lr-schedule"]  # its rate is that of a test in a hurry
    assert [(a.rule, a.level, a.step) for a in alerts] == [("loss-not-finite", "critical", 4)]
    assert "Resume from the recommended checkpoint" in alerts[0].action
    decision = history(tmp_path).decision
    assert decision is not None
    assert (decision.action, decision.checkpoint) == ("roll-back", "checkpoint-2")
    found = history(tmp_path)
    assert found.decision is not None
    assert (found.decision.action, found.decision.checkpoint) == ("roll-back", "checkpoint-2")
    assert found.evals[-1].non_finite == 20
    assert json.loads((tmp_path / "runs" / "r" / "status.json").read_text())["smart_alerts"]


def test_replaying_the_facts_gives_the_verdicts_of_the_live_run(
    tmp_path: Path, tokenizer: Any, eval_set: Path
) -> None:
    callbacks = [watch(tmp_path, eval_set), Poison(4)]
    trainer(tmp_path, tokenizer, tiny.lora_model(), *callbacks).train()
    assert assert_replay_equals_live(tmp_path) > 3


def test_the_eval_result_is_the_score_of_the_weights_at_that_step(
    tmp_path: Path, tokenizer: Any, eval_set: Path
) -> None:
    model = tiny.lora_model()
    trainer(tmp_path, tokenizer, model, watch(tmp_path, eval_set)).train()
    again = FixedEvalSet(eval_set, tokenizer).evaluate(model, 6)
    last = history(tmp_path).evals[-1]
    assert (last.correct, last.ce) == (again["correct"], pytest.approx(again["ce"]))


def test_the_first_evaluation_of_a_run_is_checked_against_generate(
    tmp_path: Path, tokenizer: Any, eval_set: Path
) -> None:
    trainer(tmp_path, tokenizer, tiny.lora_model(), watch(tmp_path, eval_set)).train()
    evals = history(tmp_path).evals
    assert [(e.rechecked, e.mismatched) for e in evals] == [(20, []), (0, []), (0, []), (0, [])]


def test_a_model_without_lora_has_its_weights_sampled_and_says_so(
    tmp_path: Path, tokenizer: Any, eval_set: Path
) -> None:
    trainer(tmp_path, tokenizer, tiny.model(), watch(tmp_path, eval_set)).train()
    readings = [r for r in journal(tmp_path) if isinstance(r, Layers)]
    assert [r.step for r in readings] == [1, 6]
    assert all(r.note.startswith("no LoRA adapters: the trained weights") for r in readings)
    assert [layer.layer for layer in readings[-1].layers] == [-1, 0, 1, 2]
    assert all(layer.relative > 0 for layer in readings[-1].layers)
    assert len(history(tmp_path).evals) == 4


def test_a_run_that_keeps_few_checkpoints_recommends_one_that_exists(
    tmp_path: Path, tokenizer: Any, eval_set: Path
) -> None:
    model, monitor = tiny.lora_model(), watch(tmp_path, eval_set)
    trainer(tmp_path, tokenizer, model, monitor, save_total_limit=1).train()
    kept = sorted(p.name for p in (tmp_path / "out").glob("checkpoint-*"))
    best = snapshot(history(tmp_path))["fixed_eval"]
    assert {best["best_ckpt"], "checkpoint-6"} <= set(kept)
    assert len(kept) <= 2  # the last, and the one that was recommended when it was saved
    assert set(best["tied"]) <= set(kept)


def test_a_run_started_again_in_one_process_counts_every_token_once(
    tmp_path: Path, tokenizer: Any
) -> None:
    class Interrupt(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            raise RuntimeError("interrupted")

    interrupt, monitor = Interrupt(), watch(tmp_path, None)
    run = trainer(tmp_path, tokenizer, tiny.lora_model(), monitor, interrupt)
    with pytest.raises(RuntimeError, match="interrupted"):
        run.train()
    run.remove_callback(interrupt)
    run.train()
    tokens = history(tmp_path).columns.get("throughput/tokens_per_step").values
    assert len(tokens) == STEPS
    expected = sum(len(row["input_ids"]) for row in encoded(tokenizer))
    assert tokens.sum() == expected
    assert "training was started again" in notes(tmp_path, "failed")


def test_step_times_include_the_wait_for_the_device(
    tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(tensors: Any) -> list[float]:
        time.sleep(0.05)
        return to_host(tensors)

    monkeypatch.setattr("heldout.signals.collection.to_host", slow)
    trainer(tmp_path, tokenizer, tiny.lora_model(), watch(tmp_path, None)).train()
    assert (history(tmp_path).columns.get("time/step").values >= 0.05).all()


def test_weights_that_the_trainer_put_in_place_at_the_end_are_not_scored_as_the_last_steps(
    tmp_path: Path, tokenizer: Any, eval_set: Path
) -> None:
    run = trainer(
        tmp_path,
        tokenizer,
        tiny.lora_model(),
        watch(tmp_path, eval_set, every=100),
        load_best_model_at_end=True,
        eval_strategy="steps",
        eval_steps=2,
        metric_for_best_model="eval_loss",
    )
    run.train()
    assert [result.step for result in history(tmp_path).evals] == [0, 6]
    with_last = json.loads((tmp_path / "runs" / "r" / "status.json").read_text())
    assert with_last["fixed_eval"]["step"] == 6


def test_a_trainer_without_a_tokenizer_is_watched_and_told_how_to_give_one(
    tmp_path: Path, tokenizer: Any, eval_set: Path
) -> None:
    run = trainer(tmp_path, None, tiny.lora_model(), watch(tmp_path, eval_set), data=tokenizer)
    run.train()
    assert len(history(tmp_path).columns.get("loss/step")) == STEPS
    assert "heldout.Monitor(..., tokenizer=tokenizer)" in notes(tmp_path, "failure")[0]
    given = watch(tmp_path / "given", eval_set, tokenizer=tokenizer)
    trainer(tmp_path / "given", None, tiny.lora_model(), given, data=tokenizer).train()
    assert len(history(tmp_path / "given").evals) == 4


def test_a_failure_of_the_monitor_itself_ends_the_watch_and_not_the_training(
    tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr("heldout.watch.Watch.step", fail)
    monitor = watch(tmp_path, None)
    run = trainer(tmp_path, tokenizer, tiny.lora_model(), monitor)
    run.train()
    assert run.state.global_step == STEPS
    assert monitor.watch is None


def test_evaluating_every_zero_steps_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        heldout.Monitor(None, every=0)


@pytest.mark.parametrize("settings", [{"reference": 3}, {"reference": 0, "at_start": False}])
def test_a_reference_that_is_never_evaluated_is_refused_at_once(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"reference . is no step that is evaluated: every 2"):
        heldout.Monitor(None, every=2, **settings)


def test_the_learning_rate_of_every_step_is_the_trainers(tmp_path: Path, tokenizer: Any) -> None:
    class Rates(TrainerCallback):
        def __init__(self) -> None:
            self.seen: list[float] = []

        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if "learning_rate" in kwargs["logs"]:
                self.seen.append(kwargs["logs"]["learning_rate"])

    rates = Rates()
    trainer(tmp_path, tokenizer, tiny.lora_model(), watch(tmp_path, None), rates).train()
    assert history(tmp_path).columns.get("learning_rate").values.tolist() == rates.seen
    assert len(set(rates.seen)) == STEPS


def test_a_loss_computed_outside_the_model_is_said_not_to_be_checked(
    tmp_path: Path, tokenizer: Any
) -> None:
    model, monitor = tiny.lora_model(), watch(tmp_path, None)
    trainer(tmp_path, tokenizer, model, monitor, label_smoothing_factor=0.1).train()
    found = snapshot(history(tmp_path))
    reasons = {each["rule"]: each["reason"] for each in found["not_checked"]}
    assert "outside the model" in reasons["loss-not-finite"]


def test_two_runs_named_by_the_clock_never_share_a_folder(tmp_path: Path, tokenizer: Any) -> None:
    for i in range(3):
        monitor = heldout.Monitor(None, runs=tmp_path / "runs")
        trainer(tmp_path / str(i), tokenizer, tiny.lora_model(), monitor, max_steps=1).train()
    assert len(list((tmp_path / "runs").iterdir())) == 3


def test_without_an_eval_set_the_rest_is_watched(tmp_path: Path, tokenizer: Any) -> None:
    trainer(tmp_path, tokenizer, tiny.lora_model(), watch(tmp_path, None)).train()
    found = history(tmp_path)
    assert found.evals == []
    assert len(found.columns.get("loss/step")) == STEPS
    silent = {v.rule for v in found.alerts.values() if v.state == "no-data"}
    assert {"plateau", "regression", "calibration-drift"} <= silent


def test_a_set_that_the_tokenizer_cannot_show_is_said_and_training_goes_on(
    tmp_path: Path, tokenizer: Any
) -> None:
    chat = {"messages": [*tiny.rows(1)[0]["messages"]] * 2}
    path = tiny.write_jsonl(tmp_path / "fixed_eval.jsonl", [chat])
    run = trainer(tmp_path, tokenizer, tiny.lora_model(), watch(tmp_path, path))
    run.processing_class = tiny.tokenizer(None)
    run.callback_handler.processing_class = run.processing_class
    run.train()
    assert run.state.global_step == STEPS
    assert "no chat template" in notes(tmp_path, "failure")[0]


def test_a_missing_eval_file_is_an_error_before_training(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.jsonl: cannot be read: No such file"):
        heldout.Monitor(tmp_path / "nowhere.jsonl")


def test_a_set_that_cannot_be_used_is_an_error_before_training(tmp_path: Path) -> None:
    texts = tiny.write_jsonl(tmp_path / "a.jsonl", [{"text": "All of it."}] * 3)
    pointer = tmp_path / "b.jsonl"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\n")
    for source, said in (
        (texts, r"a\.jsonl:1 and 2 more rows: its 'text' does not say where the answer begins"),
        (pointer, "git lfs pull"),
        (tiny.write_jsonl(tmp_path / "c.jsonl", ["broken"]), "c.jsonl:1: not JSON"),
        ([], "the rows given: no usable example. It is empty"),
        ([{"prompt": "?", "answr": "x"}], "row 1: 'response' is missing"),
        (7, "rows cannot be read from a int"),
    ):
        with pytest.raises(DataError, match=said):
            heldout.Monitor(source)


def test_a_journal_in_use_is_said_and_training_goes_on(
    tmp_path: Path, tokenizer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    busy = Journal(tmp_path / "runs" / "r" / "journal.jsonl")
    run = trainer(tmp_path, tokenizer, tiny.lora_model(), watch(tmp_path, None))
    with caplog.at_level(logging.ERROR, "heldout"):
        run.train()
    busy.close()
    assert run.state.global_step == STEPS
    assert "another process is writing this journal" in caplog.text


SIGNALS = load(heldout.signals.each, "SIGNAL")
HOOKS = (
    *("__init__", "begin", "forward", "collect", "before_update", "step", "records", "log"),
    *("missing", "state", "end"),
)
"""What a signal is asked for."""


def has(make: Any, hook: str) -> bool:
    return hook != "collect" or bool(make.width)


def fail(*args: Any) -> None:
    raise RuntimeError("broken on purpose")


def two_steps(run: Trainer, batch: dict[str, torch.Tensor], monitor: Any) -> None:
    """Two real steps of the Trainer's model, with the callback called as the Trainer calls it."""
    state, control, model = TrainerState(max_steps=2), TrainerControl(), run.model
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    given = {"model": model, "processing_class": run.processing_class, "optimizer": optimizer}

    def tell(event: str, **more: Any) -> None:
        getattr(monitor, f"on_{event}")(run.args, state, control, **given, **more)

    tell("train_begin")
    for state.global_step in (0, 1):
        tell("step_begin")
        loss = model(**batch).loss
        loss.backward()
        tell("pre_optimizer_step")
        optimizer.step()
        optimizer.zero_grad()
        state.global_step += 1
        tell("step_end")
        tell("log", logs={"loss": loss.item(), "grad_norm": 1.0, "learning_rate": 1e-2})
        (Path(run.args.output_dir) / f"checkpoint-{state.global_step}").mkdir(exist_ok=True)
        tell("save")
    tell("train_end")


def test_a_signal_that_fails_is_switched_off_and_nothing_reaches_the_trainer(
    tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every signal in every hook, each in a run of its own."""
    model = tiny.lora_model(layers=1, target_modules=["q_proj"])
    run, wrong = trainer(tmp_path, tokenizer, model), []
    run.model.train()
    batch = collate(list(run.eval_dataset))
    (tmp_path / "out").mkdir(exist_ok=True)
    for make in SIGNALS:
        for hook in filter(lambda hook: has(make, hook), HOOKS):
            name = make.__module__.rsplit(".", 1)[-1]
            folder = tmp_path / name / hook
            with monkeypatch.context() as broken:
                broken.setattr(make, hook, fail)
                two_steps(run, batch, watch(folder, None))
            failed = f"{name} failed: RuntimeError: broken on purpose"
            failures = [note.startswith(failed) for note in notes(folder, "failure")]
            steps = {r.step for r in journal(folder) if isinstance(r, Sample)}
            told = history(folder).alerts["watch-incomplete", "failure"].state
            assert_replay_equals_live(folder)
            if failures != [True] or steps != {1, 2} or told != "open":
                wrong.append((name, hook, failures, steps, told))
    assert wrong == []


def test_a_whole_training_is_bit_equal_when_every_signal_fails_each_in_another_hook(
    tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trajectories = []
    for watched in (False, True):
        seen, callbacks = Trajectory(), []
        if watched:
            for i, make in enumerate(SIGNALS):
                hooks = [hook for hook in HOOKS if has(make, hook)]
                monkeypatch.setattr(make, hooks[i % len(hooks)], fail)
            callbacks = [watch(tmp_path, None)]
        model = tiny.lora_model(lora_dropout=0.2)
        run = trainer(tmp_path / str(watched), tokenizer, model, seen, *callbacks)
        run.train()
        assert run.state.global_step == STEPS
        trajectories.append(seen.rows)
    assert trajectories[0] == trajectories[1]
    assert len(notes(tmp_path, "failure")) == len(SIGNALS)
    assert all("broken on purpose" in note for note in notes(tmp_path, "failure"))
    assert_replay_equals_live(tmp_path)


def test_an_evaluation_that_fails_is_noted_and_training_goes_on(
    tmp_path: Path, tokenizer: Any, eval_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr("heldout.watch.Evaluator.evaluate", fail)
    run = trainer(tmp_path, tokenizer, tiny.lora_model(), watch(tmp_path, eval_set))
    run.train()
    assert run.state.global_step == STEPS
    assert len(notes(tmp_path, "failure")) == 4
    assert not any(isinstance(r, EvalResult) for r in journal(tmp_path))


def test_a_full_disk_loses_rows_not_the_training_and_is_told_when_it_recovers(
    tmp_path: Path, tokenizer: Any, eval_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FillsUp(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            full = state.global_step in (2, 3)
            monkeypatch.setattr(Journal, "_write", refuse if full else write)

    write = Journal._write

    def refuse(self: Journal, records: Any) -> bool:
        return False

    run = trainer(tmp_path, tokenizer, tiny.lora_model(), watch(tmp_path, eval_set), FillsUp())
    run.train()
    assert run.state.global_step == STEPS
    assert len(notes(tmp_path, "lost")) == 1
    assert history(tmp_path).alerts["watch-incomplete", "lost"].level == "warning"
    assert_replay_equals_live(tmp_path)
    steps = {r.step for r in journal(tmp_path) if isinstance(r, Sample)}
    assert steps == {1, 2, 5, 6}


def test_a_verdict_that_the_disk_refuses_is_written_with_the_next_step(
    tmp_path: Path, tokenizer: Any, eval_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, refused = Journal._write, []

    def refuse_once(self: Journal, records: Any) -> bool:
        if any(isinstance(r, Verdict) and r.state == "open" for r in records) and not refused:
            refused.append(records)
            return False
        return write(self, records)

    monkeypatch.setattr(Journal, "_write", refuse_once)
    callbacks = [watch(tmp_path, eval_set), Poison(3)]
    trainer(tmp_path, tokenizer, tiny.lora_model(), *callbacks).train()
    assert len(refused) == 1
    assert history(tmp_path).alerts["loss-not-finite", ""].state == "open"
    assert notes(tmp_path, "lost") == []
    assert_replay_equals_live(tmp_path)


def test_a_resumed_run_continues_its_journal_and_its_curves(
    tmp_path: Path, tokenizer: Any, eval_set: Path
) -> None:
    whole = trainer(tmp_path / "w", tokenizer, tiny.lora_model(), watch(tmp_path / "w", eval_set))
    whole.train()

    class Stop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = state.global_step == 5

    first = trainer(tmp_path, tokenizer, tiny.lora_model(), watch(tmp_path, eval_set), Stop())
    first.train()
    again = trainer(tmp_path, tokenizer, tiny.lora_model(), watch(tmp_path, eval_set, run=None))
    again.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-4"))
    resumed, straight = history(tmp_path), history(tmp_path / "w")
    assert len(resumed.layers) == len(straight.layers) > 1
    assert resumed.columns.get("loss/step").steps.tolist() == [1, 2, 3, 4, 5, 6]
    assert [e.step for e in resumed.evals] == [0, 2, 4, 6]
    ours, whole_run = resumed.layers[-1].layers, straight.layers[-1].layers
    assert [x.delta_norm for x in ours] == pytest.approx([x.delta_norm for x in whole_run])
    for name in ("loss/step", "loss/streaming", "throughput/total_tokens"):
        expected = straight.columns.get(name).values.tolist()
        assert resumed.columns.get(name).values.tolist() == pytest.approx(expected, rel=1e-6)
    assert notes(tmp_path, "resume") == ["resumed at step 4"]
    assert_replay_equals_live(tmp_path)


class StopAtFour(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = state.global_step == 4


def resumed_elsewhere(tmp_path: Path, tokenizer: Any, place: Path, **more: Any) -> list[float]:
    """The tokens counted by a run of another folder that goes on from `place`, after a first run."""
    parts = [tiny.lora_model(), watch(tmp_path / "b", None)]
    again = trainer(tmp_path / "b", tokenizer, *parts, save_strategy="no", **more)
    again.train(resume_from_checkpoint=str(place))
    tokens: list[float] = history(tmp_path / "b").columns.get("throughput/total_tokens").values
    return list(tokens)


@pytest.mark.parametrize("moved", ["no", "told", "untold"])
def test_a_run_resumed_in_another_folder_goes_on_or_says_what_starts_anew(
    tmp_path: Path, tokenizer: Any, moved: str
) -> None:
    parts = [tiny.lora_model(), watch(tmp_path / "a", None), StopAtFour()]
    trainer(tmp_path / "a", tokenizer, *parts).train()
    counted = history(tmp_path / "a").columns.get("throughput/total_tokens").values
    place = tmp_path / "a" / "out" / "checkpoint-4"
    if moved != "no":
        place = place.rename(tmp_path / "kept")
    told = {"resume_from_checkpoint": str(place)} if moved == "told" else {}
    tokens = resumed_elsewhere(tmp_path, tokenizer, place, **told)
    said = notes(tmp_path / "b", "resume")
    assert said[0] == "resumed at step 4"
    if moved == "untold":
        assert tokens[0] < counted[-1]
        assert "resume_from_checkpoint=PATH" in said[1]
    else:
        assert tokens[0] > counted[-1]
        assert len(said) == 1


@pytest.mark.parametrize("kept", ['{"signals": null}', '{"run": 5, "signals": []}', "[", "[]"])
def test_a_spoilt_state_beside_a_checkpoint_loses_curves_not_the_watch(
    tmp_path: Path, tokenizer: Any, kept: str
) -> None:
    parts = [tiny.lora_model(), watch(tmp_path, None), StopAtFour()]
    trainer(tmp_path, tokenizer, *parts).train()
    path = tmp_path / "out" / "checkpoint-4" / "heldout.json"
    path.write_text(kept)
    again = trainer(tmp_path, tokenizer, tiny.lora_model(), watch(tmp_path, None))
    again.train(resume_from_checkpoint=True)
    assert history(tmp_path).columns.get("loss/step").steps.tolist() == [1, 2, 3, 4, 5, 6]
    assert [text for text in notes(tmp_path, "resume") if str(path) in text]
    assert notes(tmp_path, "failure") == []


class Predicting(TrainerCallback):
    """Predicts after the second step; the steps behind it take their time."""

    def __init__(self) -> None:
        self.trainer: Any = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 2:
            self.trainer.predict(self.trainer.eval_dataset)
        elif state.global_step > 2:
            time.sleep(0.02)


def test_a_prediction_during_training_is_over_when_it_ends(tmp_path: Path, tokenizer: Any) -> None:
    predicting = Predicting()
    parts = [tiny.lora_model(), watch(tmp_path, None), predicting]
    predicting.trainer = trainer(tmp_path, tokenizer, *parts)
    predicting.trainer.train()
    assert history(tmp_path).columns.get("time/evaluation").steps.tolist() == [3]


def test_sharded_weights_are_known_by_their_wrapper_or_by_how_they_were_launched(
    tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullyShardedDataParallel(torch.nn.Module):
        def __init__(self, module: torch.nn.Module) -> None:
            super().__init__()
            self.module = module

    model = tiny.model()
    args = trainer(tmp_path, tokenizer, model).args
    assert not _is_sharded(args, model)
    assert _is_sharded(args, FullyShardedDataParallel(model))
    monkeypatch.setattr(args.distributed_state, "distributed_type", DistributedType.FSDP)
    assert _is_sharded(args, model)


def test_only_the_main_process_records(tmp_path: Path, tokenizer: Any, eval_set: Path) -> None:
    monitor = watch(tmp_path, eval_set)
    run = trainer(tmp_path, tokenizer, tiny.lora_model(), monitor)
    run.state.is_world_process_zero = False
    monitor.on_train_begin(run.args, run.state, run.control, model=run.model)
    assert monitor.watch is None
    assert not (tmp_path / "runs").exists()


def test_checkpoints_are_recorded_only_where_the_trainer_saved_them(
    tmp_path: Path, tokenizer: Any, eval_set: Path
) -> None:
    run = trainer(
        tmp_path, tokenizer, tiny.lora_model(), watch(tmp_path, eval_set), save_strategy="no"
    )
    run.train()
    assert not any(isinstance(r, Checkpoint) for r in journal(tmp_path))
    assert snapshot(history(tmp_path))["fixed_eval"]["best_ckpt"] is None


def test_what_the_best_checkpoint_is_told_by_is_recorded(tmp_path: Path) -> None:
    known = {"metric_for_best_model": "wer", "greater_is_better": False}
    assert _best_by(TrainingArguments(output_dir=str(tmp_path), **known)) == known
    assumed = _best_by(TrainingArguments(output_dir=str(tmp_path), metric_for_best_model="wer"))
    assert (
        assumed["greater_is_better"] is True
    )  # the Trainer's own assumption, which is judged as one
    assert _best_by(TrainingArguments(output_dir=str(tmp_path))) == {}
    state = tmp_path / "out" / "checkpoint-3" / "trainer_state.json"
    state.parent.mkdir(parents=True)
    for given in (known, {"metric_for_best_model": "wer"}, {}):
        args = TrainingArguments(output_dir="wer", **given)  # a text that is there twice
        torch.save(args, state.parent / "training_args.bin")
        assert best_by(state) == _best_by(args)
        assert best_by(tmp_path / "out" / "trainer_state.json") == _best_by(args)
    (state.parent / "training_args.bin").write_bytes(b"no archive")
    assert best_by(state) == {}
