"""The held-out loss of a run: the fixed set's cross-entropy, else the Trainer's own evaluation losses."""

from __future__ import annotations

import math
from dataclasses import dataclass

from heldout.derive.eval_curve import loss_curves
from heldout.derive.history import History
from heldout.derive.schedule import rewarded


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The finite held-out losses of one kind, in order."""

    steps: list[int]
    losses: list[float]

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def best(self) -> int:
        """The position of the lowest loss. Raises `ValueError` where there is none."""
        return self.losses.index(min(self.losses))


NONE = HeldOut([], [])


def held_out(history: History) -> HeldOut:
    """Return the held-out losses; costs next to nothing while no evaluation comes in.

    Of several evaluation sets of the Trainer those of the first by name.
    """
    return next(iter(held_out_by_set(history).values()), NONE)


def held_out_by_set(history: History) -> dict[str, HeldOut]:
    """Return the held-out losses by evaluation set; "" is the fixed set, or the only one.

    Where preferences or rewards are trained on, the cross-entropy of the golden answers may rise while
    they are said more often: there the Trainer's own evaluation, of the loss trained on, counts alone.
    """
    if history.evals and not rewarded(history):
        return {"": history.remember("held-out losses", lambda: _fixed(history))}
    return {
        curve.chosen.scope: HeldOut(curve.steps, curve.losses) for curve in loss_curves(history)
    }


def _fixed(history: History) -> HeldOut:
    known = [(result.step, result.ce) for result in history.evals if math.isfinite(result.ce)]
    return HeldOut([step for step, _ in known], [ce for _, ce in known])
