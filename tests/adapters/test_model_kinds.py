"""Real Trainer runs of models that are no language models: what is watched, and what is said of the rest."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from datasets import Dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    DataCollatorForSeq2Seq,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
    TrainingArguments,
)
from trl import RewardConfig, RewardTrainer

import heldout
from heldout.derive.history import History
from heldout.store.journal import read
from heldout.views.report.text import verdict_lines

STEPS = 4
SETTINGS = {
    "max_steps": STEPS,
    "per_device_train_batch_size": 4,
    "lr_scheduler_type": "constant",
    "logging_steps": 1,
    "report_to": "none",
    "disable_tqdm": True,
    "use_cpu": True,
}


def classes(folder: Path, tokenizer: Any, monitor: Any) -> Any:
    rows = [{**tokenizer(f"Is {i} even?"), "labels": i % 2} for i in range(16)]
    return Trainer(
        model=AutoModelForSequenceClassification.from_config(tiny.config(num_labels=2)),
        args=TrainingArguments(output_dir=str(folder), **SETTINGS),
        train_dataset=Dataset.from_list(rows),
        data_collator=DataCollatorWithPadding(tokenizer),
        processing_class=tokenizer,
        callbacks=[monitor],
    )


def tags(folder: Path, tokenizer: Any, monitor: Any) -> Any:
    rows = [tokenizer(f"Is {i} even?") for i in range(16)]
    rows = [{**row, "labels": [id % 3 for id in row["input_ids"]]} for row in rows]
    return Trainer(
        model=AutoModelForTokenClassification.from_config(tiny.config(num_labels=3)),
        args=TrainingArguments(output_dir=str(folder), **SETTINGS),
        train_dataset=Dataset.from_list(rows),
        data_collator=DataCollatorForTokenClassification(tokenizer),
        processing_class=tokenizer,
        callbacks=[monitor],
    )


def answers(folder: Path, tokenizer: Any, monitor: Any) -> Any:
    sizes = {"d_model": 16, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    model = T5ForConditionalGeneration(T5Config(vocab_size=400, decoder_start_token_id=0, **sizes))
    rows = [
        {**tokenizer(f"{i} + 1"), "labels": tokenizer(f"{i + 1}<|im_end|>")["input_ids"]}
        for i in range(16)
    ]
    return Seq2SeqTrainer(
        model=model,
        args=Seq2SeqTrainingArguments(output_dir=str(folder), **SETTINGS),
        train_dataset=Dataset.from_list(rows),
        data_collator=DataCollatorForSeq2Seq(tokenizer, model),
        processing_class=tokenizer,
        callbacks=[monitor],
    )


def rewards(folder: Path, tokenizer: Any, monitor: Any) -> Any:
    rows = [{"chosen": f"{i} is a number", "rejected": f"{i} is a dog"} for i in range(16)]
    return RewardTrainer(
        model=AutoModelForSequenceClassification.from_config(tiny.config(num_labels=1)),
        args=RewardConfig(output_dir=str(folder), activation_checkpointing=False, **SETTINGS),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[monitor],
    )


def watched(make: Callable[..., Any], tmp_path: Path) -> tuple[Any, History]:
    """The trainer that ran, and what was recorded; the monitor was given a fixed set."""
    torch.manual_seed(0)
    eval_set = tiny.write_jsonl(tmp_path / "fixed_eval.jsonl", tiny.rows(20))
    monitor = heldout.Monitor(eval_set, every=2, runs=tmp_path / "runs", run="r")
    trainer = make(tmp_path / "out", tiny.tokenizer(), monitor)
    trainer.train()
    found = History()
    for record in read(tmp_path / "runs" / "r" / "journal.jsonl")[0]:
        found.add(record)
    return trainer, found


@pytest.mark.train
@pytest.mark.parametrize("make", [classes, tags, answers, rewards])
def test_one_sentence_says_what_is_watched_and_nothing_fails(
    make: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="heldout"):
        _, found = watched(make, tmp_path)
    topics = [note.topic for note in found.notes if note.topic != "signal"]
    assert topics == ["scope", "finished"]
    (scope,) = (note.text for note in found.notes if note.topic == "scope")
    told = [record.getMessage() for record in caplog.records if record.name == "heldout"]
    assert told == [f"heldout: {scope}"]
    assert found.evals == []
    assert f"EM: {scope}" in verdict_lines(found)
    assert found.data is not None
    assert not found.data.found
    assert found.data.remarks[0].startswith("the training set was not looked at: ")
    assert [v for v in found.verdicts if v.level != "info"] == []
    ours, logged = found.columns.get("loss/step"), found.columns.get("loss/logged")
    if make is rewards:  # the Trainer computes it outside the model
        assert not len(ours)
        assert len(logged) == STEPS
    else:
        assert ours.values.tolist() == pytest.approx(logged.values.tolist(), rel=1e-5)
    tokens = found.columns.get("throughput/label_tokens")
    assert len(tokens) == (STEPS if make is answers else 0)


@pytest.mark.train
def test_a_classifier_that_turns_nan_is_told_at_its_step(tmp_path: Path) -> None:
    def poisoned(*args: Any) -> Any:
        trainer = classes(*args)
        seen = 0

        def poison(module: Any, inputs: Any, output: Any) -> Any:
            nonlocal seen
            seen += module.training
            output.loss = output.loss * math.nan if seen == 3 else output.loss
            return output

        trainer.model.register_forward_hook(poison)
        return trainer

    _, found = watched(poisoned, tmp_path)
    opened = [v for v in found.verdicts if v.rule == "loss-not-finite" and v.state == "open"]
    assert [(v.step, v.level) for v in opened] == [(3, "critical")]
