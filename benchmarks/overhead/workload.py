"""The scalars that every tool logs: twenty a step, the same in every run."""

from __future__ import annotations

import math
from collections.abc import Mapping

NUM_SCALARS = 20
NAMES = tuple(f"m{i:02d}" for i in range(NUM_SCALARS))


def scalars(step: int) -> dict[str, float]:
    """Return the values of one step: full-precision floats, as means over a batch are."""
    return {name: math.sin(step / 50 + i) for i, name in enumerate(NAMES)}


def num_right(step: int, values: Mapping[str, object]) -> int:
    """Count the values read back that are those logged, to the float32 that TensorBoard keeps."""
    return sum(
        isinstance(found := values.get(name), float | int)
        and math.isclose(found, value, rel_tol=1e-6, abs_tol=1e-9)
        for name, value in scalars(step).items()
    )
