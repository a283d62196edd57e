"""One real fine-tuning under `heldout.Monitor`, in parts that a fault can change before it starts."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from rows import Encoded, Row, encode, write
from subjects import Subject
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.trainer_callback import ProgressCallback

import heldout
from heldout.evals.rows import read_rows

JOURNAL = "journal.jsonl"
STATE = "trainer_state.json"
TRUTH = "truth.json"
IGNORED = -100
"""The label of a token that is not trained."""

Batch = dict[str, torch.Tensor]


@dataclass(slots=True, kw_only=True)
class Setup:
    """Everything a training is made of. A fault changes it before the training begins.

    `batches` are changes to the batch of step n (1-based), as a broken loader would make them, and
    `pauses` the seconds it takes longer; `callbacks` act on the running Trainer. `arguments` are the
    Trainer's own.
    """

    subject: Subject
    seed: int
    model: Any
    train: list[Row]
    eval: list[Row]
    encode: Callable[[Row], Encoded]
    arguments: dict[str, Any]
    batches: list[Callable[[int, Batch], None]] = field(default_factory=list)
    pauses: list[Callable[[int], float]] = field(default_factory=list)
    callbacks: list[TrainerCallback] = field(default_factory=list)
    resume: tuple[int, Callable[[Path], None]] | None = None
    """Stop after that step, change its checkpoint, and go on from there."""

    @property
    def chance(self) -> random.Random:
        """Random numbers of this seed, from their start."""
        return random.Random(self.seed)

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return int(self.arguments["max_steps"])

    def at(self, step: int, act: Callable[..., None]) -> None:
        """Call `act` with what the Trainer gives its callbacks, right before `step`."""
        self.callbacks.append(At(step, act))


class At(TrainerCallback):
    """Does one thing before one step, once."""

    def __init__(self, step: int, act: Callable[..., None]) -> None:
        self.step, self.act, self.done = step, act, False

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self.done and state.global_step + 1 >= self.step:
            self.done = True
            self.act(**kwargs)


class StopAt(TrainerCallback):
    """Ends a training as a killed job would, behind a saved checkpoint."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            control.should_save = control.should_training_stop = True


class Loop(Trainer):
    """The Trainer, with what `setup` changes in its batches and its pace."""

    def __init__(self, setup: Setup, **given: Any) -> None:
        super().__init__(**given)
        self.setup = setup

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        step = self.state.global_step + 1
        for pause in self.setup.pauses:
            time.sleep(pause(step))
        return super().get_batch_samples(*args, **kwargs)

    def training_step(
        self, model: Any, inputs: Batch, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        for change in self.setup.batches:
            change(self.state.global_step + 1, inputs)
        trained = (inputs["labels"] != IGNORED).sum()
        return super().training_step(model, inputs, trained)


def padded(rows: Sequence[Encoded], pad: int) -> Batch:
    """Rows as tensors of one length; labels are padded with -100."""
    width = max(len(row["input_ids"]) for row in rows)
    pads = {"input_ids": pad, "attention_mask": 0, "labels": IGNORED}
    return {
        key: torch.tensor([list(row[key]) + [fill] * (width - len(row[key])) for row in rows])
        for key, fill in pads.items()
    }


def healthy(subject: Subject, seed: int) -> Setup:
    """The parts of a training with nothing wrong."""
    return Setup(
        subject=subject,
        seed=seed,
        model=subject.fresh(),
        train=subject.train(seed),
        eval=list(subject.eval),
        encode=partial(encode, subject.tokenizer),
        arguments={**subject.arguments, "seed": seed},
    )


def run(setup: Setup, folder: Path) -> Path:
    """Train as `setup` says; returns the folder with journal, trainer_state.json and data."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write(folder / "train.jsonl", setup.train)
    write(folder / "eval.jsonl", setup.eval)
    encoded = [setup.encode(row) for row in setup.train]
    set_seed(setup.seed)
    model = get_peft_model(setup.model, LoraConfig(**setup.subject.lora))
    if setup.resume is None:
        _train(setup, model, encoded, folder, 0, [])
    else:
        stop, change = setup.resume
        _train(setup, model, encoded, folder, 0, [StopAt(stop)])
        change(folder / "checkpoints" / f"checkpoint-{stop}")
        _train(setup, model, encoded, folder, stop, [])
    shutil.rmtree(folder / "checkpoints")
    return folder


def _train(
    setup: Setup,
    model: Any,
    encoded: list[Encoded],
    folder: Path,
    start: int,
    callbacks: list[TrainerCallback],
) -> None:
    rows, _ = read_rows(folder / "train.jsonl")
    monitor = heldout.Monitor(
        folder / "eval.jsonl",
        every=setup.subject.every,
        margin=setup.subject.margin,
        runs=folder.parent,
        run=folder.name,
        model=setup.subject.name,
        train_rows=rows,
        train_patterns={p: sum(r.pattern == p for r in rows) for p in setup.subject.patterns},
    )
    output = folder / "checkpoints"
    trainer = Loop(
        setup,
        model=model,
        args=TrainingArguments(output_dir=str(output), **setup.arguments),
        train_dataset=Dataset.from_list(encoded),
        eval_dataset=Dataset.from_list([_held_out(setup.subject, row) for row in setup.eval]),
        data_collator=partial(padded, pad=setup.subject.tokenizer.pad_token_id),
        processing_class=setup.subject.tokenizer,
        callbacks=[*setup.callbacks, *callbacks, monitor],
    )
    for printer in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(printer)
    trainer.train(resume_from_checkpoint=str(output / f"checkpoint-{start}") if start else None)
    trainer.state.save_to_json(str(folder / STATE))


def _held_out(subject: Subject, row: Row) -> Encoded:
    """A row as the Trainer's own evaluation takes it; without an answer it has no label."""
    made = encode(subject.tokenizer, row)
    answer = row["messages"][-1]["content"]
    return made if answer else {**made, "labels": [IGNORED] * len(made["labels"])}
