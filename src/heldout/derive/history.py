"""The fold of a journal: what is known after the records so far.

Rules, views and exporters all read this one structure. `add` is the only way in, so history
after a prefix of the journal never depends on what comes later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast

from heldout.derive.columns import Columns
from heldout.records import (
    HEARTBEAT,
    AnyRecord,
    Checkpoint,
    Data,
    Decision,
    EvalResult,
    Item,
    Layers,
    Metric,
    Note,
    Run,
    Sample,
    Samples,
    Verdict,
)

ENDS = ("finished", "failed")
"""Topics of the notes that end a run."""
BY_HAND = "KeyboardInterrupt"
"""What the note of a failure begins with where somebody pressed Ctrl-C."""

T = TypeVar("T")


class Fold(Protocol):
    """Something that is kept up to date with a series, value by value."""

    def add(self, step: int, value: float) -> None:
        """Take in the next value, NaN and infinities included."""


F = TypeVar("F", bound=Fold)


@dataclass(slots=True)
class _Kept:
    """A fold, how often its series had been cut when it began, and how many values it has taken in."""

    fold: Fold
    cuts: int
    seen: int = 0


class History:
    """Everything recorded so far, by kind, in order.

    A run that resumes from step s supersedes what was recorded after s, one that starts at 0
    everything; so does a sample at an earlier step for what was recorded from there on.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.run: Run | None = None
        self.data: Data | None = None
        self.metrics: dict[str, Metric] = {}
        self.columns = Columns()
        self.latest: dict[str, float] = {}
        self.evals: list[EvalResult] = []
        self.items: dict[int, list[Item]] = {}
        self.layers: list[Layers] = []
        self.checkpoints: list[Checkpoint] = []
        self.alerts: dict[tuple[str, str], Verdict] = {}
        self.alerts_of: dict[str, dict[str, Verdict]] = {}
        """The same by rule, then by scope: every rule asks for its own at every step."""
        self.verdicts: list[Verdict] = []
        """Every change of every alert, in order."""
        self.decision: Decision | None = None
        self.notes: list[Note] = []
        self.step = 0
        self.time = 0.0
        self._remembered: dict[str, tuple[object, object]] = {}
        self._of_evals: dict[tuple[str, int], object] = {}
        self._folds: dict[tuple[str, type], _Kept] = {}

    def add(self, record: AnyRecord | Samples) -> None:
        """Fold in one record, or many samples at once; they come in journal order."""
        if not isinstance(record, Verdict):  # a viewer's is no sign of life
            self.time = max(self.time, getattr(record, "time", 0.0))
        if isinstance(record, Run | Item | EvalResult | Checkpoint | Note):
            self._remembered.clear()
        match record:
            case Sample():
                if record.step < self.step:
                    self._supersede(record.step)
                self.columns.add(record.step, record.values)
                self.latest = record.values
                self.step = record.step
            case Samples():
                if record.steps[0] < self.step:
                    self._supersede(record.steps[0])
                self.columns.extend(record.tables)
                self.latest = record.last
                self.step = record.steps[-1]
            case Item():
                if self.evals and record.step <= self.evals[-1].step:
                    self._forget_evals(record.step)
                self.items.setdefault(record.step, []).append(record)
            case EvalResult():
                self.evals.append(record)
                self.step = max(self.step, record.step)
            case Layers():
                self.layers = [kept for kept in self.layers if kept.step < record.step]
                self.layers.append(record)
            case Checkpoint():
                self.checkpoints = [c for c in self.checkpoints if c.step != record.step]
                if not record.gone:
                    self.checkpoints.append(record)
            case Verdict():
                self.alerts[record.rule, record.scope] = record
                self.verdicts.append(record)
                self.alerts_of.setdefault(record.rule, {})[record.scope] = record
            case Decision():
                self.decision = record
            case Note():
                self.notes.append(record)
            case Run(step=0):
                self.clear()
                self.run, self.time = record, record.time
            case Run():
                self._of_evals.clear()
                self._supersede(record.step + 1)
                if self.run and _set_hash(self.run) != _set_hash(record):
                    self._forget_evals(0)  # another held-out set: its scores do not compare
                self.run, self.step = record, record.step
            case Data():
                self.data = record
            case Metric():
                self.metrics[record.name] = record

    @classmethod
    def of(cls, records: Iterable[AnyRecord | Samples]) -> History:
        """Fold a whole journal."""
        history = cls()
        for record in records:
            history.add(record)
        return history

    def remember(self, key: str, compute: Callable[[], T], version: object = None) -> T:
        """Return `compute()`, computed once until an evaluation, checkpoint or note comes in.

        Or until it is asked for by another `version` of what it is computed from.
        """
        known = self._remembered.get(key)
        if known is None or known[0] != version:
            known = self._remembered[key] = version, compute()
        return cast(T, known[1])

    def of_evaluation(self, key: str, step: int, compute: Callable[[], T]) -> T:
        """Return `compute()` of the evaluation at `step`, computed once while it and the run stand."""
        if (key, step) not in self._of_evals:
            self._of_evals[key, step] = compute()
        return cast(T, self._of_evals[key, step])

    def fold(self, name: str, kind: type[F]) -> F:
        """Return a `kind()` that has taken in the whole series called `name`.

        It costs what came in since the last call; a series whose end was forgotten is folded anew.
        """
        series = self.columns.get(name)
        kept = self._folds.get((name, kind))
        if kept is None or kept.cuts != series.cuts:
            kept = self._folds[name, kind] = _Kept(kind(), series.cuts)
        size = len(series)
        if kept.seen < size:
            for step, value in series.after(kept.seen):
                kept.fold.add(step, value)
            kept.seen = size
        return cast(F, kept.fold)

    @property
    def loss(self) -> str:
        """The name of the training loss to judge: each step's own where known, else the logged one.

        The model's own cross-entropy is not it where another loss is trained on (`ce/step`).
        """
        own, other = self.columns.get("loss/step"), self.columns.get("ce/step")
        return "loss/step" if len(own) and not len(other) else "loss/logged"

    @property
    def ended(self) -> str:
        """How the last attempt ended: "finished", "failed" or, while it has not, ""."""
        since = self.run.time if self.run else 0.0
        ends = [n for n in self.notes if n.topic in ENDS and n.time >= since]
        return ends[-1].topic if ends else ""

    @property
    def state(self) -> str:
        """Where the run is: starting, running, finished, failed, interrupted (by Ctrl-C) or, as a viewer
        found, stalled or died."""
        silent = self.alerts.get((HEARTBEAT, ""))
        if silent is not None and silent.state in ("open", "escalated") and not self.ended:
            return str(silent.evidence.get("state", "stalled"))
        if self.ended:
            ends = [note.text for note in self.notes if note.topic in ENDS]
            by_hand = self.ended == "failed" and ends[-1].startswith(BY_HAND)
            return "interrupted" if by_hand else self.ended
        return "running" if self.latest or self.evals else "starting"

    @property
    def last_items(self) -> list[Item]:
        """The examples of the latest evaluation."""
        return self.items.get(self.evals[-1].step, []) if self.evals else []

    def _supersede(self, step: int) -> None:
        """Forget what an earlier attempt recorded at or after `step`."""
        self._remembered.clear()
        self.columns.cut(step)
        self._forget_evals(step)
        self.checkpoints = [kept for kept in self.checkpoints if kept.step < step]
        self.layers = [kept for kept in self.layers if kept.step < step]

    def _forget_evals(self, step: int) -> None:
        self.evals = [kept for kept in self.evals if kept.step < step]
        self.items = {at: items for at, items in self.items.items() if at < step}
        self._of_evals = {kept: x for kept, x in self._of_evals.items() if kept[1] < step}


def _set_hash(run: Run) -> str:
    return run.eval_set.hash if run.eval_set else ""
