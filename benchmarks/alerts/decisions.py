"""What following a decision costs and saves: logs with evaluations are replayed, one policy at a time.

    python benchmarks/alerts/decisions.py [--corpus DIR] [--runs healthy]

A policy sees the evaluations of a run one after the other, may stop it behind any of them, and names the
one whose checkpoint to keep; every evaluation counts as saved, as early stopping needs it. Runs are the
published logs with three evaluations or more, whatever their label, and trainings kept by faults.py or
silence.py. The number that decides is the task's metric where three of it were logged, else the held-out
loss; for own trainings exact match on the fixed set. Regret is (kept - best of the whole run) / best;
"materially early" are runs stopped before an evaluation more than 1 % better than all before the stop.
Saved is the share of the steps of the log that were not made. The tied set is the one at the end of the
run; it covers the oracle when the best evaluation of the run is in it. "Run on, lowest number" has no
regret by definition: the number that chooses is the one that judges, so its luck does not show.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import corpus
from callbacks import patience
from outcomes import facts, share
from training import JOURNAL

from heldout.derive.deciding import is_held_out
from heldout.derive.eval_curve import constant_rate, deciding_curve
from heldout.derive.history import History
from heldout.errors import HeldoutError
from heldout.records import AnyRecord, Checkpoint, Decision, EvalResult, Sample
from heldout.store.foreign import open_any
from heldout.store.journal import read
from heldout.verdicts.judge import Judge

LEAST = 3
"""Evaluations a log needs."""
MATERIAL = 0.01
"""Relative gain that a stop should not have forgone."""
FALLEN = 0.5
"""Share of its peak to which the learning rate has fallen where the gated patience begins to count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The evaluations of one run, lower is better, and what heldout decided."""

    name: str
    steps: list[int]
    values: list[float]
    low_rate: list[bool]
    """Whether the learning rate had fallen, or is constant, at each of them."""
    decided: Choice
    tied: list[int]
    """Indices of the evaluations that heldout held for equal to the best at the end."""

    @property
    def best(self) -> int:
        """Index of the first best evaluation of the whole run."""
        return min(range(len(self.values)), key=self.values.__getitem__)


@dataclass(frozen=True, slots=True)
class Choice:
    """Stop behind evaluation `stop` and keep the checkpoint of `kept`."""

    stop: int
    kept: int


Policy = Callable[[Curve], Choice]


def waiting(most: int, gated: bool = False) -> Policy:
    """Early stopping with patience, keeping the best so far; `gated` by the learning rate."""

    def policy(curve: Curve) -> Choice:
        stop = patience(curve.values, most, curve.low_rate if gated else None)
        return Choice(stop, min(range(stop + 1), key=curve.values.__getitem__))

    return policy


def _end(curve: Curve) -> int:
    return len(curve.values) - 1


POLICIES: dict[str, Policy] = {
    "heldout": lambda curve: curve.decided,
    "last checkpoint": lambda curve: Choice(_end(curve), _end(curve)),
    "EarlyStoppingCallback, patience 1": waiting(1),
    "EarlyStoppingCallback, patience 3": waiting(3),
    "EarlyStoppingCallback, patience 5": waiting(5),
    "patience 3, gated by the learning rate": waiting(3, gated=True),
    "run on, lowest number": lambda curve: Choice(_end(curve), curve.best),
    "oracle: stop at the best": lambda curve: Choice(curve.best, curve.best),
}


def curve_of(path: Path) -> Curve | None:
    """Replay one run; None where it has too few evaluations."""
    records = read(path)[0] if path.name == JOURNAL else open_any(path)
    records = _saved_everywhere(facts(records))
    history = History.of(records)
    if history.evals:
        steps = [result.step for result in history.evals]
        values = [-result.em for result in history.evals]
    else:
        found = deciding_curve(history)
        if found is None:
            return None
        steps, values = found.steps, found.losses
    if len(steps) < LEAST or not all(map(math.isfinite, values)):
        return None
    decided, tied = _decided(records, steps)
    name = path.parent.parent.name if path.name == JOURNAL else path.stem
    return Curve(
        name=name,
        steps=steps,
        values=values,
        low_rate=_low_rate(history, steps),
        decided=decided,
        tied=tied,
    )


def _saved_everywhere(records: Sequence[AnyRecord]) -> list[AnyRecord]:
    """The records with a checkpoint behind each evaluation, and no others."""
    found: list[AnyRecord] = []
    for record in records:
        if isinstance(record, Checkpoint):
            continue
        found.append(record)
        scored = isinstance(record, EvalResult) or (
            isinstance(record, Sample) and any(map(is_held_out, record.values))
        )
        if scored:
            path = f"checkpoint-{record.step}"
            found.append(Checkpoint(step=record.step, time=record.time, path=path))
    return found


def _decided(records: Sequence[AnyRecord], steps: Sequence[int]) -> tuple[Choice, list[int]]:
    """Where heldout's first decision to end the run ends it, and what the last one holds for tied."""
    judge = Judge()
    choice: Choice | None = None
    last: Decision | None = None
    for record in records:
        for found in judge.feed(record):
            if not isinstance(found, Decision):
                continue
            last = found
            ends = found.action in ("stop", "roll-back") and found.step < steps[-1]
            if choice is None and ends and found.step >= steps[0]:
                stop = max(i for i, step in enumerate(steps) if step <= found.step)
                choice = Choice(stop, _index(found.checkpoint, steps, stop))
    end = len(steps) - 1
    kept = _index(last.checkpoint if last else None, steps, end)
    tied = [_index(path, steps, end) for path in last.tied] if last else []
    return choice or Choice(end, kept), tied


def _index(checkpoint: str | None, steps: Sequence[int], otherwise: int) -> int:
    """The evaluation whose checkpoint it is; without a recommendation one keeps the last."""
    return steps.index(int(checkpoint.rpartition("-")[2])) if checkpoint else otherwise


def _low_rate(history: History, steps: Sequence[int]) -> list[bool]:
    """Whether the learning rate was at most half its peak so far, is constant, or is not known."""
    rates = history.columns.get("learning_rate")
    if constant_rate(history) or not len(rates):
        return [True] * len(steps)
    found = []
    for step in steps:
        before = [
            value for at, value in zip(rates.steps, rates.values, strict=True) if at <= step
        ] or [math.inf]
        found.append(before[-1] <= FALLEN * max(before))
    return found


def regret(curve: Curve, choice: Choice) -> float:
    """How much worse the kept evaluation is than the best of the run, as a share of that."""
    best = curve.values[curve.best]
    return (curve.values[choice.kept] - best) / abs(best) if best else 0.0


def early(curve: Curve, choice: Choice) -> bool:
    """Whether the run was stopped before a material gain."""
    before, best = min(curve.values[: choice.stop + 1]), curve.values[curve.best]
    return before - best > MATERIAL * abs(best)


def saved(curve: Curve, choice: Choice) -> float:
    """Share of the steps that were not made."""
    return 1 - curve.steps[choice.stop] / curve.steps[-1]


def table(title: str, curves: Sequence[Curve]) -> str:
    """All policies on these runs, and the tied sets."""
    lines = [
        f"**{title}** ({len(curves)} runs)\n",
        "| | mean regret | worst | steps saved, mean | runs stopped | materially early |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, policy in POLICIES.items():
        choices = [(curve, policy(curve)) for curve in curves]
        regrets = [regret(*pair) for pair in choices]
        stopped = sum(choice.stop < _end(curve) for curve, choice in choices)
        cells = [
            name,
            f"{fmean(regrets):.4f}",
            f"{max(regrets):.3f}",
            f"{fmean(saved(*pair) for pair in choices):.0%}",
            str(stopped),
            share(sum(early(*pair) for pair in choices), len(choices)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    covered = sum(curve.best in curve.tied for curve in curves)
    sizes = [len(curve.tied) for curve in curves]
    lines.append(
        f"\nThe tied set holds the best evaluation in {share(covered, len(curves))}; its median size "
        f"is {median(sizes):g} of {median(len(curve.steps) for curve in curves):g} evaluations."
    )
    worst = sorted(curves, key=lambda curve: -regret(curve, curve.decided))[:5]
    for curve in worst:
        lost = regret(curve, curve.decided)
        if lost > MATERIAL:
            at = curve.steps[curve.decided.stop]
            kept, best = curve.steps[curve.decided.kept], curve.steps[curve.best]
            lines.append(
                f"- {curve.name}: regret {lost:.3f}: stopped at {at:,}, kept {kept:,}, best {best:,}"
            )
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    corpus.add_argument(parser)
    parser.add_argument(
        "--runs", type=Path, action="append", default=[], help="folder of faults.py or silence.py"
    )
    given = parser.parse_args()
    published = []
    for log in corpus.logs(given.corpus):
        try:
            published.append(curve_of(log.path))
        except HeldoutError as error:
            print(f"left out: {error}")
    own = [curve_of(path) for each in given.runs for path in sorted(each.glob(f"*/*/{JOURNAL}"))]
    for title, curves in {"Published logs": published, "Own trainings": own}.items():
        if known := [curve for curve in curves if curve]:
            print(table(title, known))


if __name__ == "__main__":
    main()
