"""What watching costs a training step, on a model so small that the cost shows.

    python benchmarks/overhead/step.py [--pairs 5] [--steps 300]

Runs with and without `heldout.Monitor` take turns in one process, on one thread. The step time is
wall time from one step's end to the next; evaluations are counted apart. Prints medians over runs,
and the time inside the monitor's hooks for single steps.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

import heldout

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
import tiny
from watched import collate, encoded


class Timed(heldout.Monitor):
    """A monitor that adds up the seconds spent inside its own hooks, step by step."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.steps: list[float] = []
        self._inside = 0.0

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self._timed(super().on_step_end, *args, **kwargs)
        self.steps.append(self._inside)
        self._inside = 0.0

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        self._timed(super().on_log, *args, **kwargs)

    def _forward(self, *args: Any) -> None:
        self._timed(super()._forward, *args)

    def _timed(self, hook: Any, *args: Any, **kwargs: Any) -> None:
        began = time.perf_counter()
        hook(*args, **kwargs)
        self._inside += time.perf_counter() - began


class Clock(TrainerCallback):
    """Wall seconds of the whole training loop."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 10:
            self.began = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.seconds = time.perf_counter()


def run(folder: Path, steps: int, *callbacks: TrainerCallback) -> float:
    """Train; returns seconds per step, the first ten left out."""
    tokenizer, clock = tiny.tokenizer(), Clock()
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=2,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(
        model=tiny.lora_model(),
        args=arguments,
        train_dataset=encoded(tokenizer, 40),
        data_collator=collate,
        processing_class=tokenizer,
        callbacks=[*callbacks, clock],
    )
    trainer.train()
    return (clock.seconds - clock.began) / (steps - 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=300)
    given = parser.parse_args()
    torch.set_num_threads(1)
    alone, watched, inside = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(folder / "warm-up", 20)
        for pair in range(given.pairs):
            monitor = Timed(None, runs=folder / "runs", run=str(pair))
            alone.append(run(folder / "alone", given.steps))
            watched.append(run(folder / "watched", given.steps, monitor))
            inside += monitor.steps[10:]
    ratios = [w / a for w, a in zip(watched, alone, strict=True)]
    print(f"step alone        {median(alone) * 1e3:8.2f} ms")
    print(f"step watched      {median(watched) * 1e3:8.2f} ms")
    print(f"ratio, by pairs   {median(ratios):8.3f}   ({min(ratios):.3f} to {max(ratios):.3f})")
    print(f"inside the hooks  {median(inside) * 1e3:8.3f} ms median")
    print(f"                  {quantiles(inside, n=100)[98] * 1e3:8.3f} ms p99 (layer readings)")


if __name__ == "__main__":
    main()
