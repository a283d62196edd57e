"""The loss, the weights, the gradient or the held-out score is NaN or infinite, or the loss is exactly zero.

Checks: the loss of each step as the model computed it, read before the Trainer's
`logging_nan_inf_filter` replaces it; the trained weights; the gradient norm; the held-out logits. One
NaN is enough. It resolves after `quiet` steps in a row without one. A loss of exactly 0 for `zeros`
steps counts too.

Why: one NaN that reaches the optimizer poisons every weight for good, and the Trainer's log goes on
showing 0.0 or a plausible average. Exactly zero means that no token is trained on.

What to do: stop. Resume from the last checkpoint scored finite, with the learning rate divided
by 10, or in bfloat16 instead of float16. For zeros: look at the label mask.

When it is wrong: a single overflow under float16 loss scaling is skipped by the scaler and harmless;
it shows in the gradient norm only, where `grads` in a row after a finite one are needed.

Source: transformers `TrainingArguments.logging_nan_inf_filter` (default True); huggingface/trl#6702.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from heldout.derive.history import History
from heldout.verdicts.rule import Finding, NotChecked, Rule


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    quiet: int = 10
    """Steps in a row without a NaN until the alert resolves."""
    zeros: int = 3
    """Steps in a row with a loss of exactly 0."""
    grads: int = 3
    """Logged steps in a row whose gradient norm is not finite: float16's scaler skips one alone."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find non-finite or vanished losses in the latest steps."""
    loss, norms = history.columns.get("loss/step"), history.columns.get("grad/norm")
    recent, grads = loss.tail(limits.quiet), norms.tail(limits.grads)
    bad = sum(not math.isfinite(value) for value in recent)
    last = history.evals[-1] if history.evals else None
    if bad:
        first = int(loss.steps[~np.isfinite(loss.values)][0])
        text = f"Loss is NaN/Inf: training diverged (first at step {first})"
        evidence = {"first_step": first, "bad_steps": bad, "of_last": len(recent)}
        return [_critical(history, text, evidence)]
    poisoned = history.columns.get("weights/non_finite")
    if len(poisoned) and not poisoned.last <= 0:
        tensors = int(poisoned.last)
        text = f"NaN/Inf in {tensors} trained tensors: the weights are lost"
        return [_critical(history, text, {"step": int(poisoned.steps[-1]), "tensors": tensors})]
    if last and last.non_finite:
        text = f"Held-out logits are NaN/Inf on {last.non_finite} of {last.n} examples"
        evidence = {"step": last.step, "examples": last.non_finite, "n": last.n}
        return [_critical(history, text, evidence)]
    if not len(loss) and history.columns.series:
        return NotChecked("the loss is computed outside the model, where it cannot be seen")
    if not len(loss) and last is None:
        return NotChecked("no loss was recorded")
    lost = len(grads) == limits.grads and not any(map(math.isfinite, grads))
    if lost and np.isfinite(norms.values).any():
        text = f"The gradient norm is NaN/Inf for {limits.grads} logged steps in a row"
        action = _go_back(history)
        return [Finding(level="error", message=text, action=action, evidence={"grad_norms": grads})]
    if len(recent) >= limits.zeros and not any(recent[-limits.zeros :]):
        text = f"Loss is exactly 0 for {limits.zeros} steps: no token is being trained on"
        action = "Stop. Check that the labels are not all masked (-100)."
        return [Finding(level="critical", message=text, action=action, evidence={"loss": 0.0})]
    return []


def _critical(history: History, text: str, evidence: dict[str, Any]) -> Finding:
    return Finding(level="critical", message=text, action=_go_back(history), evidence=evidence)


def _go_back(history: History) -> str:
    safe = _last_safe(history)
    resume = f"Resume from {safe}" if safe else "Start again"
    return f"Stop immediately. {resume} with the learning rate divided by 10."


def _last_safe(history: History) -> str | None:
    """The latest checkpoint whose evaluation was finite."""
    finite = {result.step for result in history.evals if not result.non_finite}
    safe = [saved.path for saved in history.checkpoints if saved.step in finite]
    return safe[-1] if safe else None


RULE = Rule(name="loss-not-finite", check=check, limits=Limits())
