"""The loss, the weights, the gradient or the held-out score is NaN or infinite, or the loss is exactly zero.

Checks: the loss of each step as the model computed it, read before the Trainer's
`logging_nan_inf_filter` replaces it, or the logged one where only that is known (with the model's own
cross-entropy beside it, where another loss is trained); the trained weights; the
gradient norm; the held-out logits and the Trainer's own evaluation loss. One NaN is enough. It resolves after
`quiet` steps in a row without one. A loss of exactly 0 counts when its gradient norm is not finite, which is
a hidden NaN, when a step's own loss and gradient are both 0, or `zeros` times in a row. It does not count
where the gradient is alive or rewards are logged: a policy's loss is zero by construction. A step without a
label token has no loss of its own, whatever the Trainer logs for it: `unlabelled` of them in a row are a
warning, `lost` are critical.

Why: one NaN that reaches the optimizer poisons every weight for good, and the Trainer's log goes on
showing 0.0 or a plausible average. Exactly zero means that no token is trained on.

What to do: stop. Resume from the recommended checkpoint with the learning rate divided by 10, or in
bfloat16 instead of float16. For zeros: look at the label mask.

When it is wrong: a single overflow under float16 loss scaling is skipped by the scaler and harmless;
it shows in the gradient norm only, and is noted as pending until `grads` in a row follow a finite one.

Source: transformers `TrainingArguments.logging_nan_inf_filter` (default True); huggingface/trl#6702.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from heldout.derive.deciding import sets
from heldout.derive.history import History
from heldout.derive.recommended import resume_from
from heldout.derive.schedule import rewarded
from heldout.records import Level
from heldout.stats.sound import Soundness
from heldout.verdicts.rule import Ends, Finding, NotChecked, Rule

OWN = "loss/step"
BESIDE = "ce/step"
"""The model's own loss where another one is trained."""
LABELS = "throughput/label_tokens"
OUTSIDE = "the loss is computed outside the model, where it cannot be seen"
NOTHING = ": no token is being trained on"
CHECK = "Check that the labels are not all masked (-100)."
MASKED = f"Stop. {CHECK}"


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    quiet: int = 10
    """Steps in a row without a NaN until the alert resolves."""
    zeros: int = 3
    """Steps in a row with a loss of exactly 0."""
    unlabelled: int = 2
    """Steps in a row without a label token: one alone may hold rows that were cut off."""
    lost: int = 10
    """Such steps in a row from which on it is critical: fewer may be small batches of such rows."""
    grads: int = 3
    """Logged steps in a row whose gradient norm is not finite: float16's scaler skips one alone."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find non-finite or vanished losses in the latest steps."""
    loss = history.fold(history.loss, Soundness)
    if loss.since_bad < limits.quiet:
        text = f"Loss is NaN/Inf: training diverged (first at step {loss.first_bad})"
        recent = history.columns.get(history.loss).tail(limits.quiet)
        bad = sum(not math.isfinite(value) for value in recent)
        evidence = {"first_step": loss.first_bad, "bad_steps": bad, "of_last": len(recent)}
        return [_critical(history, text, evidence)]
    beside = history.fold(BESIDE, Soundness)
    if beside.since_bad < limits.quiet:
        text = f"The model's cross-entropy is NaN/Inf (first at step {beside.first_bad})"
        return [_critical(history, text, {"first_step": beside.first_bad})]
    poisoned = history.columns.get("weights/non_finite")
    if len(poisoned) and not poisoned.last <= 0:
        tensors = int(poisoned.last)
        text = f"NaN/Inf in {tensors} trained tensors: the weights are lost"
        return [_critical(history, text, {"step": int(poisoned.steps[-1]), "tensors": tensors})]
    last = history.evals[-1] if history.evals else None
    if last and last.non_finite:
        text = f"Held-out logits are NaN/Inf on {last.non_finite} of {last.n} examples"
        evidence = {"step": last.step, "examples": last.non_finite, "n": last.n}
        return [_critical(history, text, evidence)]
    for scope, name in sets(history).items():
        held_out = history.columns.get(name)
        if len(held_out) and not math.isfinite(held_out.last):
            step = int(held_out.steps[-1])
            which = f" on {scope}" if scope else ""
            text = f"The Trainer's evaluation loss{which} is NaN/Inf at step {step}"
            return [_critical(history, text, {"step": step, "loss": held_out.last})]
    labels = history.fold(LABELS, Soundness)
    if labels.zeros >= limits.unlabelled:
        text = f"No label token in the last {labels.zeros} steps{NOTHING}"
        evidence = {"label_tokens": 0, "steps": labels.zeros}
        lost = labels.zeros >= limits.lost
        level: Level = "critical" if lost else "warning"
        action = MASKED if lost else CHECK
        return [Finding(level=level, message=text, action=action, evidence=evidence)]
    if not loss.finite and history.columns.series:
        return NotChecked(OUTSIDE)
    if not loss.finite and last is None:
        return NotChecked("no loss was recorded")
    norms = history.fold("grad/norm", Soundness)
    if loss.zeros:
        return _zeros(history, loss, norms, limits)
    if norms.bad_in_a_row and norms.finite:
        return [_gradients(history, norms, limits)]
    hidden = history.loss != OWN and not beside.finite
    if hidden and history.run and not history.run.source:
        return NotChecked(OUTSIDE)
    return []


def _zeros(history: History, loss: Soundness, norms: Soundness, limits: Limits) -> list[Finding]:
    seen = norms.step > loss.nonzero_step
    hidden, idle = bool(seen and norms.bad_in_a_row), bool(seen and norms.zeros)
    alive = seen and not hidden and not idle
    at_once = hidden or (idle and history.loss == OWN)
    if alive or rewarded(history) or not (at_once or loss.zeros >= limits.zeros):
        return []
    steps = "1 step" if loss.zeros == 1 else f"{loss.zeros} steps"
    text = f"Loss is exactly 0 for {steps}"
    text += ", with a gradient norm of 0" if idle else ""
    text += ", with a gradient norm of NaN/Inf: a NaN is hidden" if hidden else NOTHING
    action = _go_back(history) if hidden else MASKED
    evidence = {"loss": 0.0, "steps": loss.zeros}
    return [Finding(level="critical", message=text, action=action, evidence=evidence)]


def _gradients(history: History, norms: Soundness, limits: Limits) -> Finding:
    """Gradient norms that are no longer finite; so few of them that a scaler may skip them are pending."""
    lost, times = norms.bad_in_a_row >= limits.grads, norms.bad_in_a_row
    logged = "1 logged step" if times == 1 else f"{times} logged steps in a row"
    skipped = "" if lost else ", which float16's scaler skips"
    return Finding(
        level="error" if lost else "info",
        message=f"The gradient norm is NaN/Inf for {logged}{skipped}",
        action=_go_back(history)
        if lost
        else "Nothing, if training is in float16 and it stays alone.",
        evidence={"grad_norms": history.columns.get("grad/norm").tail(times), "step": norms.step},
        stage="open" if lost else "pending",
    )


def _critical(history: History, text: str, evidence: dict[str, Any]) -> Finding:
    return Finding(level="critical", message=text, action=_go_back(history), evidence=evidence)


def _go_back(history: History) -> str:
    return f"Stop immediately. {resume_from(history, None)} with the learning rate divided by 10."


RULE = Rule(name="loss-not-finite", check=check, limits=Limits(), ends=Ends("roll-back"))
