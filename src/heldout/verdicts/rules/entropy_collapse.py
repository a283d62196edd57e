"""The model has become sure of everything, right or wrong.

Checks: the mean entropy of its predictions on the fixed set is below `share` of what it was at the first
evaluation, while the cross-entropy is `excess` times the entropy or more. In a model that knows
how sure to be the two are equal. It resolves when the entropy is back above `quiet` of the first.

Why: a collapsed model repeats itself when sampled, cannot be steered by temperature, and explores no
more where reinforcement learning follows.

What to do: stop earlier, lower the learning rate, or add an entropy bonus or label smoothing.

When it is wrong: entropy falls in every good fine-tuning as answers become certain, which is why the
cross-entropy is looked at too. Sampled text is not looked at: this rule sees predictions of golden answers.

Source: Guo et al. 2017 for confidence outgrowing accuracy; Cui et al. 2025, The entropy mechanism of
reinforcement learning for reasoning language models.
"""

from __future__ import annotations

from dataclasses import dataclass

from heldout.derive.history import History
from heldout.records import EvalResult
from heldout.verdicts.rule import Finding, NotChecked, Rule


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    share: float = 0.3
    """Entropy as a share of the first evaluation's: what alerts on collapse commonly use."""
    quiet: float = 0.4
    """The share above which the alert resolves."""
    excess: float = 2.0
    """Cross-entropy over entropy; 1 where confidence is right."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find an entropy that fell further than the errors did."""
    if len(history.evals) < 2:
        return NotChecked("needs 2 evaluations")
    first, last = history.evals[0], history.evals[-1]
    if not first.entropy > 0:
        return NotChecked(f"the first evaluation's entropy is {first.entropy:g}")
    share = last.entropy / first.entropy
    if share >= limits.quiet or last.ce <= limits.excess * last.entropy:
        return []
    text = (
        f"Entropy collapse: {last.entropy:.3g} nats a token, {share:.0%} of step {first.step}'s, at a "
        f"cross-entropy of {last.ce:.3g}"
    )
    evidence = {
        "entropy": last.entropy,
        "first_entropy": first.entropy,
        "ce": last.ce,
        "n": last.n,
        "tokens": last.tokens,
    }
    return [
        Finding(
            level="warning",
            message=text,
            action="Keep an earlier checkpoint for sampling; lower the learning rate or train for less long.",
            evidence=evidence,
            stage="holding" if share >= limits.share else "open",
        )
    ]


RULE = Rule(
    name="entropy-collapse",
    check=check,
    limits=Limits(),
    on=(EvalResult,),
    silenced_by=("loss-not-finite", "divergence", "lora-exploding"),
)
