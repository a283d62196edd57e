from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from heldout.records import AnyRecord, Metric
from heldout.signals import collection
from heldout.signals.collection import Kept, Signals, on_host, width
from heldout.signals.moment import Batch, Moment, Number, Signal, Start, Values


class One(Signal):
    """Hands over what it is told, and records what it gets."""

    metrics = (
        Metric(name="one", title="One", unit="", direction="none", help="One.", source="told"),
    )
    width: ClassVar[int] = 1
    gives: Sequence[Any] = ()

    def __init__(self) -> None:
        self.got: list[Sequence[float]] = []
        self.calls: list[str] = []

    def forward(self, batch: Batch) -> None:
        self.calls.append("forward")

    def before_update(self, step: int, model: nn.Module) -> None:
        self.calls.append("before_update")

    def collect(self) -> Sequence[Number]:
        return self.gives

    def step(self, moment: Moment, numbers: Sequence[float]) -> Values:
        self.got.append(numbers)
        return {"one": sum(numbers)} if numbers else {}

    def state(self) -> dict[str, float]:
        return {"seen": float(len(self.got))}

    def restore(self, state: Mapping[str, float]) -> None:
        self.got = [()] * int(state["seen"])


class Two(One):
    metrics = ()
    width: ClassVar[int] = 2

    def step(self, moment: Moment, numbers: Sequence[float]) -> Values:
        self.got.append(numbers)
        return {"two": sum(numbers)}


class Alone(Signal):
    """Sums nothing, and so is of the main process only."""

    def step(self, moment: Moment, numbers: Sequence[float]) -> Values:
        assert numbers == ()
        return {"alone": 1.0}

    def missing(self) -> str:
        return "nothing to show"


MADE = {"alone": Alone, "one": One, "two": Two}


@pytest.fixture(autouse=True)
def _these_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "_all", lambda: MADE)


class Process:
    """The signals of one process, begun, with what each is to hand over."""

    def __init__(self, **more: Any) -> None:
        self.failures: dict[str, str] = {}
        self.signals = Signals(self._failed, **more)
        model = nn.Linear(1, 1)
        self.signals.begin(Start(model=model, folder=Path()), {})
        self.moment = Moment(step=1, seconds=1.0, model=model)

    def _failed(self, name: str, error: Exception) -> None:
        assert name not in self.failures, "told once"
        self.failures[name] = str(error)

    def of(self, name: str) -> Any:
        return self.signals._on[name]

    def gives(self, name: str, *numbers: Any) -> Process:
        self.of(name).gives = [torch.as_tensor(number) for number in numbers]
        return self

    def vector(self) -> Tensor:
        return self.signals.vector(self.signals.collect(), torch.device("cpu"))


def test_a_vector_is_a_flag_and_the_sums_of_each_signal_that_collects() -> None:
    process = Process().gives("one", 5.0).gives("two", 7, 2.5)
    assert process.vector().tolist() == [1, 5, 1, 7, 2.5]
    assert process.vector().dtype == torch.float64
    assert width() == 5
    assert width(without=["two"]) == 2
    assert len(Process(without=["two"]).vector()) == 2
    assert process.failures == {}


def test_a_vector_gives_back_the_sums_it_was_made_of() -> None:
    process = Process().gives("one", 5.0).gives("two", 7, 2.5)
    found = process.signals.of_vector(process.vector().tolist())
    assert found == {"one": [5.0], "two": [7.0, 2.5]}
    (alone,) = on_host([process.signals.collect()])
    assert alone == {"one": [5.0], "two": [7.0, 2.5]}


def test_vectors_of_several_processes_add_up() -> None:
    first = Process().gives("one", 5.0).gives("two", 1, 2)
    other = Process(counting=True).gives("one", 2.0).gives("two", 10, 20)
    total = (first.vector() + other.vector()).tolist()
    assert first.signals.of_vector(total) == {"one": [7.0], "two": [11.0, 22.0]}
    assert other.signals.of_vector(total) == {"one": [7.0], "two": [11.0, 22.0]}
    assert first.failures == other.failures == {}


def test_large_counts_survive_the_sum_exactly() -> None:
    first = Process().gives("one", torch.tensor(2**40 + 1)).gives("two", torch.tensor(3), 1.5)
    assert first.signals.of_vector((first.vector() * 2).tolist())["one"] == [2**41 + 2]


def test_large_counts_of_the_host_survive_too() -> None:
    process = Process()
    process.of("one").gives = [2.0**40 + 1]
    process.of("two").gives = [0.1, 2.0**24 + 1]
    vector = process.vector().tolist()
    assert process.signals.of_vector(vector) == {"one": [2**40 + 1], "two": [0.1, 2**24 + 1]}


def test_what_one_process_did_not_see_is_the_others_sum() -> None:
    first, other = Process().gives("one", 5.0), Process().gives("two", 1, 2)
    total = (first.vector() + other.vector()).tolist()
    assert first.signals.of_vector(total) == {"one": [5.0], "two": [1.0, 2.0]}


def test_what_no_process_saw_is_nothing_and_not_zero() -> None:
    process = Process().gives("one", 0.0)
    found = process.signals.of_vector(process.vector().tolist())
    assert found == {"one": [0.0]}
    values = process.signals.step(process.moment, found)
    assert process.of("two").got == [()]
    assert values == {"alone": 1.0, "one": 0.0, "two": 0}


def test_a_signal_that_failed_in_another_process_is_off_here() -> None:
    first, other = Process(), Process()
    for process in (first, other):
        process.gives("one", 1.0).gives("two", 1, 2)
    other.signals._off("one", RuntimeError("broken"))
    total = (first.vector() + other.vector()).tolist()
    assert math.isnan(total[0])
    assert first.signals.of_vector(total) == {"two": [2.0, 4.0]}
    sums = other.signals.of_vector(total)
    assert sums["two"] == [2.0, 4.0]
    assert set(other.signals.step(other.moment, sums)) == {"alone", "two"}
    assert first.failures == {"one": "it failed in another process"}
    assert other.failures == {"one": "broken"}
    assert set(first.signals.step(first.moment, {})) == {"alone", "two"}
    again = (first.vector() + other.vector()).tolist()
    assert first.signals.of_vector(again)["two"] == [2.0, 4.0]
    assert first.failures == {"one": "it failed in another process"}


def test_sums_that_are_not_finite_switch_nothing_off() -> None:
    process = Process().gives("one", math.nan).gives("two", math.inf, 1)
    found = process.signals.of_vector(process.vector().tolist())
    assert math.isnan(found["one"][0])
    assert found["two"] == [math.inf, 1]
    assert process.failures == {}


@pytest.mark.parametrize(
    "given",
    [
        [torch.ones(())],
        [torch.ones(())] * 3,
        [torch.ones(2)],
        [torch.ones(2), torch.ones(())],
        [torch.ones(()), torch.ones(1)],
        [1.0],
        ["1", 2.0],
        [[1.0], 2.0],
        [None, 2.0],
        [10**400, 2.0],
        None,
    ],
)
def test_a_signal_that_hands_over_something_else_than_promised_is_off(given: Any) -> None:
    process = Process().gives("one", 1.0)
    process.of("two").gives = given
    kept: Kept = process.signals.collect()
    assert set(process.failures) == {"two"}
    vector = process.signals.vector(kept, torch.device("cpu")).tolist()
    assert vector[:2] == [1, 1]
    assert math.isnan(vector[2])
    assert len(vector) == width()
    assert on_host([kept]) == [{"one": [1.0], "two": []}]
    assert set(process.signals.step(process.moment, {"one": [1.0]})) == {"alone", "one"}


class Plain(Signal):
    """Collects nothing and answers what it is told."""

    gives: Any = ()

    def step(self, moment: Moment, numbers: Sequence[float]) -> Values:
        return self.gives

    def records(self, moment: Moment, values: Values) -> Sequence[AnyRecord]:
        return self.gives

    def log(self, logs: Mapping[str, float]) -> Values:
        return self.gives

    def missing(self) -> str:
        return self.gives

    def state(self) -> dict[str, float]:
        return self.gives


def failing() -> Iterator[Any]:
    raise RuntimeError("broken")
    yield


NO_NUMBERS = [
    [1.0, 2.0],
    "abc",
    5,
    torch.ones(2),
    {"x": None},
    {"x": "1.0"},
    {"x": torch.ones(2)},
    {"x": 10**400},
    {1: 1.0},
]
NO_RECORDS = [5, [object()], [None], {"x": 1.0}, torch.ones(2)]


@pytest.mark.parametrize(
    ("method", "given"),
    [(method, given) for method in ("step", "log", "state") for given in NO_NUMBERS]
    + [("records", given) for given in NO_RECORDS]
    + [("records", failing), ("missing", 5), ("missing", ["no"])],
)
def test_a_signal_that_answers_with_something_else_than_promised_is_off(
    method: str, given: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MADE, "plain", Plain)
    process = Process()
    process.of("plain").gives = given() if callable(given) else given
    arguments = {
        "step": (process.moment, {}),
        "log": ({"loss": 1.0},),
        "records": (process.moment, {}),
    }
    others = {name: x for name, x in MADE.items() if name != "plain"}
    for _ in range(2):
        found = getattr(process.signals, method)(*arguments.get(method, ()))
        assert set(process.failures) == {"plain"}
    assert set(process.signals._on) == set(others)
    expected = {
        "step": {"alone": 1.0, "two": 0.0},
        "state": {"one": {"seen": 0.0}, "two": {"seen": 0.0}},
        "log": {},
        "records": [],
        "missing": ["nothing to show"],
    }
    assert found == expected[method]


@pytest.mark.parametrize("given", [3, True, np.float32(3), torch.tensor(3.0), math.nan])
def test_numbers_of_any_kind_are_recorded_as_floats(
    given: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MADE, "plain", Plain)
    process = Process()
    process.of("plain").gives = {"x": given}
    found = process.signals.step(process.moment, {})["x"]
    assert type(found) is float
    assert found == pytest.approx(float(given), nan_ok=True)
    assert process.failures == {}


@pytest.mark.parametrize("given", [None, [5], 5])
def test_a_signal_whose_metrics_are_none_is_off(
    given: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Two, "metrics", given)
    process = Process()
    assert process.signals.metrics == list(One.metrics)
    assert set(process.failures) == {"two"}


def test_what_was_answered_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MADE, "plain", Plain)
    process = Process()
    process.of("plain").gives = {"x": None}
    process.signals.step(process.moment, {})
    assert process.failures == {"plain": "a number was promised, found None"}


@pytest.mark.parametrize("shape", [[1.0, 2.0], [[1.0], [2.0, 3.0]]])
def test_what_was_wrong_is_said_with_what_was_promised(shape: Any) -> None:
    process = Process()
    process.of("one").gives = [torch.tensor(x) for x in shape]
    process.signals.collect()
    assert process.failures["one"].startswith("1 numbers were promised, found (tensor(")


def test_numbers_of_the_host_and_of_the_device_go_together() -> None:
    process = Process().gives("one", 4)
    process.of("two").gives = [2.0, torch.tensor(3)]
    assert process.vector().tolist() == [1, 4, 1, 2, 3]
    assert on_host([process.signals.collect()]) == [{"one": [4.0], "two": [2.0, 3.0]}]
    assert process.failures == {}


def test_several_steps_come_to_the_host_apart() -> None:
    process = Process().gives("one", 1.0)
    kept = [process.signals.collect()]
    process.gives("one").gives("two", 3, 4)
    kept.append(process.signals.collect())
    kept.append({})
    assert on_host(kept) == [{"one": [1.0], "two": []}, {"one": [], "two": [3.0, 4.0]}, {}]
    assert on_host([]) == []


def test_a_missing_number_reaches_the_signal_as_nothing() -> None:
    process = Process()
    (numbers,) = on_host([process.signals.collect()])
    process.signals.step(process.moment, numbers)
    process.signals.step(process.moment, {})
    assert [len(got) for got in process.of("one").got] == [0, 0]


def test_a_process_that_only_counts_has_only_the_signals_with_sums() -> None:
    process = Process(counting=True).gives("one", 1.0)
    assert set(process.signals.step(process.moment, {"one": [1.0]})) == {"one", "two"}
    assert len(process.vector()) == width()
    assert process.signals.missing() == []
    assert Process().signals.missing() == ["nothing to show"]


@pytest.mark.parametrize("method", ["begin", "forward", "before_update", "step", "state", "end"])
def test_a_signal_that_throws_is_off_and_the_others_go_on(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(One, method, fail)
    monkeypatch.setattr(Two, method, getattr(Signal, method))
    process = Process()
    signals, model = process.signals, process.moment.model
    for _ in range(2):
        batch = Batch(
            input_ids_BT=None, attention_mask_BT=None, labels_BT=None, outputs=None, items=None
        )
        signals.forward(batch)
        signals.before_update(1, model)
        signals.step(process.moment, {})
        signals.state()
        signals.end()
    assert process.failures == {"one": "broken"}
    assert set(signals._on) == {"alone", "two"}
    assert signals.metrics == []


def test_the_state_of_each_signal_comes_back_to_it() -> None:
    process = Process()
    process.signals.step(process.moment, {})
    state = process.signals.state()
    assert state == {"one": {"seen": 1.0}, "two": {"seen": 1.0}}
    again = Signals(lambda name, error: pytest.fail(f"{name}: {error}"))
    start = Start(model=nn.Linear(1, 1), folder=Path())
    again.begin(start, {"one": {"seen": 3.0}, "gone": {"seen": 1.0}})
    assert again.state() == {"one": {"seen": 3.0}, "two": {"seen": 0.0}}


def test_the_real_signals_promise_a_vector_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.undo()
    failures: list[str] = []
    signals = Signals(lambda name, error: failures.append(f"{name}: {error}"))
    signals.begin(Start(model=nn.Linear(1, 1), folder=tmp_path), {})
    vector = signals.vector(signals.collect(), torch.device("cpu"))
    assert len(vector) == width() > 0
    assert failures == []
    signals.end()
