"""All completions of every group get the same reward: there is nothing to learn from.

Checks: in runs that log the spread of rewards within a group (`reward_std`, as GRPO and RLOO do), it has been
exactly 0 in every row so far, `rows` at least, and so has the gradient norm where it is logged. It resolves
with the first reward that differs.

Why: the advantage is the reward less the mean of its group. Where all are alike it is 0, the gradient is 0,
and the run costs as much as one that learns while the weights stay as they are.

What to do: print some completions and their rewards. A reward function that never finds its format, answers
that are cut off before their end, or tasks that the model never solves give 0 to all.

When it is wrong: rewards that are rare may come later. The weights do not change until then.

Source: Shao et al. 2024 (GRPO, section 4.1); huggingface/trl#5697, where 300 rows are like this.
"""

from __future__ import annotations

from dataclasses import dataclass

from heldout.derive.history import History
from heldout.derive.rewards import SPREAD, policy_reward
from heldout.records import Sample
from heldout.stats.sound import Soundness
from heldout.verdicts.rule import Ends, Finding, NotChecked, Rule

CUT = "completions/clipped_ratio"


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    rows: int = 20
    """Logged rows from the first one on without any spread."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find rewards that have never differed within a group."""
    spread = history.fold(SPREAD, Soundness)
    if not spread.finite:
        return NotChecked(f"no {SPREAD} is logged")
    gradients = history.fold("grad/norm", Soundness)
    if spread.zeros < limits.rows or spread.nonzero_step or gradients.nonzero_step:
        return []
    reward, cut = history.columns.get(policy_reward(history)), history.columns.get(CUT)
    text = f"No reward signal: all completions of a group got the same reward in each of {spread.zeros} rows"
    text += " and the gradient norm is 0" if gradients.finite else ""
    action = "Stop. Print some completions with their rewards and mend the reward function."
    if cut.last >= 1:
        text += "; every completion is cut off at its length limit"
        action = "Stop. Raise max_completion_length: no completion comes to its end."
    evidence = {"rows": spread.zeros, "reward": reward.last, "reward_std": 0.0}
    return [Finding(level="critical", message=text, action=action, evidence=evidence)]


RULE = Rule(
    name="no-reward-signal",
    check=check,
    limits=Limits(),
    on=(Sample,),
    silenced_by=("loss-not-finite",),
    ends=Ends("stop", "critical"),
)
