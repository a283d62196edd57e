"""Every number that real trainers log is in the journal, and judged as it is from their own log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from datasets import Dataset
from transformers import (
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

import heldout
from heldout.derive.history import History
from heldout.store.foreign import open_any
from heldout.store.journal import read
from heldout.verdicts.judge import Judge

pytestmark = pytest.mark.train
STEPS = 6
OURS = "eval/entropy"
"""What the fixed set's own entropy is called; SFTTrainer logs another number by that name."""
BAD = [{"role": "assistant", "content": "I do not know."}]


class OwnMetric(TrainerCallback):
    """A user's callback that logs a number of its own, late in the run."""

    trainer: Any = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step in (3, 4):
            self.trainer.log({"my/metric": state.global_step / 2})


def common(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "output_dir": str(folder / "out"),
        "max_steps": STEPS,
        "per_device_train_batch_size": 4,
        "logging_steps": 2,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        **more,
    }


def saved_model(folder: Path, tokenizer: Any) -> str:
    tiny.model().save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return str(folder / "model")


def sft(folder: Path, tokenizer: Any, callbacks: list[Any]) -> Trainer:
    rows = Dataset.from_list(tiny.rows(16))
    evaluated = {"eval_strategy": "steps", "eval_steps": 2}
    args = SFTConfig(**common(folder, **evaluated))
    return SFTTrainer(
        model=tiny.model(),
        args=args,
        train_dataset=rows,
        eval_dataset=rows.select(range(4)),
        processing_class=tokenizer,
        callbacks=callbacks,
    )


def dpo(folder: Path, tokenizer: Any, callbacks: list[Any]) -> Trainer:
    rows = [(row["messages"][:-1], row["messages"][-1:]) for row in tiny.rows(16)]
    pairs = [{"prompt": asked, "chosen": good, "rejected": BAD} for asked, good in rows]
    return DPOTrainer(
        model=saved_model(folder, tokenizer),
        args=DPOConfig(**common(folder)),
        train_dataset=Dataset.from_list(pairs),
        processing_class=tokenizer,
        callbacks=callbacks,
    )


def grpo(folder: Path, tokenizer: Any, callbacks: list[Any]) -> Trainer:
    def length(completions: list[Any], **kwargs: Any) -> list[float]:
        return [float(len(completion[0]["content"]) % 5) for completion in completions]

    sizes = {"num_generations": 4, "max_completion_length": 4}
    return GRPOTrainer(
        model=saved_model(folder, tokenizer),
        args=GRPOConfig(**common(folder, **sizes)),
        reward_funcs=length,
        train_dataset=Dataset.from_list([{"prompt": r["messages"][:-1]} for r in tiny.rows(16)]),
        processing_class=tokenizer,
        callbacks=callbacks,
    )


def classification(folder: Path, tokenizer: Any, callbacks: list[Any]) -> Trainer:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(tiny.config(num_labels=2))
    texts = [row["messages"][0]["content"] for row in tiny.rows(16)]
    rows = [{**tokenizer(text), "labels": i % 2} for i, text in enumerate(texts)]
    return Trainer(
        model=model,
        args=TrainingArguments(**common(folder, eval_strategy="steps", eval_steps=2)),
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(rows[:4]),
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        compute_metrics=lambda said: {"accuracy": float(np.mean(said[0].argmax(-1) == said[1]))},
        callbacks=callbacks,
    )


def trained(make: Callable[..., Trainer], folder: Path, tokenizer: Any) -> tuple[History, History]:
    """The run as it was watched, and as its own log tells it."""
    own = OwnMetric()
    monitor = heldout.Monitor(runs=folder / "runs", run="r")
    trainer = own.trainer = make(folder, tokenizer, [monitor, own])
    trainer.train()
    trainer.state.save_to_json(str(folder / "trainer_state.json"))
    judge = Judge()
    for record in open_any(folder / "trainer_state.json"):
        judge.feed(record)
    return History.of(read(folder / "runs" / "r" / "journal.jsonl")[0]), judge.history


def values(history: History, name: str) -> dict[int, float]:
    series = history.columns.get(name)
    return dict(zip(map(int, series.steps), map(float, series.values), strict=True))


EXPECTED = {
    sft: {"eval/mean_token_accuracy", "loss/trainer_eval", "mean_token_accuracy"},
    dpo: {"rewards/margins", "rewards/accuracies", "logps/chosen"},
    grpo: {"reward", "reward_std", "completions/mean_length", "rewards/length/mean"},
    classification: {"eval/accuracy", "loss/trainer_eval"},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("make", list(EXPECTED))
def test_the_journal_holds_what_the_trainers_own_log_holds(
    make: Callable[..., Trainer], tmp_path: Path, tokenizer: Any
) -> None:
    live, offline = trained(make, tmp_path, tokenizer)
    assert EXPECTED[make] | {"my/metric"} <= set(live.columns.series)
    logged = set(offline.columns.series) - {"learning_rate", OURS}
    assert {n for n in logged if values(live, n).items() >= values(offline, n).items()} == logged
    assert values(live, "my/metric") == {3: 1.5, 4: 2.0}
    assert set(live.columns.series) <= set(live.metrics)
    assert all(live.metrics[name] == offline.metrics[name] for name in logged)
    assert values(live, f"{OURS}/logged") == values(offline, OURS)
    beside = {dpo, grpo}
    assert ("ce/step" in live.columns.series) == (make in beside)
    assert live.loss == ("loss/logged" if make in beside else "loss/step")
    ends = [
        (v.rule, v.state) for h in (live, offline) for v in h.alerts.values() if v.level != "info"
    ]
    assert ends == []
    assert live.decision is not None
    assert offline.decision is not None
    assert live.decision.action == offline.decision.action
    assert live.decision.checkpoint == offline.decision.checkpoint


@pytest.mark.filterwarnings("ignore")
def test_a_loss_that_another_one_replaces_is_no_training_loss(
    tmp_path: Path, tokenizer: Any
) -> None:
    """DFT weighs the very tokens that the model's own loss is a mean over."""

    def dft(folder: Path, tokenizer: Any, callbacks: list[Any]) -> Trainer:
        return SFTTrainer(
            model=tiny.model(),
            args=SFTConfig(**common(folder, loss_type="dft")),
            train_dataset=Dataset.from_list(tiny.rows(16)),
            processing_class=tokenizer,
            callbacks=callbacks,
        )

    live, _ = trained(dft, tmp_path, tokenizer)
    assert "loss/step" not in live.columns.series
    assert live.columns.get("ce/step").last > 10 * live.columns.get("loss/logged").last
    assert any("computed outside the model" in note.text for note in live.notes)
