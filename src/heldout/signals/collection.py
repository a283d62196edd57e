"""All signals of one process, and the one transfer that brings their numbers to the host."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

import heldout.signals.each
from heldout.folder import load
from heldout.kinds import LANGUAGE_MODEL, kind_of
from heldout.records import AnyRecord, Metric, Record
from heldout.signals.moment import (
    Batch,
    Moment,
    Number,
    Signal,
    Start,
    Values,
    stacked_on,
    to_host,
)

Failed = Callable[[str, Exception], None]
"""Told the name of a signal that threw; the signal is off from then on."""
Kept = dict[str, tuple[Number, ...]]
"""What each signal collected in one step, still on the device."""
Numbers = dict[str, list[float]]
"""The same on the host."""


def width(without: Collection[str] = ()) -> int:
    """The length of one step's vector: a flag a signal that collects, and its sums."""
    return sum(1 + x.width for name, x in _all().items() if x.width and name not in without)


class Signals:
    """Every file of `heldout.signals.each`, guarded: one that throws, or answers with something else than
    it promised, is off for the rest of the run.

    `counting` keeps only the signals that each process of a distributed run needs for the sums.
    """

    def __init__(
        self, failed: Failed, without: Collection[str] = (), counting: bool = False
    ) -> None:
        self._failed = failed
        self._on: dict[str, Signal] = {}
        self._having: dict[str, list[tuple[str, Any]]] = {}
        self._kind = LANGUAGE_MODEL
        self._makers = {
            name: make
            for name, make in _all().items()
            if name not in without and (make.width or not counting)
        }

    @property
    def metrics(self) -> list[Metric]:
        """What the numbers mean."""
        return [
            metric
            for name, signal in list(self._on.items())
            for metric in self._guard(name, _metrics, signal) or ()
        ]

    def begin(self, start: Start, state: Mapping[str, Mapping[str, float]]) -> None:
        """Show every signal the model; `state` is what `state()` gave when a checkpoint was saved."""
        self._kind = kind_of(start.model)
        for name, make in self._makers.items():
            signal: Signal | None = self._guard(name, make)
            if signal is None:
                continue
            self._on[name] = signal
            self._having = {}
            self._guard(name, signal.begin, start)
            if name in state and name in self._on:
                self._guard(name, signal.restore, state[name])

    def forward(self, batch: Batch) -> None:
        """A training micro-batch went through the model."""
        if self._kind is not batch.kind:
            batch = msgspec.structs.replace(batch, kind=self._kind)
        for name, call in self._each("forward"):
            try:
                call(batch)
            except Exception as error:
                self._off(name, error)

    def before_update(self, step: int, model: nn.Module) -> None:
        """The gradients of the coming step are complete."""
        for name, call in self._each("before_update"):
            self._guard(name, call, step, model)

    def collect(self) -> Kept:
        """What each signal kept on the device in the step that ended."""
        kept: Kept = {}
        for name, call in self._each("collect"):
            try:
                kept[name] = _promised(call(), self._makers[name].width)
            except Exception as error:
                kept[name] = ()
                self._off(name, error)
        return kept

    def step(self, moment: Moment, numbers: Mapping[str, Sequence[float]]) -> dict[str, float]:
        """Every signal's numbers at a step."""
        values: dict[str, float] = {}
        for name, call in self._each("step"):
            try:
                if found := call(moment, numbers.get(name, ())):
                    values.update(_values(found))
            except Exception as error:
                self._off(name, error)
        return values

    def records(self, moment: Moment, values: Values) -> list[AnyRecord]:
        """Every signal's other facts at a step."""
        return [
            record
            for name, call in self._each("records")
            for record in self._guard(name, call, moment, values, promised=_records) or ()
        ]

    def log(self, logs: Mapping[str, float]) -> dict[str, float]:
        """What the signals take from the Trainer's log."""
        values: dict[str, float] = {}
        for name, call in self._each("log"):
            values.update(self._guard(name, call, logs, promised=_values) or {})
        return values

    def missing(self) -> list[str]:
        """One sentence a signal that has nothing to show."""
        return [
            text
            for name, call in self._each("missing")
            if (text := self._guard(name, call, promised=_text))
        ]

    def end(self) -> None:
        """Watching is over."""
        for name, call in self._each("end"):
            self._guard(name, call)

    def state(self) -> dict[str, dict[str, float]]:
        """What a resumed run needs, by signal."""
        return {
            name: state
            for name, call in self._each("state")
            if (state := self._guard(name, call, promised=_values))
        }

    def vector(self, kept: Kept, device: torch.device) -> Tensor:
        """One step's sums as a vector of the same length in every process.

        Each signal is a flag, then its sums: 0 where it collected nothing, 1 where it did, NaN
        where it is off.
        """
        places: list[Number] = []
        for name, make in self._makers.items():
            found = kept.get(name, ())
            flag = math.nan if name not in self._on else float(bool(found))
            if make.width:
                places += [flag, *(found or [0.0] * make.width)]
        return stacked_on(device, places)

    def of_vector(self, numbers: Sequence[float]) -> Numbers:
        """The sums over all processes by signal, from the sum of their vectors."""
        found, at = {}, 0
        for name, make in self._makers.items():
            if not make.width:
                continue
            flag, sums = numbers[at], list(numbers[at + 1 : at + 1 + make.width])
            at += 1 + make.width
            if math.isnan(flag) and name in self._on:
                self._off(name, RuntimeError("it failed in another process"))
            elif flag:
                found[name] = sums
        return found

    def _each(self, method: str) -> list[tuple[str, Any]]:
        """The signals that have a `method` of their own, and it."""
        if method not in self._having:
            plain = getattr(Signal, method)
            self._having[method] = [
                (name, getattr(signal, method))
                for name, signal in self._on.items()
                if getattr(type(signal), method) is not plain
            ]
        return self._having[method]

    def _guard(
        self,
        name: str,
        call: Callable[..., Any],
        *args: Any,
        promised: Callable[[Any], Any] | None = None,
    ) -> Any:
        """Call, and take the answer for what was `promised`; None where either throws."""
        try:
            found = call(*args)
            if promised is None:
                return found
            return promised(found) if found else None
        except Exception as error:
            self._off(name, error)
            return None

    def _off(self, name: str, error: Exception) -> None:
        self._on.pop(name, None)
        self._having = {}
        self._failed(name, error)


def _all() -> dict[str, type[Signal]]:
    """Every signal's class by its file's name."""
    made = load(heldout.signals.each, "SIGNAL")
    return {make.__module__.rsplit(".", 1)[-1]: make for make in made}


def _metrics(signal: Signal) -> list[Metric]:
    return _all_of(Metric, signal.metrics)


def _records(found: Iterable[AnyRecord]) -> list[AnyRecord]:
    return _all_of(Record, found)


def _all_of(kind: type, found: Iterable[Any]) -> list[Any]:
    """List `found`; raises `TypeError` where it is not made of `kind`."""
    found = list(found)
    for x in found:
        if not isinstance(x, kind):
            raise TypeError(f"{kind.__name__}s were promised, found {x!r}")
    return found


def _values(found: Values) -> Values:
    """Numbers by name, as floats; raises `TypeError` or `OverflowError` where they are not that."""
    for name, x in found.items():
        if type(x) is not float or type(name) is not str:
            return {_text(name): _float(x) for name, x in found.items()}
    return found


def _float(x: object) -> float:
    """A number of Python, numpy or torch as Python's float; a text that spells one is none."""
    if isinstance(x, str) or not hasattr(x, "__float__"):
        raise TypeError(f"a number was promised, found {x!r}")
    return float(x)


def _text(found: object) -> str:
    if not isinstance(found, str):
        raise TypeError(f"a text was promised, found {found!r}")
    return found


def _promised(found: Sequence[Number], width: int) -> tuple[Number, ...]:
    """What a signal collected, if that is nothing or `width` numbers; raises `ValueError` if not."""
    found = tuple(found)
    if found and (len(found) != width or not all(map(_is_number, found))):
        raise ValueError(f"{width} numbers were promised, found {found}")
    return found


def _is_number(x: object) -> bool:
    """Whether it is one; raises `OverflowError` where that is an integer beyond every float."""
    if isinstance(x, Tensor):
        return not x.dim()
    return isinstance(x, float) or (isinstance(x, int) and math.isfinite(x))


def on_host(kept: Sequence[Kept]) -> list[Numbers]:
    """Several steps' sums as numbers, brought to the host in one transfer."""
    numbers = to_host([x for step in kept for sums in step.values() for x in sums])
    found, at = [], 0
    for step in kept:
        by_name: Numbers = {}
        for name, sums in step.items():
            by_name[name] = numbers[at : at + len(sums)]
            at += len(sums)
        found.append(by_name)
    return found
