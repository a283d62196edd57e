"""The checkpoint that a run's decision recommends, in the words of its alerts.

An alert is written once and the recommendation may change after it, so alerts say `RECOMMENDED` and
whoever shows one puts the decision's own checkpoint there: a report never names two.
"""

from __future__ import annotations

from heldout.derive.eval_curve import deciding_curve, tied_steps
from heldout.derive.history import History
from heldout.derive.progress import fixed_eval

RECOMMENDED = "the recommended checkpoint"


def has_recommended(history: History) -> bool:
    """Whether a checkpoint on disk has been scored, so that one can be recommended."""
    if history.evals:  # asked at every step while an alert is open
        return history.remember("recommended", lambda: bool(fixed_eval(history)["best_ckpt"]))
    curve = deciding_curve(history)
    return curve is not None and bool(tied_steps(history, curve))


def resume_from(history: History, otherwise: str | None) -> str:
    """How to go on behind a fault: from the recommended checkpoint, or `otherwise`, or not at all."""
    place = RECOMMENDED if has_recommended(history) else otherwise
    return f"Resume from {place}" if place else "Start again"


def named(text: str, checkpoint: str | None) -> str:
    """`text` with the name of the checkpoint where it speaks of the recommended one."""
    return text.replace(RECOMMENDED, checkpoint) if checkpoint else text
