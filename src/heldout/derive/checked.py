"""Whether anything was there by which a run can be called healthy."""

from __future__ import annotations

from heldout.derive.deciding import deciding, held_out_names
from heldout.derive.history import History
from heldout.derive.interruption import CUT_SHORT
from heldout.derive.schedule import rewarded

SHOWN = 5


def unchecked(history: History) -> str:
    """Why nothing could be checked, "" where something was: silence about nothing is not health.

    Looked at must have been a loss, a reward, an evaluation or the training data. A gradient norm or a
    learning rate alone says nothing of what was learned.
    """
    if history.state in CUT_SHORT:
        return ""  # that is what there is to say of it
    known = len(history.columns.get(history.loss)) or rewarded(history) or deciding(history)
    if known or history.evals or history.data:
        return ""
    scores = held_out_names(history)
    if scores:
        return (
            f"it holds no loss, and nothing says which way is better for {_some(scores)}: set "
            "metric_for_best_model and greater_is_better"
        )
    names = list(history.columns.series)
    if not names:
        return "nothing has been recorded yet"
    return f"it holds no loss and no evaluation; found {_some(names)}"


def _some(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
