"""The learning rate does not do what a schedule should.

Checks: it is 0 for `zeros` rows with more than `left` of the budget to go; it jumps above the peak it had
settled at, or by more than `resumed` at a resume; it rises again after its peak without being a restart; a
linear or cosine schedule will reach its end earlier or later than the run, by more than `length` of the
budget; or the peak lies outside of what adapters train with.

Why: steps at rate 0 train nothing; a scheduler that was not restored, or that was built for another number
of steps, is a mistake that costs the whole run and that no loss curve names.

What to do: restore the scheduler with the optimizer at a resume, and give the schedule the number of steps
of the run. For adapters start near 2e-4.

When it is wrong: cyclic schedules of one's own rise on purpose. Adapters under SGD or with normalised
updates work at other rates.

Source: transformers.optimization for the schedules; Schulman et al. 2025, LoRA Without Regret, for the rates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from heldout.derive.history import History
from heldout.derive.schedule import budget, rate_name, training
from heldout.records import Sample
from heldout.stats.rates import RISE, SETTLED, RateTrail
from heldout.verdicts.rule import Finding, NotChecked, Rule, Stage

ENOUGH_FALLEN = 0.8
"""Share of the peak below which the fall so far says where a schedule ends."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    zeros: int = 2
    """Rows in a row at rate 0: the first step of a warm-up and the last of a run have it by design."""
    left: float = 0.02
    """Share of the budget that must still be to come: float16's skipped steps shift the end a little."""
    jumps: float = 1.5
    """The rate over its settled peak, or over the rate before a resume."""
    rising: int = 50
    """Steps that a rise after the peak stays told."""
    length: float = 0.1
    """Share of the budget by which the schedule's end may miss the run's."""
    slack: int = 2
    """Steps by which it always may: the first step of a linear schedule is made at its full rate, so it
    reaches 0 one step behind the run, and float16 skips a step or two."""
    highest: float = 2e-3
    """Peak rate for adapters: ten times the usual 2e-4, where most runs diverge (Schulman et al. 2025)."""
    lowest: float = 1e-5
    """Peak rate for adapters below which movement hardly shows, and is lost to rounding in bfloat16."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find what is wrong with the learning rate now; one finding for each kind."""
    trail = history.fold(rate_name(history), RateTrail)
    if not trail.peak > 0 and not trail.zeros:
        return NotChecked("the learning rate is not known yet")
    found = []
    if not trail.last > 0:
        found += _zero(history, trail, limits)
    if trail.jump_step and not trail.last <= RISE * trail.jump_from:
        found += _jump(trail)
    if trail.sudden_step or trail.rise_step:
        found += _rise(history, trail, limits)
    if trail.last < ENOUGH_FALLEN * trail.peak:
        found += _length(history, trail, limits)
    return [*found, *_range(history, trail, limits)]


def _zero(history: History, trail: RateTrail, limits: Limits) -> list[Finding]:
    total = budget(history)
    left = total - (trail.zero_step if trail.zeros else history.step)
    needed = limits.zeros if trail.peak > 0 else SETTLED
    if math.isfinite(trail.last) and (trail.zeros < needed or left <= limits.left * total):
        return []
    text = f"The learning rate is {trail.last:g} from step {total - left:,} of {total:,}: nothing is trained"
    action = "Stop, or give the schedule as many steps as the run has."
    evidence = {"learning_rate": trail.last, "rows": trail.zeros, "steps": left}
    return [_finding("zero", text, action, evidence)]


def _jump(trail: RateTrail) -> list[Finding]:
    text = (
        f"The learning rate jumped to {trail.jump:.3g} times its earlier peak of {trail.jump_from:.3g} "
        f"at step {trail.jump_step}"
    )
    action = "Go back to the checkpoint before it and restore the schedule."
    evidence = {"times": trail.jump, "peak": trail.jump_from, "step": trail.jump_step}
    return [_finding("jump", text, action, evidence)]


def _rise(history: History, trail: RateTrail, limits: Limits) -> list[Finding]:
    """A rise after a fall: at a resume always, elsewhere where the schedule does not restart."""
    run, step = history.run, max(trail.sudden_step, trail.rise_step)
    sudden = trail.sudden_step == step
    every = int(training(history, "logging_steps") or 1)
    resumed = run is not None and 0 < run.step < step <= run.step + every
    if history.step - step > limits.rising or (sudden and not trail.sudden > limits.jumps):
        return []
    if not resumed and (sudden or _restarts(history)):
        return []
    where = f"at the resume from step {run.step}" if resumed and run else "after its peak"
    times = f" {trail.sudden:.3g}-fold" if sudden else ""
    text = f"The learning rate rose{times} {where} (step {step}), to {trail.last:.3g}"
    action = "Restore the scheduler's state together with the optimizer's."
    evidence = {"learning_rate": trail.last, "peak": trail.peak, "step": step}
    return [_finding("rise", text, action, evidence)]


def _restarts(history: History) -> bool:
    name = history.run.learning_rate if history.run else ""
    return any(word in name for word in ("restart", "cyc", "plateau"))


def _length(history: History, trail: RateTrail, limits: Limits) -> list[Finding]:
    """Where a linear or cosine schedule ends, read off how far it has come since its peak."""
    run, total = history.run, budget(history)
    if run is None or run.step or not total or run.learning_rate not in ("linear", "cosine"):
        return []
    share = max(0.0, trail.last / trail.peak)
    gone = 1 - share if run.learning_rate == "linear" else math.acos(2 * share - 1) / math.pi
    end = trail.peak_step + (history.step - trail.peak_step) / gone
    if trail.last > 0 and abs(end - total) <= max(limits.slack, limits.length * total):
        return []
    text = f"The {run.learning_rate} schedule ends at step {end:,.0f}, the run at {total:,}"
    action = "Build the scheduler for the number of steps of the run."
    evidence = {"schedule_ends": end, "total_steps": total}
    stage: Stage = "open" if trail.last > 0 else "holding"  # it reached 0, which is told by itself
    return [_finding("length", text, action, evidence, stage)]


def _range(history: History, trail: RateTrail, limits: Limits) -> list[Finding]:
    """A peak that adapters do not train with; the configured one is known before the first step."""
    run = history.run
    if run is None or not run.training.get("adapters"):
        return []
    peak = training(history, "learning_rate") or trail.peak
    if limits.lowest <= peak <= limits.highest:
        return []
    side = "above" if peak > limits.highest else "below"
    bound = limits.highest if peak > limits.highest else limits.lowest
    text = f"The learning rate {peak:g} is {side} what adapters train with ({bound:g})"
    return [_finding("range", text, "Start near 2e-4 for adapters.", {"learning_rate": peak})]


def _finding(
    scope: str, text: str, action: str, evidence: dict[str, Any], stage: Stage = "open"
) -> Finding:
    return Finding(
        level="warning", message=text, action=action, evidence=evidence, scope=scope, stage=stage
    )


RULE = Rule(
    name="lr-schedule",
    check=check,
    limits=Limits(),
    on=(Sample,),
    silenced_by=("loss-not-finite",),
)
