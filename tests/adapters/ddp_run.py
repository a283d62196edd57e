"""A watched run for one of two processes.

HOW is "alone" (no monitor), "watched", or what goes wrong: "busy" (another process holds the journal),
"broken" (scoring fails in the second process), "short" (its memory runs out in large batches),
"gone" (the monitor of the main process fails at step 2), "late" (it fails after the last
evaluation), "away" (the second process's monitor fails at step 2), "together" (numbers are recorded
every third step), "together logged" (and the Trainer logs each), "accumulated" (two micro-batches a step),
"stops" (nothing is learned, and the decision may stop it),
"resumed" (from the last checkpoint, to step 6), "resumed busy". Each process writes the losses that the
Trainer logged and a sum over the trained weights, and what `listen` heard.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import tiny
import torch
from transformers import Trainer, TrainingArguments
from watched import collate, encoded

import heldout
from heldout.evals.score import Scorer
from heldout.signals.moment import SignalOptions
from heldout.store.journal import Journal
from heldout.watch import Follower, Watch


def spoil(how: str, folder: Path, rank: int, model: Any) -> object:
    """Make `how` happen; returns what must live as long as the run."""
    if how.endswith("busy") and rank == 0:
        return Journal(folder / "runs" / "r" / "journal.jsonl")
    if how == "broken" and rank == 1:
        Scorer.score = lambda *args: 1 / 0  # type: ignore[assignment, method-assign]
    if how == "gone" and rank == 0:
        Watch.step = lambda *args: 1 / 0  # type: ignore[assignment, method-assign]
    if how == "away" and rank == 1:
        own_step = Follower.step

        def step(self: Follower, step: int, *args: Any) -> None:
            if step == 2:
                raise ZeroDivisionError
            own_step(self, step, *args)

        Follower.step = step  # type: ignore[method-assign]
    if how == "late" and rank == 0:
        own = Watch.log

        def log(self: Watch, step: int, logs: Any) -> None:
            if "train_runtime" in logs:
                raise ZeroDivisionError
            own(self, step, logs)

        Watch.log = log  # type: ignore[method-assign]
    if how == "short" and rank == 1:

        def refuse(module: Any, args: Any, kwargs: Any) -> None:
            if not module.training and kwargs["input_ids"].numel() > 200:
                raise torch.OutOfMemoryError("CUDA out of memory.")

        model.register_forward_pre_hook(refuse, with_kwargs=True)
    return None


def listen(model: Any) -> list[list[float]]:
    """Each micro-batch's sum of cross-entropy over its label tokens, their number, and its tokens."""
    heard: list[list[float]] = []

    def hear(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        if module.training:
            labels = kwargs["labels"][:, 1:].flatten()
            logits = output.logits.detach().double()[:, :-1].flatten(0, 1)
            total = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
            counts = [(labels != -100).sum().item(), kwargs["attention_mask"].sum().item()]
            heard.append([total.item(), *counts])

    model.get_base_model().register_forward_hook(hear, with_kwargs=True)
    return heard


def main(folder: Path, how: str) -> None:
    tokenizer, model = tiny.tokenizer(), tiny.lora_model()
    arguments = TrainingArguments(
        output_dir=str(folder / "out"),
        max_steps={"resumed": 6, "resumed busy": 6, "stops": 12}.get(how, 4),
        per_device_train_batch_size=2,
        learning_rate=1e-9 if how == "stops" else 1e-2,
        lr_scheduler_type="constant" if how == "stops" else "linear",
        logging_steps=100 if how == "together" else 1,
        gradient_accumulation_steps=2 if how == "accumulated" else 1,
        save_steps=2,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        ddp_backend="gloo",
    )
    monitor = heldout.Monitor(
        folder / "fixed_eval.jsonl",
        every=4 if "together" in how else 2,
        runs=folder / "runs",
        run="r",
        tokenizer=tokenizer,
        may_stop=how == "stops",
        margin=0.5 if how == "stops" else 0.01,
        signals=SignalOptions(every=3 if "together" in how else 1),
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=encoded(tokenizer),
        data_collator=collate,
        processing_class=tokenizer,
        callbacks=[] if how == "alone" else [monitor],
    )
    held = spoil(how, folder, arguments.process_index, model)
    direct = listen(model)
    trainer.train(resume_from_checkpoint=how.startswith("resumed"))
    del held
    total = torch.ones(1)
    torch.distributed.all_reduce(total)  # what a script may do next: all must still be in step
    assert total.item() == 2
    weights = sum(float(p.detach().double().abs().sum()) for p in model.parameters())
    (folder / f"direct{arguments.process_index}.json").write_text(json.dumps(direct))
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    found = [losses, weights, trainer.state.global_step]
    (folder / f"rank{arguments.process_index}.json").write_text(json.dumps(found))
    sys.stderr.flush()
    # Not by returning, which frees the process group: gloo's destructor joins its threads while it holds
    # the lock that one of them needs to free a tensor, so that now and then the process hangs or aborts.
    os._exit(0)


def begin(rank: int, port: int, folder: Path, how: str) -> None:
    """Be the process `rank` of the two, as `torchrun` tells it; what it prints goes to a file."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with (folder / f"said{rank}").open("w") as said:
        for stream in (1, 2):
            os.dup2(said.fileno(), stream)
    main(folder, how)
