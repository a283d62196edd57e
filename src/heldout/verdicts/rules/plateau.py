"""Exact match no longer rises, and the learning rate will not change that.

Checks: from one fifth of the planned evaluations to the next, three at least, exact match rises by less than
1.75 points (or `eval.margin`, where it is a number), as sure as 90 %, paired example by example and with
checkpoints that wobble by half a point; held-out cross-entropy falls by less than 2 %; and the learning rate
is at most half its peak or follows a constant schedule. Where exact match cannot tell, since hardly an answer
was ever right or none changed, cross-entropy decides, and the message says so. Where a reward or a preference
is trained, none is found while that may still rise over the same evaluations. It opens while steps are left,
and is closed where the run has finished: there is nothing to stop any more.

Why: steps after the plateau cost compute and calibration and buy nothing that can be measured.

What to do: stop and keep the recommended checkpoint; spend the rest of the budget on the patterns
that are weak.

When it is wrong: a plateau at a high learning rate often ends when the rate falls, which is why
that case is excluded. At a constant rate some runs go on to gain more than a point, and a rise that comes
after a third of the run without any is missed in most. A set too small to exclude a rise of 1.75 points
never shows a plateau; the trend then says what it does exclude.

Source: replays of real trainings and simulated runs with the truth known (docs/decisions.md); equivalence
testing (Schuirmann 1987).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from heldout.derive.history import History
from heldout.derive.progress import fixed_eval, judge
from heldout.derive.recommended import RECOMMENDED
from heldout.derive.rewards import reward_may_rise
from heldout.records import EvalResult
from heldout.stats.stopping import LEAST, Stopping
from heldout.verdicts.rule import Ends, Finding, NotChecked, Rule


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    fallen: float = 0.5
    """A plateau before the learning rate has fallen to this share of its peak is not a plateau: over 23
    replayed logs the gate brought the regret of a patience of 3 from 0.0097 to 0.0016 (docs/alerts.md)."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find a flat stretch of exact match that a falling learning rate does not promise to end."""
    found = judge(history)
    if found is None or not found.stopping.width:
        return NotChecked(f"needs {2 * LEAST} evaluations or more, has {len(history.evals)}")
    if not found.stopping.flat or not learning_rate_fell(history, limits.fallen):
        return []
    now, width = fixed_eval(history), found.stopping.width
    since = history.evals[-2 * width].step
    if reward_may_rise(history, since):
        return []
    best = RECOMMENDED if now["best_ckpt"] else "none saved yet"
    evidence = {
        **{key: now[key] for key in ("em", "correct", "n", "ce")},
        "by": found.stopping.by,
        "since": since,
        "evaluations": width,
        "most": found.stopping.most,
    }
    left = history.run is None or history.step < history.run.total_steps
    return [
        Finding(
            level="warning",
            message=_message(now, found.stopping, since),
            action=f"Consider stopping. Best checkpoint: {best}",
            evidence=evidence,
            stage="open" if left else "holding",  # after the last step there is nothing to stop
        )
    ]


def _message(now: Mapping[str, Any], found: Stopping, since: int) -> str:
    over = f"over the last {found.width} evaluations"
    if found.by == "ce":
        right = f"{now['correct']:,} of {now['n']:,} right"
        return (
            f"CE plateau since step {since:,}: {now['ce']:.3f}, no fall above {max(found.most, 0):.3f} "
            f"{over}. EM cannot tell here: {right}"
        )
    score = f"{now['em']:.1%} [{now['em_low']:.1%}, {now['em_high']:.1%}] of {now['n']:,}"
    most = max(100 * found.most, 0)
    return f"EM plateau since step {since:,}: {score}, no gain above {most:.1f} points {over}"


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
