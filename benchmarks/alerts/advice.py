"""How often the advice names a pattern that does not lack data: runs are simulated, so the truth is known.

    python benchmarks/alerts/advice.py [--runs 300] [--examples 40] [--looks 10]

Five patterns of `--examples` held-out examples each are scored at the start and `--looks` times after it. An
example is right once its pattern's ability exceeds its difficulty, give or take some churn. Ability rises
along a saturating curve from a start of its own; where it ends, and so the share that is right in the end, is
known. Kinds of runs: "equal" (all alike), "late" (one pattern begins to rise after 15 to 60 % of the
steps and ends where the others do), "hard" (one ends 35 points below the others), "mixed" (starts and ends at
random). Wrong is a named pattern that ends less than 5 points below the mean of the others. Right is the
pattern named at the end that is 25 points or more below them. Beside it: whoever lies surely below the others
at that look is named, as was done before.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from heldout.derive.advice import advise
from heldout.derive.history import History
from heldout.derive.patterns import matrix
from heldout.records import EvalResult, Item, Note, Run
from heldout.stats.intervals import wilson

sys.path.insert(0, str(Path(__file__).parent))
from outcomes import share

NAMES = ("coding", "creative", "factual", "math", "reasoning")
TOTAL = 1000
CHURN = 0.15
"""Spread of what an example takes at one look, in spreads of the examples' difficulty."""
ENOUGH, CLEAR = 0.05, 0.25
NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Subject:
    """How each pattern learns: when it begins, how steeply, and the share that is right in the end."""

    begins: NDArray[np.float64]
    steepness: NDArray[np.float64]
    ends: NDArray[np.float64]

    def lacks(self, pattern: str) -> float:
        """How far the pattern ends below the mean of the others."""
        i = NAMES.index(pattern)
        return float(np.delete(self.ends, i).mean() - self.ends[i])


def subject(kind: str, rng: np.random.Generator) -> Subject:
    """One run of a kind."""
    many = len(NAMES)
    begins = rng.uniform(0, 0.05, many)
    ends = np.full(many, rng.uniform(0.6, 0.9))
    one = rng.integers(many)
    if kind == "late":
        begins[one] = rng.uniform(0.15, 0.6)
    elif kind == "hard":
        ends[one] -= 0.35
    elif kind == "mixed":
        begins, ends = rng.uniform(0, 0.6, many), rng.uniform(0.2, 0.95, many)
    return Subject(begins, rng.uniform(4, 9, many), ends)


def looks(found: Subject, rng: np.random.Generator, n: int, count: int) -> Iterator[History]:
    """The run as it stands at each look, the finished run last."""
    history = History()
    rows = dict.fromkeys(NAMES, 100)
    history.add(Run(id="r", time=0.0, model="m", total_steps=TOTAL, train_patterns=rows))
    difficulty = rng.normal(size=(len(NAMES), n))
    for look in range(count + 1):
        step = look * TOTAL // count
        for i, pattern in enumerate(NAMES):
            gone = max(0.0, look / count - found.begins[i]) / (1 - found.begins[i])
            grown = (1 - np.exp(-found.steepness[i] * gone)) / (1 - np.exp(-found.steepness[i]))
            ability = -3 + (NORMAL.inv_cdf(found.ends[i]) + 3) * grown
            right = ability + rng.normal(scale=CHURN, size=n) > difficulty[i]
            for j, correct in enumerate(right.tolist()):
                history.add(_item(step, f"{pattern}{j}", pattern, correct))
        history.add(_result(step, history))
        if step == TOTAL:
            history.add(Note(step=step, time=step, topic="finished", text=""))
        yield history


def named(history: History) -> list[str]:
    """The patterns that the advice names."""
    return [each.evidence["pattern"] for each in advise(history) if each.topic == "data"]


def below(history: History) -> list[str]:
    """The patterns that lie surely below the others at the last look."""
    rows = matrix(history.last_items)["rows"]
    found = []
    for row in rows:
        others = [each for each in rows if each is not row]
        low, _ = wilson(sum(x["correct"] for x in others), sum(x["seen"] for x in others))
        found += [row["pattern"]] if row["em_high"] < low else []
    return found


def main() -> None:
    """Simulate, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--examples", type=int, default=40)
    parser.add_argument("--looks", type=int, default=10)
    given = parser.parse_args()
    print(f"{given.runs} runs a kind, {given.examples} examples a pattern, {given.looks} looks\n")
    print(
        "| runs | who names | a wrong one at some look | a wrong one at the end | the right one at the end |"
    )
    print("|---|---|---:|---:|---:|")
    for kind in ("equal", "late", "hard", "mixed"):
        for title, name in (("heldout", named), ("surely below at the look", below)):
            print(f"| {kind} | {title} | {_row(kind, name, given)} |", flush=True)


def _row(kind: str, name: Callable[[History], Sequence[str]], given: argparse.Namespace) -> str:
    rng = np.random.default_rng(0)
    ever, last, right, clear = 0, 0, 0, 0
    for _ in range(given.runs):
        found = subject(kind, rng)
        said = [name(history) for history in looks(found, rng, given.examples, given.looks)]
        wrong = [any(found.lacks(x) < ENOUGH for x in each) for each in said]
        ever, last = ever + any(wrong), last + wrong[-1]
        lacking = [x for x in NAMES if found.lacks(x) >= CLEAR]
        right, clear = right + sum(x in said[-1] for x in lacking), clear + len(lacking)
    told = share(right, clear) if clear else "-"
    return f"{share(ever, given.runs)} | {share(last, given.runs)} | {told}"


def _item(step: int, name: str, pattern: str, correct: bool) -> Item:
    return Item(
        step=step,
        id=name,
        pattern=pattern,
        bin="0-100",
        tokens=9,
        correct=correct,
        token_correct=correct,
        ce=0.1 if correct else 2.0,
        entropy=0.3,
        divergence=None if correct else 0,
    )


def _result(step: int, history: History) -> EvalResult:
    items = history.items[step]
    correct = sum(item.correct for item in items)
    low, high = wilson(correct, len(items))
    zero = {
        name: 0.0
        for name in EvalResult.__struct_fields__
        if name not in ("rechecked", "mismatched", "sequence_ece", "bins")
    }
    counts = {"n": len(items), "correct": correct, "near_ties": 0, "decoded": 0, "non_finite": 0}
    rates = {"em": correct / len(items), "em_low": low, "em_high": high, "tokens": 9 * len(items)}
    return EvalResult(**zero | counts | rates | {"step": step, "bins": []})  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
