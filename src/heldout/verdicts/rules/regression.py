"""Exact match on the fixed set fell, by more than chance explains.

Checks: the paired change of exact match lies below zero, against the evaluation two before or
against any earlier one, which a slow decline shows in. The level is spent over the looks and over
the evaluations compared with, so that a flat run raises this in at most 5 % of all runs. While
exact match rises again it stays silent.

Why: examples the model answered are being forgotten; the training loss does not show it.

What to do: keep the recommended checkpoint. If it goes on, lower the learning rate or add back the
kind of example that is being forgotten.

When it is wrong: a change of format alone (a space, a full stop) lowers exact match without the
model knowing less; cross-entropy then stays flat. Few examples, or few groups of them, hide a fall.

Source: Bonett and Price 2012; Lan and DeMets 1983 for spending alpha over looks.
"""

from __future__ import annotations

from heldout.derive.history import History
from heldout.derive.progress import fixed_eval
from heldout.derive.recommended import RECOMMENDED
from heldout.records import EvalResult
from heldout.verdicts.rule import Ends, Finding, NoLimits, NotChecked, Rule

EVIDENCE = (
    "em",
    "n",
    "em_change",
    "em_change_low",
    "em_change_high",
    "em_change_confidence",
    "em_learned",
    "em_forgotten",
    "em_reference",
)


def check(history: History, _: NoLimits) -> list[Finding] | NotChecked:
    """Find a paired fall of exact match."""
    if len(history.evals) < 2:
        return NotChecked(f"needs 2 evaluations, has {len(history.evals)}")
    now = fixed_eval(history)
    if now["em_trend"] != "regressing":
        return []
    text = (
        f"EM fell by {-now['em_change']:.1%} since step {now['em_reference']}, "
        f"to {now['em']:.1%} [{now['em_low']:.1%}, {now['em_high']:.1%}] of {now['n']}"
    )
    action = f"Keep {RECOMMENDED if now['best_ckpt'] else 'an earlier checkpoint (none is saved)'}."
    evidence = {key: now[key] for key in EVIDENCE}
    return [Finding(level="error", message=text, action=action, evidence=evidence)]


RULE = Rule(
    name="regression",
    check=check,
    limits=NoLimits(),
    on=(EvalResult,),
    silenced_by=("loss-not-finite", "divergence", "lora-exploding"),
    ends=Ends("roll-back"),
)
