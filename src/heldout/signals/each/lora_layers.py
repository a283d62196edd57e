"""How far each layer's adapters have moved, read every so many steps."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from torch import nn

from heldout.records import Layers, Record
from heldout.signals.lora import LoraStart, capture_lora_initial_state, read_layers, unreadable
from heldout.signals.moment import Moment, Signal

EVERY = 10
"""Steps between readings: most of the movement of a run falls in its first hundred steps."""
NO_LORA = "this model has no LoRA adapters"


class LoraLayers(Signal):
    """A `Layers` record every `EVERY` steps, at the first and at the last.

    Where there is no LoRA, one with a note that says so.
    """

    def __init__(self) -> None:
        self._start = LoraStart()
        self._note = ""
        self._silent = False

    def begin(self, model: nn.Module) -> None:
        """Remember where the adapters start, and which ones cannot be read."""
        self._start = capture_lora_initial_state(model)
        left_out = unreadable(model)
        if left_out:
            self._note = f"{len(left_out)} adapted modules are not read: {left_out[0]}"

    def state(self) -> dict[str, float]:
        """Whether the adapters started at zero, where a resumed run needs no copy of the start."""
        return {"from_zero": float(not self._start.factors)}

    def restore(self, state: Mapping[str, float]) -> None:
        """Measure from the run's own start; from the checkpoint, and say so, where that is lost."""
        if state["from_zero"]:
            self._start.factors.clear()
        else:
            self._note = "movement since the run was resumed: these adapters did not start at zero"

    def records(self, moment: Moment) -> Sequence[Record]:
        """A reading when one is due."""
        due = moment.step == 1 or moment.step % EVERY == 0 or moment.last
        if self._silent or not due:
            return ()
        layers = read_layers(moment.model, self._start)
        self._silent = not layers
        note = self._note or ("" if layers else NO_LORA)
        return [Layers(step=moment.step, time=time.time(), layers=layers, note=note)]


SIGNAL = LoraLayers
