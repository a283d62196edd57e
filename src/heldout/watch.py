"""The one place where the pieces meet: signals and evaluations in, journal and judge out.

Nothing here raises into the training loop. What fails is switched off, noted in the journal and
logged, and the training goes on as if it had never been there.
"""

from __future__ import annotations

import atexit
import logging
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

import heldout.signals.each
from heldout.derive.history import History
from heldout.derive.patterns import Patterns, classify
from heldout.evals.evaluate import METRICS as EVAL_METRICS
from heldout.evals.evaluate import Evaluator
from heldout.evals.fixed_set import Example
from heldout.folder import load
from heldout.records import AnyRecord, Checkpoint, EvalResult, Note, Run, Sample
from heldout.signals.moment import Batch, Moment, Signal, to_host
from heldout.store.journal import FILE_NAME, Journal, read
from heldout.verdicts.judge import Judge

log = logging.getLogger("heldout")

WRITING = ("judge", "listener", "journal")
"""Parts that writing itself goes through: their failures are logged, since a note would fail too."""

Listener = Callable[[Sequence[AnyRecord], History], None]
"""Called with the records just written and the history including them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to evaluate and when. Without an evaluator everything else is still watched."""

    evaluator: Evaluator | None = None
    every: int
    at_start: bool = True
    without: Collection[str] = ()
    """Signals to leave out, by file name."""

    def due(self, step: int, last: bool) -> bool:
        """Whether the set is scored after this step."""
        return step % self.every == 0 or last


def cells(patterns: Patterns) -> Callable[[Example], tuple[str, str]]:
    """Return what sorts an example into its (pattern, length bin); a label in the data wins."""

    def cell(example: Example) -> tuple[str, str]:
        found, length = classify(example.row.prompt, len(example.response_ids), patterns)
        return example.row.pattern or found, length

    return cell


class Follower:
    """One of several processes that records nothing and scores its share of the set.

    Its main process must evaluate at the same steps. One that is `leaving` says so at the next
    evaluation, so that the others do not wait for it.
    """

    def __init__(self, plan: Plan, leaving: bool = False) -> None:
        self.plan = plan
        self.leaving = leaving
        self.tried = -1
        """The step of the last evaluation that was begun or refused."""
        self._evaluator = plan.evaluator

    def begin(self, step: int, model: nn.Module) -> None:
        """Training starts at `step`."""
        if self.plan.at_start and not step:
            self.evaluate(model, 0)

    def step(self, step: int, model: nn.Module, last: bool = False) -> None:
        """An optimizer step ended."""
        if self.plan.due(step, last):
            self.evaluate(model, step)

    def evaluate(self, model: nn.Module, step: int) -> None:
        """Score this process's share, unless this step was scored or a process has left."""
        if self._evaluator is None or self.tried == step:
            return
        self.tried = step
        if not self._evaluator.ranks.all(not self.leaving):
            self._evaluator = None
            return
        try:
            self._evaluator.evaluate(model, step)
        except Exception as error:  # the main process has the same one and notes it
            log.warning("heldout: evaluation failed; training goes on: %s", error)


class Watch:
    """Watches one training process: call `begin`, then for each step `forward`s and `step`, then `end`.

    `folder` gets the journal; opening it raises `JournalBusy` or `JournalError` before training
    starts. Every other method keeps its failures to itself.
    """

    def __init__(self, folder: Path, plan: Plan, listeners: Sequence[Listener] = ()) -> None:
        self.folder = folder
        self.plan = plan
        self.judge = Judge()
        self.journal = Journal(folder / FILE_NAME)
        for record in read(self.journal.path)[0]:
            self.judge.feed(record)
        self._evaluator = plan.evaluator
        self.tried = -1
        """The step of the last evaluation that was begun."""
        self._checked = False
        self._listeners = list(listeners)
        self._signals: dict[str, Signal] = {}
        self._clock = time.perf_counter()
        self._warned = False
        self._owed: list[AnyRecord] = []
        self._ended = False

    @property
    def history(self) -> History:
        """Everything recorded so far."""
        return self.judge.history

    def begin(self, run: Run, model: nn.Module, state: object = None) -> None:
        """Start: write the run's facts, look at the model, evaluate the starting point.

        For a resumed run `state` is what `state()` gave when the checkpoint was saved.
        """
        atexit.register(self.end, run.total_steps, None, "the process ended before training did")
        self._write([run, *(EVAL_METRICS if self.plan.evaluator else ())])
        for make in load(heldout.signals.each, "SIGNAL"):
            name = make.__module__.rsplit(".", 1)[-1]
            if name not in self.plan.without:
                self._guard(name, self._add_signal, name, make, model)
        self._write([metric for signal in self._signals.values() for metric in signal.metrics])
        if run.step:
            self._restore(state)
            self.note(run.step, "resume", f"resumed at step {run.step}")
        elif self.plan.at_start:
            self.evaluate(model, 0)
        self.mark()

    def forward(self, batch: Batch) -> None:
        """A training micro-batch went through the model."""
        for name, signal in list(self._signals.items()):
            self._guard(name, signal.forward, batch)

    def step(
        self,
        step: int,
        model: nn.Module,
        learning_rate: float | None = None,
        last: bool = False,
    ) -> None:
        """An optimizer step ended: record it, and evaluate where the plan says so."""
        numbers = self._collect()  # waits for the device, so the step's time is whole after it
        seconds = time.perf_counter() - self._clock
        moment = Moment(
            step=step, seconds=seconds, model=model, learning_rate=learning_rate, last=last
        )
        values: dict[str, float] = {}
        for name, signal in list(self._signals.items()):
            values.update(self._guard(name, signal.step, moment, numbers[name]) or {})
        if values:
            self._write([Sample(step=step, time=time.time(), values=values)])
        for name, signal in list(self._signals.items()):
            records = self._guard(name, signal.records, moment)
            if records:
                self._write(list(records))
        if self.plan.due(step, last):
            self.evaluate(model, step)
        self.mark()

    def log(self, step: int, logs: Mapping[str, object]) -> None:
        """The loop logged numbers by its own names at `step`."""
        numbers = {k: float(v) for k, v in logs.items() if isinstance(v, int | float)}
        values: dict[str, float] = {}
        for name, signal in list(self._signals.items()):
            values.update(self._guard(name, signal.log, numbers) or {})
        if values:
            self._write([Sample(step=step, time=time.time(), values=values)])
        self.mark()

    def saved(self, step: int, path: str) -> None:
        """A checkpoint of `step` was saved as the folder called `path`."""
        self._write([Checkpoint(step=step, time=time.time(), path=path)], durable=True)
        self.mark()

    def removed(self, step: int, path: str) -> None:
        """The checkpoint of `step` is no longer on disk, so nobody can be told to keep it."""
        self._write([Checkpoint(step=step, time=time.time(), path=path, gone=True)])

    def evaluate(self, model: nn.Module, step: int) -> EvalResult | None:
        """Score the fixed set now, unless this step already was; None when there is nothing to."""
        if self._evaluator is None or self.tried == step:
            return None
        self.tried = step
        if not self._evaluator.ranks.all(True):
            self._evaluator = None
            self.note(step, "failure", "a process left the evaluation: it is off from here on")
            return None
        result: EvalResult | None = self._guard("evaluation", self._evaluate, model, step)
        return result

    def end(self, step: int, model: nn.Module | None, failure: str = "") -> None:
        """Training is over: evaluate the last weights, say how it ended, close the journal."""
        if self._ended:
            return
        self._ended = True
        atexit.unregister(self.end)
        if model is not None and not failure:
            self.evaluate(model, step)
        step = self.history.step if failure else step
        self.note(step, "failed" if failure else "finished", failure)
        self._guard("journal", self.journal.close)

    def note(self, step: int, topic: str, text: str) -> None:
        """Write down something that is no number."""
        note = Note(step=step, time=time.time(), topic=topic, text=text)
        self._write([note], durable=topic in ("finished", "failed"))

    def mark(self) -> None:
        """Count time from now: what came since the step's end was not training."""
        self._clock = time.perf_counter()

    def state(self) -> dict[str, Any]:
        """What a resumed run needs to continue every curve."""
        signals = {n: self._guard(n, s.state) for n, s in list(self._signals.items())}
        return {"run": self.folder.name, "signals": {n: s for n, s in signals.items() if s}}

    def _restore(self, state: object) -> None:
        signals = state.get("signals", {}) if isinstance(state, dict) else {}
        for name, signal in list(self._signals.items()):
            if name in signals:
                self._guard(name, signal.restore, signals[name])

    def _add_signal(self, name: str, make: Callable[[], Signal], model: nn.Module) -> None:
        signal = make()
        signal.begin(model)
        self._signals[name] = signal

    def _collect(self) -> dict[str, list[float]]:
        """What each signal kept on the device, as numbers, brought to the host in one transfer."""
        kept: dict[str, Sequence[Tensor]] = {}
        for name, signal in list(self._signals.items()):
            kept[name] = self._guard(name, signal.collect) or ()
        tensors = [tensor for each in kept.values() for tensor in each]
        numbers = iter(self._guard("transfer", to_host, tensors) or [math.nan] * len(tensors))
        return {name: [next(numbers) for _ in each] for name, each in kept.items()}

    def _evaluate(self, model: nn.Module, step: int) -> EvalResult:
        evaluator = self._evaluator
        assert evaluator is not None
        told = len(evaluator.remarks)
        items, result = evaluator.evaluate(model, step, check=not self._checked)
        self._checked = True
        self._write([*items, result], durable=True)
        for remark in evaluator.remarks[told:]:
            self.note(step, "evaluation", remark)
        return result

    def _write(self, facts: list[AnyRecord], durable: bool = False) -> None:
        """Facts to the journal, then to the judge, then its answers to the journal.

        Answers that the disk refuses are kept and written behind the next facts.
        """
        if not facts:
            return
        written = self.journal.append(facts, durable=durable)
        if not written and not self._warned:
            log.warning("%s cannot be written; training goes on", self.journal.path)
        self._warned = not written
        judged: list[AnyRecord] = []
        for fact in written:
            judged += self._guard("judge", self.judge.feed, fact) or []
        self._owed += judged
        if self._owed and not self.journal.lost:
            if self.journal.append(self._owed):
                self._owed = []
            self.journal.lost = 0  # refused answers are not lost: they are kept here
        for listener in self._listeners if written else ():
            self._guard("listener", listener, [*written, *judged], self.history)

    def _guard(self, part: str, call: Callable[..., Any], *args: Any) -> Any:
        """Call; on any exception note it, switch the part off if it is a signal, and return None."""
        try:
            return call(*args)
        except Exception as error:
            log.warning("heldout: %s failed; training goes on", part, exc_info=True)
            off = self._signals.pop(part, None)
            text = f"{part} failed: {type(error).__name__}: {error}"
            text += ". It is off for the rest of this run." if off else ""
            if part not in WRITING:
                self.note(self.history.step, "failure", text)
            return None
