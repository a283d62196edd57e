"""What heldout's hooks take when nothing else runs between them, and how much they execute.

    python benchmarks/overhead/hooks.py [--steps 2000]

The hooks of one step of `step.py`'s tiny training are called back to back, on the outputs of one real
forward pass with another loss, gradient norm and learning rate each time: every signal is recorded
but those that read the weights, every rule is judged, the Trainer logs each step, a step a millisecond.
Code and data stay in the processor's caches, which a training step in between pushes out of them;
`step.py` has the time within training. The numbers of calls, of Python's functions and of those written
in C, do not depend on the machine's load.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any

import torch
from step import READS_WEIGHTS, Subject, p99, tiny_subject
from transformers import PrinterCallback, Trainer, TrainerControl, TrainingArguments
from watched import collate

import heldout

PERIOD = 1e-3
"""Seconds from step to step, so that steps take equally long, as those of a sound run do."""
TRAINED, SKIPPED, COUNTED = 20, 200, 100
"""Steps that are trained, more before those that are timed, and those after them whose calls are counted."""


class Alone(heldout.Monitor):
    """A monitor that ends training early and calls its hooks for the steps that are left."""

    def __init__(self, subject: Subject, steps: int, **settings: Any) -> None:
        super().__init__(None, **settings)
        self._subject, self._steps = subject, steps
        self.seconds: list[float] = []
        self.calls: Counter[str] = Counter()

    def _plan(self, *args: Any) -> Any:
        plan, problems = super()._plan(*args)
        return dataclasses.replace(plan, without=(*plan.without, *READS_WEIGHTS)), problems

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_step_end(args, state, control, **kwargs)
        control.should_training_stop = state.global_step == TRAINED

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        going_on = TrainerControl(should_log=True)
        batch = collate([self._subject.rows[i] for i in range(self._subject.batch_size)])
        outputs = kwargs["model"](**batch)
        inner, due = kwargs["model"].get_base_model(), time.perf_counter()
        for i, logs in enumerate(_logs(args, self._steps + COUNTED)):
            outputs.loss = torch.tensor(logs["loss"])
            kwargs["optimizer"].param_groups[0]["lr"] = logs["learning_rate"]
            counted = i >= self._steps
            due += PERIOD
            while time.perf_counter() < due:
                pass
            sys.setprofile(self._count if counted else None)
            began = time.perf_counter()
            self.on_step_begin(args, state, going_on, **kwargs)
            self._forward(inner, (), batch, outputs)
            self.on_pre_optimizer_step(args, state, going_on, **kwargs)
            state.global_step += 1
            self.on_step_end(args, state, going_on, **kwargs)
            self.on_log(args, state, going_on, logs=logs, **kwargs)
            took = time.perf_counter() - began
            sys.setprofile(None)
            if not counted:
                self.seconds.append(took)
        super().on_train_end(args, state, control, **kwargs)

    def _count(self, frame: FrameType, event: str, arg: object) -> None:
        self.calls[event] += 1


def _logs(args: TrainingArguments, steps: int) -> Iterator[dict[str, float]]:
    """What a sound run logs."""
    made = random.Random(0)
    for i in range(TRAINED, TRAINED + steps):
        yield {
            "loss": 4 * (i + 1) ** -0.2 * (1 + 0.05 * made.random()),
            "grad_norm": 1 + 0.1 * made.random(),
            "learning_rate": args.learning_rate * (1 - i / args.max_steps),
            "epoch": i / TRAINED,
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=2000)
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    subject = tiny_subject()
    with tempfile.TemporaryDirectory() as folder:
        monitor = Alone(subject, steps, runs=Path(folder) / "runs")
        trainer = Trainer(
            model=subject.fresh(),
            args=TrainingArguments(
                output_dir=str(Path(folder) / "output"),
                max_steps=TRAINED + steps + COUNTED + 1,
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                use_cpu=True,
                dataloader_pin_memory=False,
            ),
            train_dataset=subject.rows,
            data_collator=collate,
            processing_class=subject.tokenizer,
            callbacks=[monitor],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    timed = monitor.seconds[SKIPPED:]
    print(f"{'us a step, back to back':34} {'median':>9} {'p99':>9} {'lowest':>9}")
    print(f"{'':34}" + "".join(f" {f(timed) * 1e6:9.1f}" for f in (median, p99, min)))
    for event, what in (("call", "Python"), ("c_call", "C")):
        print(f"calls of functions in {what + ', a step':12} {monitor.calls[event] / COUNTED:9.0f}")


if __name__ == "__main__":
    main()
