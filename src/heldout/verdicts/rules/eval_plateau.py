"""The Trainer's own evaluation will hardly get any better.

Checks: in runs without a fixed held-out set, where the learning rate is at most half its peak or constant,
the slope of the latest evaluations over the steps left promises less than `stats.curve.LEAST_GAIN` of the
best one. Where the number of steps planned is not known, as many steps again are asked about, and nothing
follows. The number judged is the one that decides: the one that the run names
(`metric_for_best_model`), else a task's own metric (accuracy, F1, WER, ...), else the eval loss. Of several
evaluation sets each is judged, and one decides. It opens while a twentieth of the budget
is left (`LEAST_SAVED`), and is closed where the run has finished.

Why: steps after it cost compute and buy next to nothing.

What to do: stop and keep the recommended checkpoint.

When it is wrong: a mean loss says little about the task: where answers are scored, exact match often rises
on. Give the run a fixed held-out set to know.

Source: replay of 24 public logs with three evaluations or more (docs/alerts.md): regret 0.5 % of the best
one on average, at 11 % of the steps saved.
"""

from __future__ import annotations

from heldout.derive.eval_curve import EvalCurve, curves
from heldout.derive.history import History
from heldout.derive.recommended import RECOMMENDED, has_recommended
from heldout.derive.schedule import budget
from heldout.records import Sample
from heldout.stats.curve import SPAN
from heldout.verdicts.rule import Ends, Finding, NotChecked, Rule
from heldout.verdicts.rules.plateau import Limits, learning_rate_fell

LEAST_SAVED = 0.05
"""Share of the budget that must be left: with less there is hardly anything to stop."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find held-out numbers that are not expected to get better; a finding for each evaluation set."""
    if history.evals:
        return NotChecked("the fixed held-out set decides in this run")
    known = curves(history)
    if all(len(curve.steps) < SPAN for curve in known):
        num = max((len(curve.steps) for curve in known), default=0)
        return NotChecked(f"needs {SPAN} evaluations, has {num}")
    if not learning_rate_fell(history, limits.fallen):
        return []
    flat = [curve for curve in known if curve.found.trend == "flat" and len(curve.steps) >= SPAN]
    return [_flat(history, curve, known[0]) for curve in flat]


def _flat(history: History, curve: EvalCurve, decides: EvalCurve) -> Finding:
    """What a flat curve says; it `decides` whether to stop where it is the run's own and steps are left."""
    total = budget(history)
    promise = f"{max(0.0, curve.found.gain):.1%} of it"
    text = f"{curve.title.capitalize()} is flat at {curve.last:.4g}: "
    if total:
        text += f"the rest of the run promises {promise}"
    else:
        text += f"as many steps again promise {promise}; how many are planned is not known"
    saved = RECOMMENDED if has_recommended(history) else f"that of step {decides.best_step:,}"
    action = f"Consider stopping. Best checkpoint: {saved}"
    if curve is not decides:
        action = f"Nothing: {decides.title} decides."
    left = not total or history.step <= (1 - LEAST_SAVED) * total
    evidence = {
        "metric": curve.name,
        "last": curve.last,
        "best": curve.best,
        "best_step": curve.best_step,
        "noise": curve.found.noise,
        "expected_gain": curve.found.gain,
        "evaluations": len(curve.steps),
        "decides": bool(total) and curve is decides,
    }
    return Finding(
        level="info",  # a run that has learned what it can is healthy
        message=text,
        action=action,
        evidence=evidence,
        scope=curve.chosen.scope,
        stage="open" if left else "holding",
    )


RULE = Rule(
    name="eval-plateau",
    check=check,
    limits=Limits(),
    on=(Sample,),
    silenced_by=("loss-not-finite", "divergence", "eval-loss-rise"),
    ends=Ends("stop", "info"),
)
