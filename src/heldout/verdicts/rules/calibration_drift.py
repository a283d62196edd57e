"""The model grows more sure than it is right: held-out ECE rose by more than 20 %.

Checks: the latest expected calibration error is above 1.2 times the best one so far, its 95 % interval
lies above that of the best one, and the rise is more than perfect calibration would show by chance.

Why: overconfidence is what overfitting does first; answers stay right while the probabilities that
users threshold on stop meaning anything.

What to do: finish with a lower learning rate (half), average the weights (EMA), or fit a temperature
after training. Do not roll back for this alone.

When it is wrong: with exact match flat or rising the model is not worse at the task. A base model
that has not learned the answer format yet is often better calibrated than any later checkpoint.

Source: Guo et al. 2017, On Calibration of Modern Neural Networks.
"""

from __future__ import annotations

import math

from heldout.derive.history import History
from heldout.derive.progress import fixed_eval
from heldout.records import EvalResult
from heldout.verdicts.rule import Finding, NoLimits, NotChecked, Rule


def check(history: History, _: NoLimits) -> list[Finding] | NotChecked:
    """Find a rise of the calibration error over its best."""
    if len(history.evals) < 2:
        return NotChecked(f"needs 2 evaluations, has {len(history.evals)}")
    if not fixed_eval(history)["ece_rise"]:
        return []
    last = history.evals[-1]
    known = [result for result in history.evals if math.isfinite(result.ece)]
    best = min(known, key=lambda result: result.ece)
    sure = sum(b.n * (b.confidence - b.accuracy) for b in last.bins) > 0
    leaning = "overconfident" if sure else "underconfident"
    text = (
        f"Calibration drift: ECE {last.ece:.3f} [{last.ece_low:.3f}, {last.ece_high:.3f}] over "
        f"{last.tokens:,} tokens, was {best.ece:.3f}; the model grows {leaning}"
    )
    action = "Finish with a lower learning rate (0.5x current) or use EMA weights."
    evidence = {
        "ece": last.ece,
        "best_ece": best.ece,
        "best_step": best.step,
        "null": last.ece_null,
        "tokens": last.tokens,
    }
    return [Finding(level="warning", message=text, action=action, evidence=evidence)]


RULE = Rule(
    name="calibration-drift",
    check=check,
    limits=NoLimits(),
    on=(EvalResult,),
    silenced_by=("loss-not-finite",),
)
