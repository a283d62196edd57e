"""The Trainer's own evaluation will hardly get any better.

Checks: in runs without a fixed held-out set, where the learning rate is at most half its peak or constant,
the slope of the latest evaluations over the steps left promises less than `stats.curve.LEAST_GAIN` of the
best one. A task's own metric (accuracy, F1, ...) is judged where one is logged, else the eval loss.
It is closed where the run has finished.

Why: steps after it cost compute and buy next to nothing.

What to do: stop and keep the recommended checkpoint.

When it is wrong: a mean loss says little about the task: where answers are scored, exact match often rises
on. Give the run a fixed held-out set to know.

Source: replay of 23 public logs with three evaluations or more (docs/alerts.md): regret 0.4 % of the best
one on average, at 12 % of the steps saved.
"""

from __future__ import annotations

from heldout.derive.eval_curve import deciding_curve
from heldout.derive.history import History
from heldout.derive.recommended import RECOMMENDED, has_recommended
from heldout.records import Sample
from heldout.stats.curve import SPAN
from heldout.verdicts.rule import Finding, NotChecked, Rule
from heldout.verdicts.rules.plateau import Limits, learning_rate_fell


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find a held-out loss that is not expected to fall."""
    if history.evals:
        return NotChecked("the fixed held-out set decides in this run")
    curve = deciding_curve(history)
    if curve is None or len(curve.steps) < SPAN:
        known = len(curve.steps) if curve else 0
        return NotChecked(f"needs {SPAN} evaluations, has {known}")
    if curve.found.trend != "flat" or not learning_rate_fell(history, limits.fallen):
        return []
    text = (
        f"{curve.title.capitalize()} is flat at {curve.last:.4g}: the rest of the run promises "
        f"{max(0.0, curve.found.gain):.1%} of it"
    )
    saved = RECOMMENDED if has_recommended(history) else "none saved yet"
    action = f"Consider stopping. Best checkpoint: {saved}"
    left = history.run is not None and history.step < history.run.total_steps
    evidence = {
        "metric": curve.name,
        "last": curve.last,
        "best": curve.best,
        "best_step": curve.best_step,
        "noise": curve.found.noise,
        "expected_gain": curve.found.gain,
        "evaluations": len(curve.steps),
    }
    return [
        Finding(
            level="warning",
            message=text,
            action=action,
            evidence=evidence,
            stage="open" if left else "holding",  # after the last step there is nothing to stop
        )
    ]


RULE = Rule(
    name="eval-plateau",
    check=check,
    limits=Limits(),
    on=(Sample,),
    silenced_by=("loss-not-finite", "divergence", "eval-loss-rise"),
)
