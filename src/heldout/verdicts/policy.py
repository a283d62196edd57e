"""From open alerts and evaluations to one decision: go on, stop, roll back, and which checkpoint."""

from __future__ import annotations

from typing import Any

from heldout.derive.advice import advise
from heldout.derive.eval_curve import EvalCurve, deciding_curve, tied_steps
from heldout.derive.history import History
from heldout.derive.interruption import CUT_SHORT, cut_short, going_on
from heldout.derive.progress import fixed_eval, judge
from heldout.derive.recommended import named
from heldout.records import Action, Decision, Verdict
from heldout.verdicts.life import ACTIVE, LEVELS
from heldout.verdicts.rules import plateau
from heldout.verdicts.rules.plateau import learning_rate_fell

ONLY_STOPPING = ("plateau", "eval-plateau")
"""Rules that find nothing wrong with a run but that it goes on: once it has finished, nothing is."""


def decide(history: History) -> Decision:
    """Decide from everything known; `reason` is one sentence with the numbers behind it.

    The checkpoint is the best of those on disk: by exact match on the fixed set with the help of
    cross-entropy (`stats.keep`) or, in a run without one, by the Trainer's own evaluation: by the number
    that `heldout.derive.deciding` names.
    """
    now = fixed_eval(history)
    curve = None if now else deciding_curve(history)
    tied = now["tied"] if now else tied_steps(history, curve) if curve else []
    best = now["best_ckpt"] if now else tied[0] if tied else None
    early = cut_short(history)
    action, cause = _action(history, best, early)
    budget = _budget(history, action, best, curve)
    if cause and cause.rule != "eval-plateau":
        budget.pop("evaluations_since", None)  # what ends the run is another matter
    reason = _said(cause, best) if cause else _reason(history, now, curve)
    return Decision(
        step=history.step,
        time=history.time,
        action=action,
        checkpoint=best,
        tied=tied,
        reason="; ".join(filter(None, [early, reason, _chosen(now), _spent(budget)])),
        evidence=budget | _of(cause),
        advice=advise(history),
    )


def _action(history: History, best: str | None, early: str) -> tuple[Action, Verdict | None]:
    ending = [
        v
        for v in history.alerts.values()
        if v.state in ACTIVE and v.ends and v.evidence.get("decides", True)
    ]
    worst = max(ending, key=lambda verdict: LEVELS.index(verdict.level), default=None)
    if worst is None:
        return ("resume" if early else "none" if history.ended else "continue"), None
    action: Action = worst.ends or "none"
    if action == "roll-back" and not best:
        action = "stop"
    return ("none" if action == "stop" and history.ended and not early else action), worst


def _of(cause: Verdict | None) -> dict[str, Any]:
    """The alert that the decision is taken for, and whether it is a fault of the run."""
    return {"cause": cause.rule, "fault": cause.rule not in ONLY_STOPPING} if cause else {}


def _said(cause: Verdict, best: str | None) -> str:
    """What is wrong and what helps; of a plateau the first says it all."""
    if cause.rule in ONLY_STOPPING:
        return cause.message
    remedy = cause.action.removeprefix("Stop immediately. ").removeprefix("Stop. ")
    return ". ".join(filter(None, [cause.message, named(remedy, best)])).removesuffix(".")


def _budget(
    history: History, action: Action, best: str | None, curve: EvalCurve | None
) -> dict[str, Any]:
    """Steps that stopping now saves, those between the checkpoint to keep and the last evaluation, which
    bought nothing, and those behind it, of which nothing is known.

    Of one number an evaluation nothing shows that it bought nothing: those since are counted instead."""
    total = history.run.total_steps if history.run else 0
    kept = {saved.path: saved.step for saved in history.checkpoints}.get(best or "")
    if curve and kept is None:
        kept = curve.best_step
    if kept not in _tied(history, curve):
        kept = None  # a better one was not saved
    found: dict[str, Any] = {}
    if action in ("stop", "roll-back") and not history.ended and total > history.step:
        found |= {"steps_saved": total - history.step, "total_steps": total}
    if kept is not None and (history.ended or action in ("stop", "roll-back")):
        last = curve.steps[-1] if curve else history.evals[-1].step
        found |= {
            "best_step": kept,
            "last_step": last,
            "steps_unknown": max(0, history.step - last),
            "steps_made": history.step,
        }
        if curve and kept == curve.best_step:
            found["evaluations_since"] = sum(step > kept for step in curve.steps)
        if not curve:
            found["steps_wasted"] = last - kept
    return found


def _tied(history: History, curve: EvalCurve | None) -> list[int]:
    """The steps of the evaluations tied with the best, saved or not."""
    if curve:
        return [curve.steps[i] for i in curve.found.tied]
    found = judge(history)
    return [history.evals[i].step for i in found.tied] if found else []


def _spent(budget: dict[str, Any]) -> str:
    parts = []
    if "steps_saved" in budget:
        share = budget["steps_saved"] / budget["total_steps"]
        parts.append(f"stopping now saves {budget['steps_saved']:,} steps ({share:.0%})")
    if budget.get("steps_wasted", 0) > 0:
        share = budget["steps_wasted"] / budget["steps_made"]
        parts.append(
            f"the {budget['steps_wasted']:,} steps from step {budget['best_step']:,} to "
            f"{budget['last_step']:,} ({share:.0%}) brought nothing that can be measured"
        )
    if budget.get("evaluations_since", 0) > 0:
        num, step = budget["evaluations_since"], budget["best_step"]
        of = "the one evaluation" if num == 1 else f"none of the {num} evaluations"
        parts.append(f"{of} since step {step:,} was {'no ' if num == 1 else ''}better")
    if budget.get("steps_unknown", 0) > 0:
        many = "step" if budget["steps_unknown"] == 1 else "steps"
        parts.append(
            f"{budget['steps_unknown']:,} {many} since step {budget['last_step']:,} not evaluated"
        )
    return "; ".join(parts)


def _reason(history: History, now: dict[str, Any], curve: EvalCurve | None) -> str:
    if history.state in CUT_SHORT:
        return going_on(history)
    if curve:
        best = f"best {curve.best:.4g} at step {curve.best_step:,}"
        why = f" ({curve.chosen.why})" if curve.chosen.why else ""
        return f"{curve.title} {curve.last:.4g}, {best}, of {len(curve.steps)} evaluations{why}"
    if not now:
        return "nothing has been evaluated yet"
    score = f"EM {now['em']:.1%} [{now['em_low']:.1%}, {now['em_high']:.1%}] of {now['n']}"
    if now["em_trend"] == "improving" and history.ended:
        return f"{score}, {now['em_says']}; a longer run may gain more"
    high = now["em_trend"] == "plateau" and not learning_rate_fell(
        history, plateau.RULE.limits.fallen
    )
    return f"{score}, {now['em_says']}" + (", but the learning rate is still high" if high else "")


def _chosen(now: dict[str, Any]) -> str:
    """Why this checkpoint, where there was a choice, and which earlier one costs hardly more."""
    if not now or not now["best_ckpt"] or len(now["tied"]) < 2:
        return ""
    if now["best_by"] == "ce":
        return f"{now['best_ckpt']} has the lowest smoothed CE"
    why = f"{now['best_ckpt']} has the highest smoothed EM"
    if not now["cheaper_ckpt"]:
        return why
    return (
        f"{why}; {now['cheaper_ckpt']} is cheaper, within {100 * now['cheaper_within']:.1f} points"
    )
