"""What `heldout.Monitor` promises of each version of transformers, peft and trl that it works with.

Needs no more than the light install, torch, transformers and peft, so that it runs in old environments
too: `make test-versions`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor
from transformers import Trainer, TrainerCallback, TrainingArguments

import heldout
from heldout.derive.history import History
from heldout.records import Note, Verdict
from heldout.store.journal import read
from heldout.verdicts.judge import judge

STEPS, MICRO_BATCHES = 4, 2
SETTINGS = {
    "max_steps": STEPS,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": MICRO_BATCHES,
    "learning_rate": 1e-2,
    "logging_steps": 1,
    "save_steps": 2,
    "report_to": "none",
    "disable_tqdm": True,
    "use_cpu": True,
    "seed": 3,
}
NO_PEAK = "no model FLOPs utilisation (MFU): no peak FLOP/s is known of cpu"
CHECKPOINTING = {"activation_checkpointing", "gradient_checkpointing"}
"""The newer and the older name of one argument."""
SIGNALS = {"loss/step", "loss/streaming", "entropy/train", "throughput/label_tokens", "grad/norm"}


class Truth(TrainerCallback):
    """Keeps each micro-batch and the weights it was trained with, to compute its loss again by hand."""

    def __init__(self, collate: Callable[[Any], Any]) -> None:
        self.collate = collate
        self.batches: list[dict[str, Tensor]] = []
        self.weights: list[dict[str, Tensor]] = []

    def __call__(self, rows: Any) -> dict[str, Tensor]:
        batch = dict(self.collate(rows))
        self.batches.append(batch)
        return batch

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.batches.clear()  # the monitor has looked at the data

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        trained = {
            n: p.detach().clone() for n, p in kwargs["model"].named_parameters() if p.requires_grad
        }
        self.weights.append(trained)

    def losses(self, model: Any) -> list[float]:
        """Cross-entropy per label token of each step."""
        found = []
        for i, weights in enumerate(self.weights):
            model.load_state_dict(weights, strict=False)
            step = self.batches[MICRO_BATCHES * i : MICRO_BATCHES * (i + 1)]
            parts = [_cross_entropies(model, batch) for batch in step]
            found.append(torch.cat(parts).double().mean().item())
        return found


def _cross_entropies(model: Any, batch: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        logits = model(
            input_ids=batch["input_ids"], attention_mask=batch.get("attention_mask")
        ).logits
    labels = batch["labels"][:, 1:]
    is_label = labels != -100
    return torch.nn.functional.cross_entropy(
        logits[:, :-1][is_label], labels[is_label], reduction="none"
    )


def settings(kind: type, folder: Path) -> Any:
    """Arguments of a Trainer, with activations computed twice under whichever name it has."""
    twice = CHECKPOINTING & {field.name for field in dataclasses.fields(kind)}
    return kind(output_dir=str(folder / "out"), **SETTINGS, **{max(twice, key=len): True})


def encoded(tokenizer: Any) -> list[dict[str, list[int]]]:
    found = []
    for row in tiny.rows(24):
        texts = [
            tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=asks)
            for turns, asks in ((row["messages"][:-1], True), (row["messages"], False))
        ]
        prompt, whole = (tokenizer(text)["input_ids"] for text in texts)
        found.append({"input_ids": whole, "labels": [-100] * len(prompt) + whole[len(prompt) :]})
    return found


def collate(rows: list[dict[str, list[int]]]) -> dict[str, Tensor]:
    width = max(len(row["input_ids"]) for row in rows)
    pads = {"input_ids": 0, "labels": -100}
    batch = {
        key: torch.tensor([row[key] + [pad] * (width - len(row[key])) for row in rows])
        for key, pad in pads.items()
    }
    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    return {**batch, "attention_mask": (torch.arange(width) < lengths[:, None]).long()}


def plain_trainer(folder: Path, tokenizer: Any, monitor: Any) -> Any:
    model = tiny.lora_model()
    model.enable_input_require_grads()  # which older versions need to compute activations twice
    return Trainer(
        model=model,
        args=settings(TrainingArguments, folder),
        train_dataset=encoded(tokenizer),
        data_collator=collate,
        processing_class=tokenizer,
        callbacks=[monitor],
    )


def sft_trainer(folder: Path, tokenizer: Any, monitor: Any) -> Any:
    trl = pytest.importorskip("trl")
    from datasets import Dataset

    rows = [row["messages"] for row in tiny.rows(24)]
    pairs = {"prompt": [r[:-1] for r in rows], "completion": [r[-1:] for r in rows]}
    return trl.SFTTrainer(
        model=tiny.lora_model(),
        args=settings(trl.SFTConfig, folder),
        train_dataset=Dataset.from_dict(pairs),
        processing_class=tokenizer,
        callbacks=[monitor],
    )


@pytest.mark.train
@pytest.mark.parametrize("make", [plain_trainer, sft_trainer])
def test_a_lora_run_is_watched_whole(make: Callable[..., Any], tmp_path: Path) -> None:
    tokenizer = tiny.tokenizer()
    eval_set = tiny.write_jsonl(tmp_path / "fixed_eval.jsonl", tiny.rows(40)[28:])
    monitor = heldout.Monitor(eval_set, every=2, runs=tmp_path / "runs", run="r")
    trainer = make(tmp_path, tokenizer, monitor)
    trainer.data_collator = truth = Truth(trainer.data_collator)
    trainer.add_callback(truth)
    trainer.train()

    records = read(tmp_path / "runs" / "r" / "journal.jsonl")[0]
    found = History()
    for record in records:
        found.add(record)
    assert set(found.columns.series) >= SIGNALS
    assert found.columns.get("loss/step").values.tolist() == pytest.approx(
        truth.losses(trainer.model), rel=1e-5
    )
    assert [result.step for result in found.evals] == [0, 2, 4]
    assert found.evals[0].rechecked == 12
    assert found.evals[0].mismatched == []
    assert [saved.path for saved in found.checkpoints] == ["checkpoint-2", "checkpoint-4"]
    assert [layer.layer for layer in found.layers[-1].layers] == [0, 1, 2]
    assert all(layer.delta_norm > 0 for layer in found.layers[-1].layers)
    assert found.data is not None
    assert found.data.looked_at == 24
    assert found.data.remarks == []
    told = [(note.topic, note.text) for note in records if isinstance(note, Note)]
    assert told == [("signal", NO_PEAK), ("finished", "")]
    facts = [record for record in records if not isinstance(record, Verdict)]
    rules = {verdict.rule for verdict in judge(facts) if isinstance(verdict, Verdict)}
    assert "watch-incomplete" not in rules
