"""Whether the trained weights still are numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from heldout.records import Metric
from heldout.signals.moment import Moment, Signal, Start, Values, to_host

EVERY = 10
"""Steps between looks. A weight that is NaN and used shows in the next step's loss at once; this
finds the ones that are not (experts without tokens), and says which steps left NaN behind for good."""


class FiniteWeights(Signal):
    """Counts trained tensors that hold a NaN or an infinity, every `EVERY` steps and at the last."""

    metrics = (
        Metric(
            name="weights/non_finite",
            title="Non-finite weights",
            unit="tensors",
            direction="lower",
            help="Trained tensors that hold a NaN or an infinity.",
            source="Euclidean norm of each trained tensor: a NaN or an infinity in it stays one",
            cost=f"reads every trained weight once in {EVERY} steps: 0.25 ms a million on one core",
        ),
    )

    def __init__(self) -> None:
        self._recorded = 1

    def begin(self, start: Start) -> None:
        """Note at which steps numbers come to the host: others are recorded later than they were."""
        self._recorded = start.options.every

    @torch.no_grad()
    def step(self, moment: Moment, numbers: Sequence[float]) -> Values:
        """Look when it is due; waits for the device once, and once for each tensor in doubt."""
        on_host = moment.step % self._recorded == 0
        due = on_host and moment.step // EVERY > (moment.step - self._recorded) // EVERY
        if not due and not moment.last:
            return {}
        weights = [w.detach() for w in moment.model.parameters() if w.requires_grad and w.numel()]
        if not weights:
            return {}
        norms = to_host(torch._foreach_norm(weights))
        suspects = [w for w, norm in zip(weights, norms, strict=True) if not math.isfinite(norm)]
        # a norm of finite weights can be too large for their own type: float16 ends at 65,504
        return {"weights/non_finite": float(sum(not w.isfinite().all() for w in suspects))}


SIGNAL = FiniteWeights
