"""Exact match no longer rises, and the learning rate will not change that.

Checks: the paired 95 % interval of the change in exact match over the last three evaluations lies
inside the margin (`eval.margin`) and no earlier evaluation was surely better, and the learning rate
is at most half its peak or follows a constant schedule. It opens while steps are left, and is closed
where the run has finished: there is nothing to stop any more.

Why: steps after the plateau cost compute and calibration and buy nothing that can be measured.

What to do: stop and keep the recommended checkpoint; spend the rest of the budget on the patterns
that are weak.

When it is wrong: a plateau at a high learning rate often ends when the rate falls, which is why
that case is excluded. A set too small for its margin never shows a plateau: the trend then says
inconclusive, and prints the change it could have seen.

Source: equivalence testing (Schuirmann 1987) with the interval of Bonett and Price 2012.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heldout.derive.history import History
from heldout.derive.progress import fixed_eval
from heldout.derive.recommended import RECOMMENDED
from heldout.records import EvalResult
from heldout.stats.change import WINDOW
from heldout.verdicts.rule import Ends, Finding, NotChecked, Rule


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    fallen: float = 0.5
    """A plateau before the learning rate has fallen to this share of its peak is not a plateau: over 23
    replayed logs the gate brought the regret of a patience of 3 from 0.0097 to 0.0016 (docs/alerts.md)."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find a flat stretch of exact match that a falling learning rate does not promise to end."""
    if len(history.evals) <= WINDOW:
        return NotChecked(f"needs {WINDOW + 1} evaluations, has {len(history.evals)}")
    now = fixed_eval(history)
    if now["em_trend"] != "plateau" or not learning_rate_fell(history, limits.fallen):
        return []
    text = (
        f"EM plateau since step {now['em_reference']}: {now['em']:.1%} "
        f"[{now['em_low']:.1%}, {now['em_high']:.1%}] of {now['n']}"
    )
    action = f"Consider stopping. Best checkpoint: {RECOMMENDED if now['best_ckpt'] else 'none saved yet'}"
    keys = ("em", "n", "em_change", "em_change_low", "em_change_high", "margin", "em_reference")
    evidence = {key: now[key] for key in keys}
    left = history.run is None or history.step < history.run.total_steps
    return [
        Finding(
            level="warning",
            message=text,
            action=action,
            evidence=evidence,
            stage="open" if left else "holding",  # after the last step there is nothing to stop
        )
    ]


def learning_rate_fell(history: History, share: float) -> bool:
    """True when the learning rate is at most `share` of its peak, constant by schedule, or unknown."""
    rate = history.columns.get("learning_rate")
    constant = history.run is not None and history.run.learning_rate.startswith("constant")
    return constant or not len(rate) or not rate.last > share * float(np.nanmax(rate.values))


RULE = Rule(
    name="plateau",
    check=check,
    limits=Limits(),
    on=(EvalResult,),
    silenced_by=("loss-not-finite", "divergence"),
    ends=Ends("stop", "info"),
)
