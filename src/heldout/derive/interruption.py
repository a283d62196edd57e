"""A run that ended before it was done, or whose trainer is silent: what is known of it, and what to do.

An exception and Ctrl-C are in the journal, as its last note. A trainer that was killed writes nothing:
whoever looks at the run finds its process gone, and the decision in the journal is that of a run which
goes on. `standing` is the decision as it stands now.
"""

from __future__ import annotations

import msgspec

from heldout.derive.history import ENDS, History
from heldout.records import HEARTBEAT, Action, Decision

CUT_SHORT = ("failed", "interrupted", "died")
"""States of a run that ended before it was done."""
MOST_TEXT = 200
"""Characters of an exception's first line that are told."""


def standing(history: History) -> Decision | None:
    """The run's decision, unless its trainer has died or is silent since: then what to do about that."""
    decision, state = history.decision, history.state
    if state not in ("died", "stalled"):
        return decision
    action: Action = "look" if state == "stalled" else "resume"
    what = _silence(history) if state == "stalled" else cut_short(history)
    base = decision or Decision(
        step=history.step, time=history.time, action=action, checkpoint=None, tied=[], reason=""
    )
    if base.action in ("stop", "roll-back"):
        return msgspec.structs.replace(base, reason=f"{what}; {base.reason}")
    reason = what if state == "stalled" else f"{what}; {going_on(history)}"
    return msgspec.structs.replace(base, action=action, reason=reason)


def cut_short(history: History) -> str:
    """Where the run was cut short and by what; "" for one that was not."""
    if history.state not in CUT_SHORT:
        return ""
    total = history.run.total_steps if history.run else 0
    where = f"step {history.step:,}" + (f" of {total:,}" if total else "")
    return f"interrupted at {where} ({_cause(history)})"


def going_on(history: History) -> str:
    """What is left of a run that was cut short, and how to go on."""
    return f"{_left(history)}; {how_to_go_on(history)}"


def _cause(history: History) -> str:
    if history.state == "interrupted":
        return "Ctrl-C"
    if history.state == "died":
        return str(history.alerts[HEARTBEAT, ""].evidence.get("reason", "the trainer is gone"))
    text = next(note.text for note in reversed(history.notes) if note.topic in ENDS)
    first = (text.splitlines() or [""])[0]
    return first if len(first) <= MOST_TEXT else first[: MOST_TEXT - 1] + "…"


def _left(history: History) -> str:
    """What there is to go on from or to use."""
    if not history.checkpoints:
        return "no checkpoint was saved"
    scored = {result.step: result for result in history.evals}
    last = history.checkpoints[-1].path
    known = [saved for saved in history.checkpoints if saved.step in scored]
    if not known:
        return f"{last} is the last saved"
    best = scored[known[-1].step]
    told = f"{known[-1].path} is the last scored (EM {best.em:.1%} of {best.n})"
    return told if known[-1].path == last else f"{last} is the last saved, {told}"


def how_to_go_on(history: History) -> str:
    """The command or the call that resumes the run from its last checkpoint."""
    if not history.checkpoints:
        return "start it again"
    last = history.checkpoints[-1].path
    how = history.run.resume if history.run else ""
    return f"go on with {how.replace('{checkpoint}', last)}" if how else f"go on from {last}"


def _silence(history: History) -> str:
    verdict = history.alerts[HEARTBEAT, ""]
    return f"{verdict.message}: {verdict.action}"
