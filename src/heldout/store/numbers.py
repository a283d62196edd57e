"""Numbers out of what a log holds in their place, with a tally of what was none."""

from __future__ import annotations

from typing import Any

MOST_STEPS = 2**53
"""Beyond it a step is no step, and floats cannot tell two of them apart."""
SHOWN = 40
"""Characters of a strange value that a message shows."""


class Numbers:
    """Turns cells into floats; what is no number is left out, counted and told in `remarks`."""

    def __init__(self) -> None:
        self._bad: dict[str, tuple[int, str, str]] = {}
        self._texts = 0

    def of(self, name: str, value: Any, where: str) -> float | None:
        """`value` as a float, None where it is no number; `where` is its place, as "row 3".

        Text that spells a number counts as one; True and False are 1 and 0, as in a run that is watched.
        """
        if isinstance(value, int | float | str):
            try:
                number = float(value)
            except (ValueError, OverflowError):
                pass
            else:
                self._texts += isinstance(value, str)
                return number
        count, first, shown = self._bad.get(name, (0, where, repr(value)[:SHOWN]))
        self._bad[name] = count + 1, first, shown
        return None

    def remarks(self, *, texts: bool = True) -> list[str]:
        """One sentence for each name with values that were no number; `texts` tells of spelled ones."""
        found = [
            f"{name!r} holds no number {count:,} times (first in {where}: {shown}); left out"
            for name, (count, where, shown) in self._bad.items()
        ]
        if texts and self._texts:
            found.append(f"{self._texts:,} numbers are written as text; read as numbers")
        return found


def step_of(value: Any) -> int | None:
    """`value` as an optimizer step, None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
        step = int(number)
    except (ValueError, OverflowError):
        return None
    return step if step == number and 0 <= step < MOST_STEPS else None
