"""The file `heldout evaluate` writes: a journal of evaluations, each found again by its weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from heldout.errors import DataError, JournalBusy, JournalError
from heldout.records import AnyRecord, Checkpoint, EvalResult, Item, Note, Run
from heldout.store.journal import Journal, read
from heldout.train.checkpoints import Weights

SECTION = "evaluate"
"""The section of the first record's config that says under which options the file was made."""
WEIGHTS = "weights"
"""The topic of the note behind each evaluation; its text is the fingerprint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One set of weights scored: what it is called, its examples, and their summary."""

    name: str
    fingerprint: str
    items: Sequence[Item]
    result: EvalResult
    reused: bool = False

    @property
    def records(self) -> list[AnyRecord]:
        """What of it goes into a journal, in the order a reader folds it."""
        result = self.result
        saved = Checkpoint(step=result.step, time=result.time, path=self.name)
        return [*self.items, result, saved]

    def known_as(self, weights: Weights) -> Evaluation:
        """The same by the name and step that it goes by now."""
        step = weights.step
        return replace(
            self,
            name=weights.name,
            items=[msgspec.structs.replace(item, step=step) for item in self.items],
            result=msgspec.structs.replace(self.result, step=step),
            reused=True,
        )


class EvaluationFile:
    """The evaluations in the file at `path`, and a way to add to them.

    Opening an existing file raises `DataError` unless it was made of the same set under the same
    options (`run` says which), or if it is another file, and `JournalBusy` if someone writes it.
    """

    def __init__(self, path: Path, run: Run) -> None:
        records = _existing(path)
        first = next((record for record in records if isinstance(record, Run)), None)
        if first is not None:
            _refuse_another(path, first, run)
        self.found = {each.fingerprint: each for each in _evaluations(records)}
        try:
            self._journal = Journal(path)
        except JournalBusy:
            raise JournalBusy(
                f"{path}: another `heldout evaluate` is writing it. Wait, or name another: --output"
            ) from None
        if first is None:
            self._journal.append([run])

    def add(self, evaluation: Evaluation) -> bool:
        """Write an evaluation at once and durably; False if the disk refuses it."""
        result = evaluation.result
        mark = Note(step=result.step, time=result.time, topic=WEIGHTS, text=evaluation.fingerprint)
        return bool(self._journal.append([*evaluation.records, mark], durable=True))

    def close(self) -> None:
        """Release the file."""
        self._journal.close()


def _existing(path: Path) -> list[AnyRecord]:
    """The records of the file, [] where there is none; refuses to touch another kind of file."""
    if not path.exists():
        return []
    try:
        records = read(path)[0]
    except OSError as error:
        raise JournalError(f"{path}: cannot be read: {error.strerror or error}") from error
    ours = any(isinstance(record, Run) and SECTION in record.config for record in records)
    if path.stat().st_size and not ours:
        raise DataError(f"{path}: not a file of `heldout evaluate`. Name another: --output FILE")
    return records


def _refuse_another(path: Path, there: Run, here: Run) -> None:
    remedy = f"Name another file (--output FILE) or remove {path}."
    old, new = there.eval_set, here.eval_set
    if old and new and old.hash != new.hash:
        raise DataError(
            f"{path} holds scores of another set: {old.path} with {old.n} examples ({old.hash}), "
            f"and this is {new.path} with {new.n} ({new.hash}). {remedy}"
        )
    before, now = there.config[SECTION], here.config[SECTION]
    differ = [name for name in now if before.get(name) != now[name]]
    if differ:
        shown = ", ".join(f"{name} was {before.get(name)!r}, is {now[name]!r}" for name in differ)
        raise DataError(f"{path} holds scores under other options: {shown}. {remedy}")


def _evaluations(records: Iterable[AnyRecord]) -> Iterable[Evaluation]:
    """Evaluations whose last record is there; one that was cut off is scored again."""
    items: list[Item] = []
    result: EvalResult | None = None
    name = ""
    for record in records:
        match record:
            case Item():
                items = items if result is None else []
                result = None
                items.append(record)
            case EvalResult():
                result = record
            case Checkpoint():
                name = record.path
            case Note(topic="weights") if result is not None:
                yield Evaluation(name=name, fingerprint=record.text, items=items, result=result)
                items, result = [], None
