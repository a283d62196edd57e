"""Small valid records, and histories made of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from heldout.derive.history import History
from heldout.records import (
    AnyRecord,
    Checkpoint,
    Direction,
    EvalResult,
    Item,
    Layer,
    Layers,
    Metric,
    Note,
    Run,
    Sample,
)
from heldout.stats.intervals import wilson


def at(step: int) -> float:
    """The time of a step in these runs: a second a step."""
    return 1_000.0 + step


def run(**changes: Any) -> Run:
    return Run(**{"id": "r", "time": at(0), "model": "tiny", "total_steps": 100} | changes)


def metric(name: str, direction: Direction = "none") -> Metric:
    """What a log says a number means."""
    return Metric(name=name, title=name, unit="", direction=direction, help="", source="a log")


def sample(step: int, loss: float = 1.0, **values: float) -> Sample:
    """One step; `grad_norm=2` becomes the metric `grad/norm`, as the other names do."""
    names = {"grad_norm": "grad/norm"}
    named = {names.get(name, name): value for name, value in values.items()}
    return Sample(step=step, time=at(step), values={"loss/step": loss} | named)


def losses(values: Sequence[float], **others: float) -> list[AnyRecord]:
    """One sample a value, from step 1 on."""
    return [sample(step, value, **others) for step, value in enumerate(values, start=1)]


def item(step: int, name: str, correct: bool, pattern: str = "math", bin: str = "0-100") -> Item:
    return Item(
        step=step,
        id=name,
        pattern=pattern,
        bin=bin,
        tokens=10,
        correct=correct,
        token_correct=correct,
        ce=0.1 if correct else 2.0,
        entropy=0.3,
        divergence=None if correct else 0,
    )


def result(step: int, correct: int, n: int, **changes: Any) -> EvalResult:
    low, high = wilson(correct, n)
    ece = changes.get("ece", 0.05)
    fields = {
        "step": step,
        "time": at(step),
        "n": n,
        "correct": correct,
        "em": correct / n,
        "em_low": low,
        "em_high": high,
        "token_em": correct / n,
        "near_ties": 0,
        "decoded": 0,
        "ce": 0.5,
        "ce_low": 0.45,
        "ce_high": 0.55,
        "ce_by_example": 0.52,
        "entropy": 0.3,
        "token_accuracy": 0.9,
        "ece": ece,
        "ece_low": ece - 0.002,
        "ece_high": ece + 0.002,
        "ece_null": 0.01,
        "ece_equal_mass": 0.05,
        "confidence_gap": 0.04,
        "brier": 0.1,
        "tokens": 10 * n,
        "non_finite": 0,
        "seconds": 0.1,
        "bins": [],
    }
    return EvalResult(**fields | changes)


def evaluation(
    step: int, answers: Iterable[bool], pattern: str = "math", **changes: Any
) -> list[AnyRecord]:
    """The items and the result of the fixed set at one step; the set is named by position."""
    rows = [bool(answer) for answer in answers]
    items = [item(step, f"e{i}", right, pattern) for i, right in enumerate(rows)]
    return [*items, result(step, sum(rows), len(rows), **changes)]


def score(correct: int, n: int = 100) -> list[bool]:
    """Answers of which the first `correct` are right."""
    return [i < correct for i in range(n)]


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(step=step, time=at(step), path=f"checkpoint-{step}")


def note(step: int, topic: str, text: str = "") -> Note:
    return Note(step=step, time=at(step), topic=topic, text=text)


def layers(step: int, moved: Sequence[float], stack: str = "", **changes: Any) -> Layers:
    """A reading with one layer a value of ||dW||."""
    rows = [Layer(stack=stack, layer=i, delta_norm=x, **changes) for i, x in enumerate(moved)]
    return Layers(step=step, time=at(step), layers=rows)


def history(*facts: AnyRecord) -> History:
    folded = History()
    for fact in facts:
        folded.add(fact)
    return folded


def strict_json(data: bytes | str) -> Any:
    """Parse JSON as a reader does that knows no NaN."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is not JSON")

    return json.loads(data, parse_constant=refuse)
