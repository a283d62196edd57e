"""The one-pass evaluation and the model's own generate do not say the same.

Checks: at the first evaluation of a run up to 32 random examples are answered again by the model's
`generate`. An example counts when its first difference from the golden answer is elsewhere than the
one pass says, unless the two best tokens there are closer than the arithmetic can tell (a near-tie).

Why: exact match without generating rests on both seeing the same prefix and the same settings. A
model with state between tokens, an unusual cache or a decoding hook can break that.

What to do: take exact match with care for this model, and score a checkpoint with `generate` to see by
how much it differs. Cross-entropy and calibration do not depend on it.

When it is wrong: kernels that depend on the batch may differ by more than the stated noise; in float32
they hardly do.

Source: the agreement benchmark of this project (docs/evaluation.md).
"""

from __future__ import annotations

from heldout.derive.history import History
from heldout.records import EvalResult
from heldout.verdicts.rule import Finding, NoLimits, NotChecked, Rule


def check(history: History, _: NoLimits) -> list[Finding] | NotChecked:
    """Find examples that generate answers otherwise, at the last evaluation that was checked."""
    checked = [result for result in history.evals if result.rechecked]
    if not checked:
        return NotChecked("no evaluation was checked against generate")
    last = checked[-1]
    if not last.mismatched:
        return []
    lines = [item.line for item in history.items[last.step] if item.id in last.mismatched]
    text = (
        f"The one pass and generate disagree on {len(last.mismatched)} of {last.rechecked} examples "
        f"at step {last.step} (lines {', '.join(map(str, lines))})"
    )
    action = "Take exact match with care; check a checkpoint with the model's own generate."
    evidence = {"checked": last.rechecked, "mismatched": last.mismatched, "lines": lines}
    return [Finding(level="warning", message=text, action=action, evidence=evidence)]


RULE = Rule(name="evaluation-mismatch", check=check, limits=NoLimits(), on=(EvalResult,))
