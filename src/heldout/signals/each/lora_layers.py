"""What each layer's adapters do: how far they moved, and how much the training loss depends on them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from torch import nn

from heldout.records import Layers, LayerState
from heldout.signals.adapters import Adapted, adapted, left_out, still_there
from heldout.signals.health import Health
from heldout.signals.impact import Impact
from heldout.signals.lora import ModuleReading, layers_of, read_modules, start_of_run
from heldout.signals.moment import Moment, Signal, Start, Values
from heldout.signals.onestep import OneStep
from heldout.signals.sampled import Sample, read_samples, take_samples

EVERY = 10
"""Steps between samples of the gradients, and between readings at first: most of the movement of a
run falls in its first hundred steps."""
SHARE_OF_RUN = 100
"""Later, the steps between readings double with the run's, and stay below 1 / `SHARE_OF_RUN` of them: a
million steps make 1,100 readings."""
COST = (
    "a pass over the adapters' factors at each reading, without a copy of the weights: 50 ms for 252 "
    "modules of r=16 shaped like an 8 B model's on one core. DoRA and tuners other than LoRA have their "
    "weights read whole, which takes many times as long. Gradients are sampled in between."
)
FROZEN = "every adapter is frozen: nothing of them is trained"
MOVED_BEFORE = (
    "{n} adapted modules are not read: their update was not zero when the run began, and only its size "
    "is known, not its change"
)
NO_IMPACT = (
    "no impact of adapters that did not start at zero: it would be that of their start as well"
)
CLIPPED = "gradients and impact are as clipped: with several processes or float16 it is not seen by how much"
NOTHING = "nothing of two dimensions or more is trained"
NO_ADAPTERS = "no LoRA adapters: the trained weights themselves, from a sample of their entries"


class LoraLayers(Signal):
    """A `Layers` record at the first step, every 10 steps (later fewer), and at the last.

    Without LoRA it reads the trained weights themselves, from a sample of their entries.
    """

    def __init__(self) -> None:
        self._found: list[Adapted] = []
        self._samples: dict[str, Sample] = {}
        self._notes: list[str] = []
        self._impact = Impact()
        self._one_step = OneStep()
        self._health = Health.after(0)
        self._loss: float | None = None
        self._read_at = -1

    def begin(self, start: Start) -> None:
        """Remember where the weights start, and which adapters cannot be read."""
        model = start.model
        self._health = Health.after(start.warmup_steps)
        self._found, unread = adapted(model), left_out(model)
        if unread:
            name, reason = next(iter(unread.items()))
            self._notes.append(f"{len(unread)} adapted modules are not read: {name}: {reason}")
        if not self._found:
            self._samples = {} if unread else take_samples(model)
            return
        self._start, note = start_of_run(start)
        self._found = self._readable(model)
        self._notes += [note] if note else []
        self._notes += [MOVED_BEFORE.format(n=len(self._start.moved))] if self._start.moved else []
        self._notes += [NO_IMPACT] if self._start.factors else []
        self._notes += [self.missing()] if self.missing() else []
        clipping_is_seen = start.ranks == 1 and not start.loss_scaled
        self._notes += [] if clipping_is_seen else [CLIPPED]
        self._impact.begin(self._found, clipping_is_seen)
        self._impact.armed = (start.step + 1) % EVERY == 0

    def before_update(self, step: int, model: nn.Module) -> None:
        """Sample the gradients; before a reading, copy factors to see what the step changes."""
        if self._found and step % EVERY == 0:
            self._health.gradients(self._impact.sample(self._found))
        self._impact.armed = (step + 1) % EVERY == 0
        if self._found and self._due(step):
            self._one_step.before(self._found)

    def records(self, moment: Moment, values: Values) -> Sequence[Layers]:
        """A reading when one is due."""
        self._loss = values.get("loss/streaming", self._loss)
        if not (self._due(moment.step) or moment.last) or moment.step == self._read_at:
            return ()
        self._read_at = moment.step
        if self._found:
            return [self._read_adapters(moment)]
        if self._samples:
            modules, error = read_samples(moment.model, self._samples)
            return [_record(moment, modules, [f"{NO_ADAPTERS} (standard error {error:.1%})"])]
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

    def _readable(self, model: nn.Module) -> list[Adapted]:
        return [each for each in adapted(model) if each.name not in self._start.moved]

    def _read_adapters(self, moment: Moment) -> Layers:
        if moment.last or not still_there(self._found):
            self._found = self._readable(moment.model)
        modules = read_modules(self._found, self._start)
        unchanged = self._one_step.after(self._found, modules)
        trained = {each.name: each.is_trained() for each in self._found}
        states = self._health.judge(moment.step, modules, trained, unchanged, self._loss)
        for module in modules:
            module.state = states.get(module.name, "ok")
            self._impact.tell(module)
            if module.name in self._start.factors:
                module.impact = None
        return _record(moment, modules, self._notes, states)


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
