"""What each way of deciding does with a run: behind which evaluation it ends it, and which one it keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from replays import Run

from heldout.records import AnyRecord, Checkpoint, Decision, EvalResult, Item, Sample
from heldout.records import Run as Begun
from heldout.stats.intervals import wilson
from heldout.verdicts.judge import Judge
from heldout.verdicts.rules import plateau, regression


@dataclass(frozen=True, slots=True)
class Choice:
    """Stop behind evaluation `stop`, and keep the checkpoint of `kept`."""

    stop: int
    kept: int


def heldout(run: Run, may_stop: bool = True) -> Choice:
    """Feed the run to the judge record by record, as a training does, and do what it decides."""
    judge = Judge(rules=[plateau.RULE, regression.RULE])
    schedule = "constant" if run.constant else "linear"
    judge.feed(
        Begun(id="r", time=0.0, model="m", total_steps=run.steps[-1], learning_rate=schedule)
    )
    last: Decision | None = None
    for look in range(len(run.steps)):
        for record in _evaluation(run, look):
            for judged in judge.feed(record):
                last = judged if isinstance(judged, Decision) else last
        if may_stop and last and last.action in ("stop", "roll-back"):
            break
    kept = (
        run.steps.index(int(last.checkpoint.rpartition("-")[2]))
        if last and last.checkpoint
        else look
    )
    return Choice(look, kept)


def run_on(run: Run) -> Choice:
    """Heldout's checkpoint where nobody stops."""
    return heldout(run, may_stop=False)


def patience(most: int, by_ce: bool) -> Callable[[Run], Choice]:
    """Transformers' EarlyStoppingCallback, its threshold 0, with load_best_model_at_end."""

    def policy(run: Run) -> Choice:
        value_K = -run.ce_KN.mean(axis=1) if by_ce else run.correct_KN.mean(axis=1)
        best, waited, stop = -np.inf, 0, len(value_K) - 1
        for look in range(1, len(value_K)):
            best, waited = (value_K[look], 0) if value_K[look] > best else (best, waited + 1)
            if waited >= most:
                stop = look
                break
        return Choice(stop, int(value_K[: stop + 1].argmax()))

    return policy


POLICIES: dict[str, Callable[[Run], Choice]] = {
    "heldout": heldout,
    "heldout, run on": run_on,
    "EarlyStopping 5 on EM": patience(5, by_ce=False),
    "EarlyStopping 5 on CE": patience(5, by_ce=True),
}


def _evaluation(run: Run, look: int) -> list[AnyRecord]:
    """The records of one evaluation, and of the checkpoint saved there."""
    step = run.steps[look]
    right_N, ce_N = run.correct_KN[look].tolist(), run.ce_KN[look].tolist()
    items: list[AnyRecord] = [
        Item(
            step=step,
            id=f"{i:05}",
            pattern="all",
            bin="0-100",
            tokens=1,
            correct=right,
            token_correct=right,
            ce=ce,
            entropy=0.0,
            divergence=None,
        )
        for i, (right, ce) in enumerate(zip(right_N, ce_N, strict=True))
    ]
    n, correct = len(right_N), sum(right_N)
    low, high = wilson(correct, n)
    scored = dict.fromkeys(
        (
            "ce_low",
            "ce_high",
            "ce_by_example",
            "entropy",
            "token_accuracy",
            "ece",
            "ece_low",
            "ece_high",
            "ece_null",
            "ece_equal_mass",
            "confidence_gap",
            "brier",
            "seconds",
        ),
        0.0,
    )
    result = EvalResult(
        step=step,
        time=float(step),
        n=n,
        correct=correct,
        em=correct / n,
        em_low=low,
        em_high=high,
        token_em=correct / n,
        near_ties=0,
        decoded=0,
        ce=float(np.mean(ce_N)),
        tokens=n,
        non_finite=0,
        bins=[],
        **scored,
    )
    rate = Sample(step=step, time=float(step), values={"learning_rate": run.rates[look]})
    saved = Checkpoint(step=step, time=float(step), path=f"checkpoint-{step}")
    return [*([rate] if step else []), *items, saved, result]
