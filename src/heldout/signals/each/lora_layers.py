"""How far each layer's adapters have moved, read every so many steps."""

from __future__ import annotations

import time
from collections.abc import Sequence

from torch import nn

from heldout.records import Layers, Record
from heldout.signals.lora import LoraStart, capture_lora_initial_state, read_layers, unreadable
from heldout.signals.moment import Moment, Signal

EVERY = 10
"""Steps between readings: most of the movement of a run falls in its first hundred steps."""
NO_LORA = "this model has no LoRA adapters"


class LoraLayers(Signal):
    """A `Layers` record every `EVERY` steps and at the first; once with a note where there is no LoRA.

    A reading costs about 0.1 s for 252 modules of rank 16 on a CPU.
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

    def records(self, moment: Moment) -> Sequence[Record]:
        """A reading when one is due."""
        if self._silent or (moment.step != 1 and moment.step % EVERY):
            return ()
        layers = read_layers(moment.model, self._start)
        self._silent = not layers
        note = self._note or ("" if layers else NO_LORA)
        return [Layers(step=moment.step, time=time.time(), layers=layers, note=note)]


SIGNAL = LoraLayers
