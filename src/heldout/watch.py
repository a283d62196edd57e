"""The one place where the pieces meet: signals and evaluations in, journal and judge out.

Nothing here raises into the training loop. What fails is switched off, noted in the journal and
logged, and the training goes on as if it had never been there.
"""

from __future__ import annotations

import atexit
import logging
import math
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from heldout.derive.history import ENDS, History
from heldout.derive.patterns import Patterns, classify
from heldout.errors import HeldoutError
from heldout.evals.evaluate import METRICS as EVAL_METRICS
from heldout.evals.evaluate import Evaluator
from heldout.evals.fixed_set import Example
from heldout.evals.ranks import Ranks
from heldout.names import Names, is_summary, metric
from heldout.records import AnyRecord, Checkpoint, Data, EvalResult, Metric, Note, Run, Sample
from heldout.signals.collection import Kept, Numbers, Signals, on_host, width
from heldout.signals.laps import OF_THE_STEP, Laps
from heldout.signals.moment import Batch, Moment, SignalOptions, Start
from heldout.store.journal import FILE_NAME, Journal, read
from heldout.verdicts.judge import Judge
from heldout.verdicts.rule import Rule

log = logging.getLogger("heldout")

WRITING = ("judge", "listener", "journal")
"""Parts that writing itself goes through: their failures are logged, since a note would fail too."""

STOPPING = ("stop", "roll-back")
"""Decisions that end the training where it may be."""

Listener = Callable[[Sequence[AnyRecord], History], None]
"""Called with the records just written and the history including them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to evaluate and when. Without an evaluator everything else is still watched."""

    evaluator: Evaluator | None = None
    every: int
    at_start: bool = True
    ranks: Ranks = field(default_factory=Ranks)
    signals: SignalOptions = field(default_factory=SignalOptions)
    without: Collection[str] = ()
    """Signals to leave out, by file name."""
    may_stop: bool = False
    """Whether a decision to stop or roll back ends the training."""

    def due(self, step: int, last: bool) -> bool:
        """Whether the set is scored after this step."""
        return step % self.every == 0 or last

    def recorded(self, step: int, last: bool) -> bool:
        """Whether this step's numbers, and those still kept, are brought to the host."""
        return step % self.signals.every == 0 or self.due(step, last)


def cells(patterns: Patterns) -> Callable[[Example], tuple[str, str]]:
    """Return what sorts an example into its (pattern, length bin); a label in the data wins."""

    def cell(example: Example) -> tuple[str, str]:
        found, length = classify(example.row.prompt, len(example.response_ids), patterns)
        return example.row.pattern or found, length

    return cell


class Together:
    """What the processes of a run do in step: add up sums and score the set, each once a step.

    Every process calls at the same steps. One that leaves takes part once more to say so, and from
    then on none of them waits for another.
    """

    def __init__(self, plan: Plan) -> None:
        self.leaving = False
        """Whether this process has left, or is about to say so."""
        self.pending = False
        """Whether a step ended whose sums are still to be added up."""
        self.tried = -1
        """The last step whose evaluation was begun."""
        self.wanted = False
        """Whether this process wants the training to stop: the main one's decision says so."""
        self.stopping = False
        """Whether all stop after this step, at the same one."""
        self._plan = plan
        self._ranks = plan.ranks
        self._shape = (plan.signals.every, width(plan.without))
        self._adding = plan.ranks.count > 1
        self._scoring = True

    @property
    def alone(self) -> bool:
        """Whether sums are this process's own: there is no other, or one has left."""
        return not self._adding

    def leave(self, step: int, last: bool) -> None:
        """Take part in what the others wait for after `step`, only to say that this one leaves."""
        self.leaving = self.pending = True
        if self._plan.recorded(step, last):
            self.add(None, [])
        if self._plan.due(step, last):
            self.score(step)

    def leave_at_start(self, step: int) -> None:
        """The same before training, which starts or resumes at `step`."""
        self.leaving = True
        if self._plan.at_start and not step:
            self.score(0)

    def add(self, signals: Signals | None, kept: Sequence[Kept]) -> list[Numbers]:
        """Each kept step's sums by signal, over all processes unless `alone`. A collective call.

        Nothing is asked of the others where no step is `pending`.
        """
        if self._adding and self.pending:
            self.pending = False
            device = self._ranks.device
            rows = torch.zeros(self._shape, dtype=torch.float64, device=device)
            if signals:
                for row, each in zip(rows, kept, strict=False):
                    row.copy_(signals.vector(each, device))
            said = rows.new_tensor([float(self.leaving), float(self.wanted)])
            gone, wanted, *sums = self._ranks.sum(torch.cat([said, rows.flatten()])).tolist()
            self._adding, self.stopping = not gone, bool(wanted) and not gone
            if signals and self._adding:
                wide = self._shape[1]
                return [
                    signals.of_vector(sums[i * wide : (i + 1) * wide]) for i in range(len(kept))
                ]
        return on_host(kept)

    def stop(self) -> None:
        """Want the training to stop: now in a single process, else when the sums are added up next."""
        self.wanted = True
        self.stopping = self.stopping or self._ranks.count == 1

    def score(self, step: int) -> bool:
        """Whether all processes score the set now. A collective call, the first time at a step."""
        if self._plan.evaluator is None or not self._scoring or self.tried == step:
            return False
        self.tried = step
        self._scoring = self._ranks.all(not self.leaving)
        return self._scoring


class Follower:
    """One of several processes that records nothing: it counts and scores its share.

    Its main process must record and evaluate at the same steps.
    """

    def __init__(self, plan: Plan, together: Together) -> None:
        self.plan = plan
        self.together = together
        self._signals = Signals(_log_failure, plan.without, counting=True)
        self._kept: list[Kept] = []

    def begin(self, start: Start) -> None:
        """Training starts."""
        self._signals.begin(start, {})
        if self.plan.at_start and not start.step:
            self.evaluate(start.model, 0)

    def forward(self, batch: Batch) -> None:
        """A training micro-batch went through the model."""
        self._signals.forward(batch)

    def step(self, step: int, model: nn.Module, last: bool = False) -> None:
        """An optimizer step ended."""
        self._kept.append(self._signals.collect())
        self.together.pending = True
        if self.plan.recorded(step, last):
            self.flush()
        if self.plan.due(step, last):
            self.evaluate(model, step)

    def flush(self) -> None:
        """Hand over the sums of the steps since the last time."""
        self.together.add(self._signals, self._kept)
        self._kept = []

    def evaluate(self, model: nn.Module, step: int) -> None:
        """Score this process's share, unless this step was scored or a process has left."""
        evaluator = self.plan.evaluator
        if evaluator is None or not self.together.score(step):
            return
        try:
            evaluator.evaluate(model, step)
        except Exception as error:  # the main process has the same one and notes it
            log.warning("heldout: evaluation failed; training goes on: %s", error)


class Watch:
    """Watches one training process: call `begin`, then what happens at each step, then `end`.

    A step is `forward`s, `before_update` and `step`, with `lap` in between to say what the time went
    to. `folder` gets the journal; opening it raises `JournalBusy` or `JournalError` before training
    starts. Every other method keeps its failures to itself. `rules` are judged by besides heldout's own.
    """

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        listeners: Sequence[Listener] = (),
        together: Together | None = None,
        rules: Sequence[Rule[Any]] = (),
    ) -> None:
        self.folder = folder
        self.plan = plan
        self.together = together or Together(plan)
        self.judge = Judge(more=rules)
        self.journal = Journal(folder / FILE_NAME)
        for record in read(self.journal.path)[0]:
            self.judge.feed(record)
        self._alone = self.together.alone
        self._checked = False
        self._refused = False
        self._listeners = list(listeners)
        self._signals = Signals(self._signal_failed, plan.without)
        self._laps = Laps()
        self.lap = self._laps.lap
        """Count the time since the last lap to a phase (see `heldout.signals.laps`)."""
        self._moments: list[Moment] = []
        self._kept: list[Kept] = []
        self._late: list[Sample] = []
        self._held: Sample | None = None
        """The last step's numbers, while the Trainer is about to log the same step."""
        self._names: Names | None = None
        self._explained: set[str] = set()
        """The names of logged numbers whose `Metric` this process has written."""
        self._said_missing = False
        self._warned = False
        self._owed: list[AnyRecord] = []
        self._ended = False

    @property
    def history(self) -> History:
        """Everything recorded so far."""
        return self.judge.history

    def begin(self, run: Run, start: Start, state: object = None, data: Data | None = None) -> None:
        """Start: write the run's facts, look at the model, evaluate the starting point.

        For a resumed run `state` is what `state()` gave when the checkpoint was saved. `data` is what
        the training set was found to hold.
        """
        atexit.register(self._process_ends)
        self._write(
            [run, *([data] if data else []), *(EVAL_METRICS if self.plan.evaluator else ())]
        )
        saved = state.get("signals", {}) if isinstance(state, dict) else {}
        self._signals.begin(start, saved)
        self._write(list(self._signals.metrics))
        if run.step:
            self.note(run.step, "resume", f"resumed at step {run.step}")
        elif self.plan.at_start:
            self.evaluate(start.model, 0)
        self.lap("monitor")
        self._laps.take()

    def forward(self, batch: Batch) -> None:
        """A training micro-batch went through the model."""
        self._signals.forward(batch)

    def before_update(self, step: int, model: nn.Module) -> None:
        """The gradients of the coming `step` are complete and clipped."""
        self._signals.before_update(step, model)

    def step(
        self,
        step: int,
        model: nn.Module,
        learning_rate: float | None = None,
        last: bool = False,
        logs: bool = False,
    ) -> None:
        """An optimizer step ended: record it, and evaluate where the plan says so.

        Where the loop `logs` it right away, both go into one record, written and judged once.
        """
        self._kept.append(self._signals.collect())
        self.together.pending = True
        recorded = self.plan.recorded(step, last)
        # waits for the device, so the step's time is whole after it
        numbers = self._sums() if recorded else []
        self.lap("optimizer")
        laps = self._laps.take()
        moment = Moment(
            step=step,
            seconds=sum([laps.get(phase, 0.0) for phase in OF_THE_STEP]),
            model=model,
            learning_rate=learning_rate,
            last=last,
            laps=laps,
        )
        self._moments.append(moment)
        due, may_stop = self.plan.due(step, last), self.plan.may_stop
        values = self._record(numbers, logs and not (due or may_stop)) if recorded else {}
        if records := self._signals.records(moment, values):
            self._write(records)
        self.lap("monitor")
        if due:
            self.evaluate(model, step)
        if may_stop and not last:
            self._stop_if_decided(step)

    def flush(self) -> None:
        """Record the steps that were kept since the last time; every process must do it."""
        if self._kept:
            self._record(self._sums())
        self.settle()

    def settle(self) -> None:
        """Write the last step's numbers, where they waited for a log that did not come."""
        if self._held is not None:
            held, self._held = self._held, None
            self._write([held])

    def log(self, step: int, logs: Mapping[str, object]) -> None:
        """The loop logged numbers by its own names at `step`."""
        numbers = {} if is_summary(logs) else numbers_in(logs)
        logged, new = self._by_our_names(numbers)
        values: Mapping[str, float] = logged
        if self._kept and self.together.alone:
            self._record(self._sums(), hold=True)
        values = {**self._signals.log(numbers), **values}
        held = self._held
        if held is not None and held.step == step:
            values, self._held = {**held.values, **values}, None
        self.settle()
        self._write(list(new))
        if values:
            self._late.append(Sample(step=step, time=time.time(), values=values))
        if not self._kept:  # else behind the steps that other processes still have to add to
            self._write_late()

    def saved(self, step: int, path: str) -> None:
        """A checkpoint of `step` was saved as the folder called `path`."""
        self._write([Checkpoint(step=step, time=time.time(), path=path)], durable=True)

    def removed(self, step: int, path: str) -> None:
        """The checkpoint of `step` is no longer on disk, so nobody can be told to keep it."""
        self._write([Checkpoint(step=step, time=time.time(), path=path, gone=True)])

    def evaluate(self, model: nn.Module, step: int) -> EvalResult | None:
        """Score the fixed set now, unless this step already was; None when there is nothing to."""
        if self.plan.evaluator is None or self.together.tried == step or self._refused:
            return None
        if not self.together.score(step):
            self._refused = True
            self.note(step, "failure", "a process left the evaluation: it is off from here on")
            return None
        result: EvalResult | None = self._guard("evaluation", self._evaluate, model, step)
        self.lap("evaluation")
        return result

    def let_go(self) -> None:
        """Take every hook off the model."""
        self._signals.end()

    def abandon(self) -> None:
        """Watching failed, training goes on: say so, and close the journal."""
        if not self._ended:
            self._ended = True
            atexit.unregister(self._process_ends)
            self.note(self._latest(), "failure", "heldout failed and watches this run no more")
            self._guard("journal", self.journal.close)

    def end(self, step: int, model: nn.Module | None, failure: str = "") -> None:
        """Training is over: evaluate the last weights, say how it ended, close the journal."""
        if self._ended:
            return
        self._ended = True
        atexit.unregister(self._process_ends)
        if not failure or self.together.alone:
            self.flush()
        if model is not None and not failure:
            seconds = 0.0  # a stop decided after the step's end: it was not known to be the last
            moment = Moment(step=step, seconds=seconds, model=model, last=True)
            self._write(self._signals.records(moment, {}))
            self.evaluate(model, step)
        step = self._latest() if failure else step
        self.note(step, "failed" if failure else "finished", failure)
        self._guard("journal", self.journal.close)

    def _process_ends(self) -> None:
        """The process ends before training did: by an exception, where Python knows one nobody caught."""
        error = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
        text = f"{type(error).__name__}: {error}" if error is not None else ""
        self.end(0, None, text or "the process ended before training did")

    def note(self, step: int, topic: str, text: str) -> None:
        """Write down something that is no number."""
        note = Note(step=step, time=time.time(), topic=topic, text=text)
        self._write([note], durable=topic in ENDS)

    def state(self) -> dict[str, Any]:
        """What a resumed run needs to continue every curve."""
        return {"run": self.folder.name, "signals": self._signals.state()}

    def _record(self, numbers: Sequence[Numbers], hold: bool = False) -> Mapping[str, float]:
        """Write the samples of the kept steps, or `hold` the last back; returns its values."""
        self.settle()
        values: Mapping[str, float] = {}
        moments, self._moments = self._moments, []
        for i, moment in enumerate(moments):
            values = self._signals.step(moment, numbers[i] if i < len(numbers) else {})
            if values:
                self._held = Sample(step=moment.step, time=time.time(), values=values)
            if not hold or moment is not moments[-1]:
                self.settle()
            self._write_late(moment.step)
        self._write_late()
        if not self._said_missing and moments:
            self._said_missing = True
            for text in self._signals.missing():
                self.note(moments[-1].step, "signal", text)
        if self.together.alone and not self._alone:
            self._alone = True
            text = "a process left: counts and losses are the main process's own from here on"
            self.note(moments[-1].step, "failure", text)
        return values

    def _by_our_names(self, numbers: Mapping[str, float]) -> tuple[dict[str, float], list[Metric]]:
        """What the loop logged under heldout's names, and what those of them mean that are new."""
        if self._names is None:
            own = [*self._signals.metrics, *EVAL_METRICS]
            self._names = Names({each.name for each in own})
        named = self._names.of(numbers)
        pairs = {name: theirs for theirs, ours in named.items() for name in ours}
        new = [name for name in pairs if name not in self._explained]
        self._explained.update(new)
        values = {name: numbers[theirs] for name, theirs in pairs.items()}
        return values, [metric(name, pairs[name]) for name in new]

    def _stop_if_decided(self, step: int) -> None:
        decision = self.history.decision
        if decision is None or decision.action not in STOPPING or self.together.wanted:
            return
        self.together.stop()
        self.note(step, "stop", f"the training is stopped, as decided: {decision.reason}")

    def _sums(self) -> list[Numbers]:
        """The kept steps' sums, over all processes."""
        kept, self._kept = self._kept, []
        return self._guard("sums", self.together.add, self._signals, kept) or []

    def _write_late(self, until: float = math.inf) -> None:
        """Write what was logged up to a step, right behind that step: a journal's steps ascend."""
        if self._late:
            late = [sample for sample in self._late if sample.step <= until]
            self._late = self._late[len(late) :]
            self._write(list(late))

    def _latest(self) -> int:
        """The latest step, with its numbers written: what is noted now stands behind them."""
        self.settle()
        return self.history.step

    def _signal_failed(self, name: str, error: Exception) -> None:
        log.warning("heldout: %s failed; training goes on", name, exc_info=error)
        text = (
            f"{name} failed: {type(error).__name__}: {error}. It is off for the rest of this run."
        )
        self.note(self._latest(), "failure", text)

    def _evaluate(self, model: nn.Module, step: int) -> EvalResult:
        evaluator = self.plan.evaluator
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

        Before them what is held back. Answers that the disk refuses are kept and written behind the
        next facts.
        """
        if not facts:
            return
        if self._held is not None:
            facts, self._held = [self._held, *facts], None
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
        """Call; on any exception note it and return None."""
        try:
            return call(*args)
        except Exception as error:
            told = isinstance(error, HeldoutError)  # in words, which a traceback would bury
            why = f": {error}" if told else ""
            log.warning("heldout: %s failed; training goes on%s", part, why, exc_info=not told)
            if part not in WRITING:
                text = f"{part} failed: {type(error).__name__}: {error}"
                self.note(self._latest(), "failure", text)
            return None


def numbers_in(logs: Mapping[str, object]) -> dict[str, float]:
    """The numbers among what a loop logs: Python's, numpy's, tensors of one element, True and False."""
    found = {}
    for name, value in logs.items():
        if type(value) is float:
            found[name] = value
        elif hasattr(value, "__float__"):
            try:
                found[name] = float(value)
            except (TypeError, ValueError, OverflowError, RuntimeError):
                continue  # many elements, or an integer beyond every float
    return found


def _log_failure(name: str, error: Exception) -> None:
    log.warning("heldout: %s failed; training goes on", name, exc_info=error)
