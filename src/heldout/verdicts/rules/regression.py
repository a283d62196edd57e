"""Exact match on the fixed set fell, by more than chance explains.

Checks: exact match over the last evaluations (up to four) lies below that of those before, paired example
by example, at a level that all the run's evaluations share, so that a flat run raises this in at most 5 % of
all runs, also where checkpoints truly wobble by half a point. The first time is a warning: a checkpoint can
be worse by the luck of its last steps. Twice in a row is an error. So is what two evaluations in a row lost
against the best before them, by half a point and three standard errors or more.

Why: examples the model answered are being forgotten; the training loss does not show it.

What to do: keep the recommended checkpoint. If it goes on, lower the learning rate or add back the
kind of example that is being forgotten.

When it is wrong: a change of format alone (a space, a full stop) lowers exact match without the
model knowing less; cross-entropy then stays flat. Few examples, or few groups of them, hide a fall. Where
checkpoints wobble by a whole point, a warning comes by chance in one run of four with 2,000 examples.

Source: replays of real trainings and simulated runs with the truth known (docs/decisions.md).
"""

from __future__ import annotations

from heldout.derive.history import History
from heldout.derive.progress import fixed_eval, judge
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
    "em_last",
    "em_before",
    "em_learned",
    "em_forgotten",
    "em_reference",
)


def check(history: History, _: NoLimits) -> list[Finding] | NotChecked:
    """Find a paired fall of exact match."""
    if len(history.evals) < 2:
        return NotChecked(f"needs 2 evaluations, has {len(history.evals)}")
    now, found = fixed_eval(history), judge(history)
    assert found is not None
    fell = now["em_trend"] == "regressing"
    if not fell and not found.stopping.fell:
        return []
    score = f"to {now['em']:.1%} [{now['em_low']:.1%}, {now['em_high']:.1%}] of {now['n']}"
    if fell:
        text = f"EM fell by {-100 * now['em_change']:.1f} points since step {now['em_reference']}, {score}"
    else:
        text = f"EM fell at two evaluations in a row below its best, {score}"
    action = f"Keep {RECOMMENDED if now['best_ckpt'] else 'an earlier checkpoint (none is saved)'}."
    sure = found.stopping.fell or found.fell_before
    return [
        Finding(
            level="error" if sure else "warning",
            message=text,
            action=action,
            evidence={key: now[key] for key in EVIDENCE},
        )
    ]


RULE = Rule(
    name="regression",
    check=check,
    limits=NoLimits(),
    on=(EvalResult,),
    silenced_by=("loss-not-finite", "divergence", "lora-exploding"),
    ends=Ends("roll-back"),
)
