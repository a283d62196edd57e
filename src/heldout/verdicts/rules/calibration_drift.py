"""The model grows more sure than it is right: held-out ECE rises over its best.

Checks: noted as pending when the latest expected calibration error is 20 % above the best one so far, its
95 % interval lies above that of the best one, and the rise is more than chance alone would show.
It opens when the model is overconfident and the rise surely more than `rise` (the lower end of the 95 %
interval of the difference) at `times` evaluations in a row; it resolves when ECE is no longer up by 20 %.

Why: overconfidence is what overfitting does first; answers stay right while the probabilities that
users threshold on stop meaning anything.

What to do: finish with a lower learning rate (half), average the weights (EMA), or fit a temperature
after training. Do not roll back for this alone.

When it is wrong: with exact match flat or rising the model is not worse at the task. A base model
that has not learned the answer format yet is often better calibrated than any later checkpoint. A model that
learns fast is underconfident for a while, which is why that is noted and never warned of. A model that is
trained for rewards or preferences (GRPO, DPO) grows sure of its own answers and not of the golden ones:
there it is an info.

Source: Guo et al. 2017, On Calibration of Modern Neural Networks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from heldout.derive.history import History
from heldout.derive.progress import fixed_eval
from heldout.derive.schedule import rewarded
from heldout.records import EvalResult
from heldout.verdicts.rule import Finding, NotChecked, Rule


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    rise: float = 0.02
    """ECE over its best that matters: two points of confidence, which users who threshold on it notice."""
    times: int = 2
    """Evaluations in a row that must surely lie so far above the best."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find a rise of the calibration error over its best."""
    if len(history.evals) < 2:
        return NotChecked(f"needs 2 evaluations, has {len(history.evals)}")
    last = history.evals[-1]
    sure = last.confidence_gap > 0 and _surely_risen(history.evals, limits)
    if not sure and not fixed_eval(history)["ece_rise"]:
        return []
    best = _best(history.evals)
    leaning = "overconfident" if last.confidence_gap > 0 else "underconfident"
    text = (
        f"Calibration drift: ECE {last.ece:.3f} [{last.ece_low:.3f}, {last.ece_high:.3f}] over "
        f"{last.tokens:,} tokens, was {best.ece:.3f}; the model is {leaning} (confidence less "
        f"accuracy {last.confidence_gap:+.3f})"
    )
    action = "Finish with a lower learning rate (0.5x current) or use EMA weights."
    evidence = {
        "ece": last.ece,
        "best_ece": best.ece,
        "best_step": best.step,
        "null": last.ece_null,
        "confidence_gap": last.confidence_gap,
        "tokens": last.tokens,
    }
    return [
        Finding(
            level="info" if rewarded(history) else "warning",
            message=text,
            action=action,
            evidence=evidence,
            stage="open" if sure else "pending",
        )
    ]


def _surely_risen(evals: Sequence[EvalResult], limits: Limits) -> bool:
    """Whether each of the last evaluations is above the best before it, beyond both intervals."""
    if len(evals) <= limits.times:
        return False
    ends = range(len(evals) - limits.times, len(evals))
    return all(_rise(evals[: end + 1]) > limits.rise for end in ends)


def _rise(evals: Sequence[EvalResult]) -> float:
    """The lower end of the 95 % interval of the last ECE less the best one; NaN where it is not known."""
    last = evals[-1]
    if not math.isfinite(last.ece):
        return math.nan
    best = _best(evals)
    return last.ece - best.ece - math.hypot(last.ece - last.ece_low, best.ece_high - best.ece)


def _best(evals: Sequence[EvalResult]) -> EvalResult:
    known = [result for result in evals if math.isfinite(result.ece)]
    return min(known, key=lambda result: result.ece)


RULE = Rule(
    name="calibration-drift",
    check=check,
    limits=Limits(),
    on=(EvalResult,),
    silenced_by=("loss-not-finite", "divergence", "lora-exploding"),
)
