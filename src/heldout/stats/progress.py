"""From evaluations of one fixed set to: better, flat or worse, and which checkpoint to keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heldout.stats.best import Best, best
from heldout.stats.change import Change, last_change
from heldout.stats.groups import Groups
from heldout.stats.helped import finite
from heldout.stats.keep import Merit, merit
from heldout.stats.stopping import Stopping, stopping
from heldout.stats.tied import tied_set

ECE_RISE = 1.2
"""The calibration drift of the contract: ECE more than 20 % above its best."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Progress:
    """What the evaluations so far say; indices count evaluations from 0."""

    change: Change
    fell_before: bool
    """Whether the evaluation before the last was called regressing as well."""
    stopping: Stopping
    merit: Merit
    groups_N: Groups
    best: Best | None
    """The highest exact match, whatever it is worth."""
    tied: list[int]
    """Those that chance alone may tell from the best, by what decides."""
    ece_rise: bool

    def facts(self, steps: Sequence[int]) -> dict[str, Any]:
        """The contract's conclusions by their promised names; `steps` are those of the evaluations."""
        return {
            **self.change.facts(),
            "em_reference": steps[self.change.reference],
            "best_em": self.best.score if self.best else None,
            "best_em_corrected": self.best.corrected if self.best else None,
            "best_em_step": steps[self.best.index] if self.best else None,
            "best_by": self.merit.by,
            "ece_rise": self.ece_rise,
        }


def progress(
    correct_KN: NDArray[np.bool_],
    ce_KN: NDArray[np.float64],
    ece_K4: NDArray[np.float64],
    margin: float | None = None,
    *,
    planned: int = 0,
    groups_N: Groups = None,
    pinned: int | None = None,
    ordered: bool = True,
) -> Progress:
    """Judge K >= 1 evaluations of the same N examples, oldest first.

    `ce_KN` holds the cross-entropy of each example, and `ece_K4` each evaluation's ECE, the ends of its
    interval, and what chance alone would show. `planned` is the number of evaluations at the end of the
    run, 0 where nobody knows. `margin` is the change in exact match that does not matter (None: what the
    set can show), `groups_N` numbers the examples that belong together (`number_groups`), `pinned` is
    the index of the evaluation to compare with, where one is wanted, and `ordered` says that the
    evaluations are of one run, in the order of its steps.
    """
    score_KN, ce_KN = correct_KN.astype(np.float64), finite(ce_KN)

    def changed(looks: int) -> Change:
        return last_change(
            score_KN[:looks],
            ce_KN[:looks],
            margin=margin,
            planned=planned,
            groups_N=groups_N,
            pinned=pinned,
        )

    looks = len(score_KN)
    found = merit(score_KN, ce_KN, planned, ordered)
    return Progress(
        change=changed(looks),
        fell_before=looks > 2 and changed(looks - 1).trend == "regressing",
        stopping=stopping(score_KN, ce_KN, planned=planned, margin=margin, groups_N=groups_N),
        merit=found,
        groups_N=groups_N,
        best=best(score_KN, groups_N),
        tied=tied_set(score_KN if found.by == "em" else -ce_KN, groups_N=groups_N),
        ece_rise=_ece_rise(ece_K4),
    )


def _ece_rise(ece_K4: NDArray[np.float64]) -> bool:
    """True when the last ECE is 20 % above the best, by more than its null and both intervals allow."""
    known = ece_K4[np.isfinite(ece_K4[:, 0])]
    if len(ece_K4) < 2 or not len(known):
        return False
    best, last = known[known[:, 0].argmin()], ece_K4[-1]
    apart = last[1] > best[2] and last[0] - best[0] > last[3]
    return bool(last[0] > ECE_RISE * best[0] and apart)
