"""The numbers of real training steps against what the model computed in them."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import Trainer, TrainerCallback, TrainingArguments
from watched import collate, encoded

import heldout
from heldout.derive.history import History
from heldout.errors import ConfigError
from heldout.records import Note, Sample
from heldout.signals.moment import SignalOptions
from heldout.store.journal import Journal, read

STEPS = 12


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tiny.tokenizer()


def run(
    folder: Path, tokenizer: Any, model: Any = None, *callbacks: TrainerCallback, **more: Any
) -> tuple[Trainer, History]:
    """Train; `signals` are those of the monitor, if there is one; the rest the Trainer's arguments."""
    signals = more.pop("signals", SignalOptions())
    monitored, eval_rows = more.pop("monitored", True), more.pop("eval_rows", None)
    monitor = heldout.Monitor(runs=folder / "runs", run="r", signals=signals)
    arguments = {
        "output_dir": str(folder / "out"),
        "max_steps": STEPS,
        "per_device_train_batch_size": 2,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
    }
    trainer = Trainer(
        model=model or tiny.lora_model(),
        args=TrainingArguments(**{**arguments, **more}),
        train_dataset=encoded(tokenizer, 32),
        eval_dataset=eval_rows,
        data_collator=collate,
        processing_class=tokenizer,
        callbacks=[*([monitor] if monitored else []), *callbacks],
    )
    trainer.train(resume_from_checkpoint=any((folder / "out").glob("checkpoint-*")))
    path = folder / "runs" / "r" / "journal.jsonl"
    return trainer, History.of(read(path)[0] if monitored else [])


def heard(model: Any) -> list[tuple[float, int]]:
    """Each micro-batch's summed cross-entropy in float64 and its label tokens."""
    found: list[tuple[float, int]] = []

    def hear(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        labels = kwargs["labels"][:, 1:].flatten()
        logits = output.logits.detach().double()[:, :-1].flatten(0, 1)
        total = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
        found.append((total.item(), int((labels != -100).sum())))

    model.get_base_model().register_forward_hook(hear, with_kwargs=True)
    return found


@pytest.mark.parametrize("micro_batches", [1, 4])
def test_step_and_streaming_loss_are_those_of_all_label_tokens(
    tmp_path: Path, tokenizer: Any, micro_batches: int
) -> None:
    model = tiny.lora_model()
    parts = heard(model)
    _, found = run(
        tmp_path,
        tokenizer,
        model,
        gradient_accumulation_steps=micro_batches,
        signals=SignalOptions(window=5),
    )
    weight = mass = 0.0
    for step in range(STEPS):
        some = parts[step * micro_batches :][:micro_batches]
        loss, tokens = sum(x for x, _ in some), sum(n for _, n in some)
        assert found.columns.get("loss/step").values[step] == pytest.approx(loss / tokens, rel=1e-5)
        mass, weight = mass * 2 / 3 + loss / 3, weight * 2 / 3 + tokens / 3
        assert found.columns.get("loss/streaming").values[step] == pytest.approx(
            mass / weight, rel=1e-5
        )


def test_what_the_trainer_reports_is_recorded_to_the_last_digit(
    tmp_path: Path, tokenizer: Any
) -> None:
    trainer, found = run(tmp_path, tokenizer, logging_steps=3, eval_strategy="no")
    names = {"loss": "loss/logged", "grad_norm": "grad/norm", "epoch": "epoch"}
    names["learning_rate"] = "learning_rate/logged"
    logged = [row for row in trainer.state.log_history if "loss" in row]
    assert len(logged) == STEPS / 3
    for theirs, ours in names.items():
        series = found.columns.get(ours)
        by_step = dict(zip(series.steps.tolist(), series.values.tolist(), strict=True))
        for row in logged:
            assert by_step[row["step"]] == row[theirs]


def test_numbers_that_come_to_the_host_together_are_the_same(
    tmp_path: Path, tokenizer: Any
) -> None:
    _, one = run(tmp_path / "one", tokenizer, logging_steps=100)
    _, five = run(tmp_path / "five", tokenizer, logging_steps=100, signals=SignalOptions(every=5))
    for name in ("loss/step", "loss/streaming", "entropy/train", "throughput/total_tokens"):
        assert len(one.columns.get(name)) == STEPS
        assert one.columns.get(name).steps.tolist() == five.columns.get(name).steps.tolist()
        assert one.columns.get(name).values.tolist() == five.columns.get(name).values.tolist()


def test_a_logged_or_saved_step_is_recorded_with_those_kept_before_it(
    tmp_path: Path, tokenizer: Any
) -> None:
    run(tmp_path, tokenizer, logging_steps=4, save_steps=7, signals=SignalOptions(every=100))
    records = read(tmp_path / "runs" / "r" / "journal.jsonl")[0]
    steps = [r.step for r in records if isinstance(r, Sample) and "loss/step" in r.values]
    assert steps == list(range(1, STEPS + 1))
    order = [r.step for r in records if isinstance(r, Sample)]
    assert order == sorted(order)


def samples_at_each_line(folder: Path) -> dict[int, list[set[str]]]:
    """The names in each sample of the journal, by step."""
    found: dict[int, list[set[str]]] = {}
    for record in read(folder / "runs" / "r" / "journal.jsonl")[0]:
        if isinstance(record, Sample):
            found.setdefault(record.step, []).append(set(record.values))
    return found


@pytest.mark.parametrize("every", [1, 3])
def test_a_step_that_is_logged_is_one_record(tmp_path: Path, tokenizer: Any, every: int) -> None:
    options = SignalOptions(every=every)
    run(tmp_path, tokenizer, tiny.model(), logging_steps=5, signals=options)
    steps = samples_at_each_line(tmp_path)
    assert sorted(steps) == list(range(1, STEPS + 1))
    for step in (5, 10):  # after step 10 the weights are read, which comes before the log
        assert {"loss/step", "loss/logged", "grad/norm"} <= set().union(*steps[step])
    assert len(steps[5]) == 1
    assert "loss/logged" not in steps[6][0]


def test_a_step_whose_log_does_not_come_is_in_the_journal_before_the_next_one(
    tmp_path: Path, tokenizer: Any
) -> None:
    path = tmp_path / "runs" / "r" / "journal.jsonl"
    seen: list[int] = []

    class Tracker(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_log = False  # after the monitor was told that a log comes

        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            written = [r.step for r in read(path)[0] if isinstance(r, Sample)]
            seen.append(max(written, default=0))

    run(tmp_path, tokenizer, None, Tracker())
    assert seen == list(range(STEPS))
    steps = samples_at_each_line(tmp_path)
    assert all("loss/step" in steps[step][0] for step in range(1, STEPS + 1))
    assert not any("loss/logged" in names for each in steps.values() for names in each)


def test_a_process_that_ends_before_the_log_leaves_the_step_behind(
    tmp_path: Path, tokenizer: Any
) -> None:
    class Broken(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 4:
                raise KeyboardInterrupt

    monitor = heldout.Monitor(runs=tmp_path / "runs", run="r")
    trainer = Trainer(
        model=tiny.lora_model(),
        args=TrainingArguments(
            output_dir=str(tmp_path / "out"),
            max_steps=STEPS,
            per_device_train_batch_size=2,
            logging_steps=2,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        ),
        train_dataset=encoded(tokenizer, 32),
        data_collator=collate,
        processing_class=tokenizer,
        callbacks=[monitor, Broken()],
    )
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    monitor.close(trainer.state.global_step, failure="stopped")
    assert "loss/step" in samples_at_each_line(tmp_path)[4][0]
    records = read(tmp_path / "runs" / "r" / "journal.jsonl")[0]
    told = [(type(r), r.step) for r in records if isinstance(r, Note | Sample)]
    assert told[-2:] == [(Sample, 4), (Note, 4)]


@pytest.mark.parametrize("more", [{}, {"bf16": True}, {"gradient_accumulation_steps": 2}])
def test_weights_are_bit_equal_past_every_signals_sampling(
    tmp_path: Path, tokenizer: Any, more: dict[str, Any]
) -> None:
    """Gradients are sampled and factors copied every ten steps, weights looked at, layers read."""
    watched = tiny.lora_model(init_lora_weights="pissa")
    _, found = run(tmp_path / "watched", tokenizer, watched, max_steps=22, **more)
    assert [reading.step for reading in found.layers] == [1, 10, 20, 22]
    assert found.layers[-1].layers[0].grad
    alone = tiny.lora_model(init_lora_weights="pissa")
    run(tmp_path / "alone", tokenizer, alone, max_steps=22, monitored=False, **more)
    weights = zip(watched.parameters(), alone.parameters(), strict=True)
    assert all(torch.equal(mine, other) for mine, other in weights)


class Waits(TorchDispatchMode):
    """Notes every operation that would make the host wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        waits = any(
            part in name for part in ("_local_scalar_dense", "aten.nonzero", "masked_select")
        )
        if name == "aten.index.Tensor":  # by a mask: its size is not known before it is read
            waits = any(x is not None and x.dtype == torch.bool for x in args[1])
        if waits:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The waiting operations inside the monitor's hooks, by hook and step."""
    found: list[tuple[str, int]] = []
    inside: list[Waits] = []
    for copies in ("cpu", "numpy", "tolist"):  # of a tensor on the host they dispatch nothing
        own = getattr(torch.Tensor, copies)

        def heard(self: Any, *args: Any, copies: str = copies, own: Any = own, **kw: Any) -> Any:
            for mode in inside:
                mode.found.append(copies)
            return own(self, *args, **kw)

        monkeypatch.setattr(torch.Tensor, copies, heard)
    for hook in ("_forward", "on_step_begin", "on_pre_optimizer_step", "on_step_end"):
        own = getattr(heldout.Monitor, hook)

        def listened(self: Any, *args: Any, hook: str = hook, own: Any = own, **kw: Any) -> Any:
            with Waits() as mode:
                inside.append(mode)
                result = own(self, *args, **kw)
                inside.pop()
            step = getattr(args[1], "global_step", 0) if hook != "_forward" else 0
            found.extend((hook, step) for _ in mode.found)
            return result

        monkeypatch.setattr(heldout.Monitor, hook, listened)
    return found


def test_steps_between_recordings_wait_for_nothing(
    tmp_path: Path,
    tokenizer: Any,
    waits: list[tuple[str, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("heldout.signals.moment.is_at_hand", lambda tensor: False)
    run(tmp_path, tokenizer, logging_steps=100, signals=SignalOptions(every=6))
    reading = {("on_step_end", 1), ("on_step_end", 10), ("on_pre_optimizer_step", 9)}
    recording = {("on_step_end", 6), ("on_step_end", 12)}
    assert recording <= set(waits) <= recording | reading


def test_a_resumed_run_continues_the_same_curves(tmp_path: Path, tokenizer: Any) -> None:
    _, whole = run(tmp_path / "whole", tokenizer)

    class Stop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = state.global_step == 6

    run(tmp_path / "halves", tokenizer, None, Stop(), save_steps=6)
    _, halves = run(tmp_path / "halves", tokenizer, save_steps=6)
    for name in ("loss/streaming", "throughput/total_tokens"):
        both = (whole.columns.get(name).values, halves.columns.get(name).values)
        assert both[1].tolist() == pytest.approx(both[0].tolist(), rel=1e-6)


def test_a_loss_that_the_trainer_computes_itself_is_said_to_be_missing(
    tmp_path: Path, tokenizer: Any
) -> None:
    _, found = run(tmp_path, tokenizer, label_smoothing_factor=0.1)
    said = [note.text for note in found.notes if note.topic == "signal"]
    assert any(text.startswith("no streaming CE") for text in said)
    assert len(found.columns.get("loss/logged")) == STEPS


@pytest.mark.parametrize("options", [{"window": 0}, {"every": 0}, {"every": math.nan}])
def test_options_below_one_step_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"signals\.{next(iter(options))} must be at least 1"):
        SignalOptions(**options)


def test_the_trainers_own_evaluation_is_no_part_of_a_step(tmp_path: Path, tokenizer: Any) -> None:
    model = tiny.lora_model()

    def slow(module: Any, *args: Any) -> None:
        if not module.training:
            time.sleep(0.1)

    model.get_base_model().register_forward_pre_hook(slow)
    rows = encoded(tokenizer, 8)
    _, found = run(tmp_path, tokenizer, model, eval_strategy="steps", eval_steps=4, eval_rows=rows)
    evaluation, other = (found.columns.get(f"time/{name}") for name in ("evaluation", "other"))
    assert evaluation.steps.tolist() == [5, 9]
    assert (evaluation.values >= 0.1).all()
    assert other.values.max() < evaluation.values.min()


def test_a_pass_without_gradients_in_training_is_not_counted(
    tmp_path: Path, tokenizer: Any
) -> None:
    """A reference model's pass, as in DPO, or a generation, as in GRPO."""

    class Reference(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            ids = torch.ones(2, 50, dtype=torch.long)
            with torch.no_grad():
                kwargs["model"](input_ids=ids, attention_mask=ids, labels=ids)

    _, alone = run(tmp_path / "alone", tokenizer)
    _, found = run(tmp_path / "beside", tokenizer, None, Reference())
    for name in ("loss/step", "throughput/tokens_per_step"):
        assert found.columns.get(name).values.tolist() == alone.columns.get(name).values.tolist()


def test_a_run_that_is_stopped_after_a_step_is_read_at_that_step(
    tmp_path: Path, tokenizer: Any
) -> None:
    class Stop(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop |= state.global_step == 7

    _, found = run(tmp_path, tokenizer, None, Stop(), signals=SignalOptions(every=5))
    assert [reading.step for reading in found.layers] == [1, 7]
    assert found.columns.get("loss/step").steps.tolist() == list(range(1, 8))


def test_a_monitor_that_fails_closes_its_journal_and_says_so(
    tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr("heldout.watch.Watch.before_update", fail)
    trainer, found = run(tmp_path, tokenizer)
    assert trainer.state.global_step == STEPS
    assert [note.text for note in found.notes] == ["heldout failed and watches this run no more"]
    Journal(tmp_path / "runs" / "r" / "journal.jsonl").close()
