"""What each layer's adapters do: how far they moved, and how much the training loss depends on them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from heldout.records import Layers, LayerState
from heldout.signals.adapters import (
    Adapted,
    active_adapters,
    adapted,
    beside,
    left_out,
    trained_beside,
)
from heldout.signals.health import Health
from heldout.signals.impact import Impact
from heldout.signals.lora import (
    LoraStart,
    ModuleReading,
    layers_of,
    look_at_adapters,
    read_modules,
    start_of_run,
)
from heldout.signals.moment import Moment, Signal, Start, Values
from heldout.signals.onestep import OneStep
from heldout.signals.sampled import Sample, read_samples, samples_of_run

EVERY = 10
"""Steps between samples of the gradients, and between readings at first: most of the movement of a
run falls in its first hundred steps."""
SHARE_OF_RUN = 100
"""Later, the steps between readings double with the run's, and stay below 1 / `SHARE_OF_RUN` of them: a
million steps make 1,100 readings."""
COST = (
    "a pass over the adapters' factors at each reading, without a copy of the weights: 60 ms for 252 "
    "modules of r=16 shaped like an 8 B model's on one core. DoRA and tuners other than LoRA have their "
    "weights read whole, which takes many times as long. Gradients are sampled in between."
)
FROZEN = "every adapter is frozen: nothing of them is trained"
MOVED_BEFORE = (
    "{n} adapted modules are not read: their update was not zero when they were first seen, and only its "
    "size is known, not its change"
)
NO_IMPACT = (
    "no impact of adapters that did not start at zero: it would be that of their start as well"
)
CLIPPED = "gradients and impact are as clipped: with several processes or float16 it is not seen by how much"
CLIPPED_NOW = "gradients are as clipped, and left out of the impact: the clipping was not seen"
FREED = (
    "no gradients, impact or speed: the optimizer was done with the gradients before they could be read, as "
    "with DeepSpeed or where it is fused with the backward pass"
)
ADDED = "movement of the adapter {name} since step {step}, when it was first seen"
LEFT_OUT = (
    "modules that are trainable and called frozen have gradients, and no step changes them: the optimizer "
    "does not have them"
)
BESIDE = "{n} weights are trained beside the adapters and not read, such as {name}"
NOTHING = "nothing of two dimensions or more is trained"
NO_ADAPTERS = "no LoRA adapters: the trained weights themselves, from a sample of their entries"


class LoraLayers(Signal):
    """A `Layers` record at the first step, every 10 steps (later fewer), and at the last.

    Without LoRA it reads the trained weights themselves, from a sample of their entries.
    """

    def __init__(self) -> None:
        self._found: list[Adapted] = []
        self._active: list[tuple[Any, tuple[str, ...]]] = []
        self._beside: list[tuple[str, nn.Module]] = []
        """The modules with parameters that the adapters do not hold, by name."""
        self._start = LoraStart()
        self._samples: dict[str, Sample] = {}
        self._notes: list[str] = []
        """What holds for the whole run."""
        self._clipping_is_seen = False
        self._freed = False
        self._impact = Impact()
        self._one_step = OneStep()
        self._health = Health.after(0)
        self._loss: float | None = None
        self._read_at = -1

    def begin(self, start: Start) -> None:
        """Remember where the weights start, and which adapters cannot be read."""
        model = start.model
        self._health = Health.after(start.warmup_steps)
        unread = left_out(model)
        if unread:
            name, reason = next(iter(unread.items()))
            self._notes.append(f"{len(unread)} adapted modules are not read: {name}: {reason}")
        if not adapted(model):
            self._samples, note = ({}, "") if unread else samples_of_run(start)
            self._notes += [note] if note else []
            return
        self._clipping_is_seen = start.ranks == 1 and not start.loss_scaled
        self._start, note = start_of_run(start)
        self._notes += [note] if note else []
        self._notes += [] if self._clipping_is_seen else [CLIPPED]
        self._find(model)
        self._arm(start.step + 1)

    def before_update(self, step: int, model: nn.Module) -> None:
        """Sample the gradients; before a reading, copy factors to see what the step changes."""
        if self._active and self._looks(step):
            self._follow(step, model)
            self._freed = self._impact.are_freed(self._found)
            if self._freed or step % EVERY:
                self._impact.skip()
            else:
                self._health.gradients(self._impact.sample(self._found))
            if self._due(step) and not self._freed:
                self._one_step.before(self._found)
        self._arm(step + 1)

    def records(self, moment: Moment, values: Values) -> Sequence[Layers]:
        """A reading when one is due."""
        self._loss = values.get("loss/streaming", self._loss)
        if not (self._due(moment.step) or moment.last) or moment.step == self._read_at:
            return ()
        self._read_at = moment.step
        if self._active:
            self._follow(moment.step, moment.model)
        if self._found:
            return [self._read_adapters(moment)]
        if self._samples:
            modules, error = read_samples(moment.model, self._samples)
            text = f"{NO_ADAPTERS} (standard error {error:.1%})"
            return [_record(moment, modules, [text, *self._notes])]
        return [_record(moment, [], self._notes or [NOTHING])] if moment.step == 1 else ()

    def missing(self) -> str:
        """Adapters that are all frozen: a run that trains nothing of them."""
        frozen = self._found and not any(each.is_trained() for each in self._found)
        return FROZEN if frozen else ""

    def end(self) -> None:
        """Take the hook off."""
        self._impact.end()

    def state(self) -> dict[str, float]:
        """The running means of impact."""
        return self._impact.state()

    def restore(self, state: Mapping[str, float]) -> None:
        """Continue them."""
        self._impact.restore(state)

    def _due(self, step: int) -> bool:
        """Of the step alone, so that a resumed run reads where the whole one would have."""
        doublings = max(1, step // (EVERY * SHARE_OF_RUN)).bit_length() - 1
        return step == 1 or step % (EVERY << doublings) == 0

    def _looks(self, step: int) -> bool:
        return step % EVERY == 0 or self._due(step)

    def _arm(self, step: int) -> None:
        self._impact.armed = self._looks(step)

    def _find(self, model: nn.Module) -> None:
        """Look up the active adapters."""
        self._active, self._beside = active_adapters(model), beside(model)
        before = {each.name: each.adapters for each in self._found}
        self._found = [each for each in adapted(model) if self._start.is_known(each)]
        changed = [x.name for x in self._found if before.get(x.name, x.adapters) != x.adapters]
        self._impact.forget(changed)
        self._health.forget(changed)
        self._impact.begin(self._found, self._clipping_is_seen)

    def _follow(self, step: int, model: nn.Module) -> None:
        """Look them up again if they were switched or more were added."""
        if active_adapters(model) != self._active:
            _, off = look_at_adapters(model, self._start)
            self._notes += [ADDED.format(name=name, step=step) for name in off]
            self._find(model)

    def _read_adapters(self, moment: Moment) -> Layers:
        modules = read_modules(self._found, self._start)
        unchanged = self._one_step.after(self._found, modules)
        trained = {each.name: each.is_trained() for each in self._found}
        for each, module in zip(self._found, modules, strict=True):
            self._impact.tell(module)
            if self._start.not_at_zero(each):
                module.impact = None
        states = self._health.judge(
            moment.step, modules, trained, unchanged, self._loss, moment.learning_rate
        )
        for module in modules:
            module.state = states.get(module.name, "ok")
        left_out = any(trained[name] and state == "frozen" for name, state in states.items())
        return _record(moment, modules, self._noted(left_out), states)

    def _noted(self, left_out: bool) -> list[str]:
        """What a reader of the present numbers should know."""
        others = trained_beside(self._beside)
        there = {
            NO_IMPACT: any(map(self._start.not_at_zero, self._found)),
            MOVED_BEFORE.format(n=len(self._start.moved)): bool(self._start.moved),
            self.missing(): bool(self.missing()),
            CLIPPED_NOW: self._impact.clipped_unseen,
            FREED: self._freed,
            LEFT_OUT: left_out,
            BESIDE.format(n=len(others), name=next(iter(others), "")): bool(others),
        }
        return [*self._notes, *(text for text, holds in there.items() if holds)]


def _record(
    moment: Moment,
    modules: Sequence[ModuleReading],
    notes: Sequence[str],
    troubles: Mapping[str, LayerState] | None = None,
) -> Layers:
    return Layers(
        step=moment.step,
        time=time.time(),
        layers=layers_of(modules),
        note="; ".join(notes),
        troubles=dict(troubles or {}),
    )


SIGNAL = LoraLayers
