"""What is wrong with single adapted modules: the states of the LoRA panel.

A state needs several samples in a row, and warm-up is left alone: B is exactly zero at the first
step, A's gradient too, and rank and movement say nothing before anything is learnt. Thresholds were
measured on small real runs: live modules never moved less than 31 % of their peers' median, dead ones
do not move at all, so 1 % has a wide margin.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from heldout.records import LayerState
from heldout.signals.lora import ModuleReading

AFTER_WARM_UP = 20
EARLIEST = 50
"""Optimizer steps before any state but a non-finite factor is told."""
IN_A_ROW = 3
STALLED = 0.01
"""Share of the peers' median movement below which a module has stalled."""
PEERS = 4
DEAD_SAMPLES = 20
"""Samples with a gradient of exactly zero, and no movement, that make a module dead."""
ROUNDED = 0.9
"""Share of entries that one step leaves unchanged, in half precision."""
MOVED_TOO_FAR, LOSS_ROSE = 1.0, 1.2
"""Median movement over all modules, and loss over its lowest, that together are a blow-up."""


@dataclass(slots=True)
class _Record:
    samples: int = 0
    dead: int = 0
    stalled: int = 0
    rounding: int = 0
    left_out: int = 0
    """Readings in a row with a gradient and no movement at all: the optimizer does not know it."""


@dataclass(slots=True)
class Health:
    """Follows every module by name; `first` is the first step at which states are told."""

    first: int
    _records: dict[str, _Record] = field(default_factory=dict)
    _lowest_loss: float = math.inf

    @classmethod
    def after(cls, warmup_steps: int) -> Health:
        """For a run of so many warm-up steps."""
        return cls(first=max(EARLIEST, warmup_steps + AFTER_WARM_UP))

    def forget(self, names: Iterable[str]) -> None:
        """Start these modules' counts anew: other adapters are active in them."""
        for name in names:
            self._records.pop(name, None)

    def gradients(self, squares: Mapping[str, float]) -> None:
        """Take a sample of the gradients' square norms by module."""
        for name, square in squares.items():
            record = self._of(name)
            record.samples += 1
            record.dead += square == 0

    def judge(
        self,
        step: int,
        readings: Sequence[ModuleReading],
        trained: Mapping[str, bool],
        unchanged: Mapping[str, float],
        loss: float | None,
        learning_rate: float | None = None,
    ) -> dict[str, LayerState]:
        """Return the modules that are not ok.

        `unchanged` is the share of half-precision entries the last step left as they were, where it
        was looked at; `loss` the smoothed training loss. A step at `learning_rate` 0 says nothing of
        what its optimizer moves; None is an unknown one.
        """
        early = step < self.first
        moving = learning_rate is None or learning_rate > 0
        away = self._blown_up(readings, loss) and not early
        peers = _medians(readings)
        found: dict[str, LayerState] = {}
        for reading in readings:
            record, far = self._of(reading.name), reading.relative
            middle = peers.get(_kind(reading))
            slow = middle is not None and far is not None and far < STALLED * middle
            record.stalled = record.stalled + 1 if slow and not early else 0
            if moving and reading.speed_square is not None and reading.name not in unchanged:
                still = reading.square == 0 and reading.speed_square == 0
                left_out = still and 0 < (reading.grad_square or 0) < math.inf
                record.left_out = record.left_out + 1 if left_out else 0
            if moving and reading.name in unchanged:
                rounds = unchanged[reading.name] >= ROUNDED and not early
                record.rounding = record.rounding + 1 if rounds else 0
            dead = record.samples >= DEAD_SAMPLES and record.dead == record.samples
            if not math.isfinite(reading.square) or (away and far is not None and far > 1):
                found[reading.name] = "blow-up"
            elif not trained.get(reading.name, True) or record.left_out >= IN_A_ROW:
                found[reading.name] = "frozen"
            elif dead and reading.square == 0 and not early:
                found[reading.name] = "no-gradient"
            elif record.stalled >= IN_A_ROW:
                found[reading.name] = "stalled"
            elif record.rounding >= IN_A_ROW:
                found[reading.name] = "rounding"
        return found

    def _of(self, name: str) -> _Record:
        return self._records.setdefault(name, _Record())

    def _blown_up(self, readings: Sequence[ModuleReading], loss: float | None) -> bool:
        """Whether the typical module has moved further than its own size and the loss has risen."""
        if loss is None or not math.isfinite(loss):
            return False
        self._lowest_loss = min(self._lowest_loss, loss)
        moved = [far for x in readings if (far := _finite(x)) is not None]
        far = bool(moved) and median(moved) > MOVED_TOO_FAR
        return far and loss > LOSS_ROSE * self._lowest_loss


def _kind(reading: ModuleReading) -> tuple[str, str]:
    return reading.place.stack, reading.place.leaf


def _finite(reading: ModuleReading) -> float | None:
    """The module's movement, None where it is not known or no number: a NaN has no place in order."""
    far = reading.relative
    return far if far is not None and math.isfinite(far) else None


def _medians(readings: Sequence[ModuleReading]) -> dict[tuple[str, str], float]:
    """The median movement of each kind of module with enough peers, experts aside."""
    moved: dict[tuple[str, str], list[float]] = {}
    for reading in readings:
        far = _finite(reading)
        if far is not None and "expert" not in reading.place.leaf:
            moved.setdefault(_kind(reading), []).append(far)
    return {kind: median(found) for kind, found in moved.items() if len(found) >= PEERS}
