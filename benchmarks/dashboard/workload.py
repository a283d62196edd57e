"""The numbers that every dashboard shows: the same in all of them, full precision, made once a size.

A metric is a noisy decaying curve, as a loss is. Four values stand out, each for one step: a spike, a
dip, a NaN and an infinity, in four metrics where there are twenty and all in the one where there is one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NAMES = tuple(f"m{i:02d}" for i in range(20))
SEED = 6
CHUNK = 10_000
"""Steps that are made and written at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Oddity:
    """One value of one metric that a picture must not lose."""

    kind: str
    name: str
    step: int
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much there is to show."""

    name: str
    steps: int
    scalars: int

    @property
    def title(self) -> str:
        return f"{self.steps:,} steps x {self.scalars}"

    @property
    def names(self) -> tuple[str, ...]:
        return NAMES[: self.scalars]

    @property
    def oddities(self) -> tuple[Oddity, ...]:
        """Where they stand: away from the edges of the picture and of any power of two."""
        places = (
            ("dip", 8, 0.3819, -1000.0),
            ("NaN", 3, 0.4567, math.nan),
            ("spike", 7, 0.6181, 1000.0),
            ("Infinity", 4, 0.7283, math.inf),
        )
        return tuple(
            Oddity(
                kind=kind,
                name=NAMES[metric if self.scalars > metric else 0],
                step=int(share * self.steps) + 1,
                value=value,
            )
            for kind, metric, share, value in places
        )


SIZES: Mapping[str, Size] = {
    size.name: size
    for size in (
        Size(name="100k", steps=100_000, scalars=20),
        Size(name="1m1", steps=1_000_000, scalars=1),
        Size(name="1m20", steps=1_000_000, scalars=20),
    )
}
LIVE = Size(name="live", steps=0, scalars=20)
"""A run that grows while it is watched."""


def values_file(work: Path, size: Size) -> Path:
    """Return the file of a size's numbers, float64 [step - 1, metric], and make it if need be."""
    path = work / "values" / f"{size.name}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        half_made = path.with_suffix(".half.npy")
        np.save(half_made, curves(size))
        half_made.rename(path)
    return path


def curves(size: Size) -> Floats:
    """Return float64 [step - 1, metric]."""
    generator = np.random.default_rng(SEED)
    steps = np.arange(1, size.steps + 1, dtype=np.float64)
    columns = np.empty((size.steps, size.scalars))
    for metric in range(size.scalars):
        trend = 0.5 + 2.5 * np.exp(-steps / size.steps * (3 + metric / 4))
        columns[:, metric] = trend * np.exp(0.1 * generator.standard_normal(size.steps))
    for oddity in size.oddities:
        columns[oddity.step - 1, NAMES.index(oddity.name)] = oddity.value
    return columns
