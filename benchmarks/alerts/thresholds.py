"""What published logs do by themselves: the counts that the rules' limits were chosen by.

    python benchmarks/alerts/thresholds.py --corpus DIR

Healthy and plateau logs count, but for the last line, which is of logs with a task's own metric whose
held-out loss rose. A baseline is the median of the eight rows before; a level is the median of nine.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from statistics import median

import corpus
import numpy as np

from heldout.derive.deciding import LEAST, NAME, deciding, says_the_loss
from heldout.derive.history import History
from heldout.store.foreign import open_any

QUIET = ("healthy", "plateau")
BEFORE, LEVEL = 8, 9
FIRST = 4
RISEN = 1.05
"""The last held-out loss over the lowest, from which on it counts as risen."""


def main() -> None:
    """Print a line a question."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    corpus.add_argument(parser)
    logs = corpus.logs(parser.parse_args().corpus)
    quiet = [
        folded for log in logs if log.label in QUIET for folded in [History.of(open_any(log.path))]
    ]
    losses = [finite(history, "loss/logged") for history in quiet]
    norms = [finite(history, "grad/norm") for history in quiet]
    evals = [finite(history, NAME) for history in quiet]
    show(
        "loss above 1.5 times its baseline, ever",
        [max(jumps(x), default=0) > 1.5 for x in losses if x],
    )
    rises = sorted(rise for x in losses if (rise := highest_rise(x)))
    print(
        f"level over the lowest before it, the most by log: {', '.join(f'{x:.2f}' for x in rises[-6:])}"
    )
    show(
        "gradient norm above 10 times its baseline, ever",
        [max(jumps(x), default=0) > 10 for x in norms if x],
    )
    spans = sorted(max(x[:FIRST]) / min(x[:FIRST]) - 1 for x in evals if len(x) >= FIRST)
    print(
        f"first {FIRST} held-out losses, least spread by log: {', '.join(f'{x:.1%}' for x in spans[:4])}"
    )
    strays = sorted(x[-1] / min(x) - 1 for x in evals if len(x) >= LEAST)
    print(
        f"last held-out loss over the lowest, the most by log: {', '.join(f'{x:.1%}' for x in strays[-4:])}"
    )
    for log in logs:
        for line in risen(History.of(open_any(log.path))):
            print(f"{log.path.stem}: {line}")


def show(question: str, answers: Sequence[bool]) -> None:
    """Print how many logs say yes."""
    print(f"{question}: {sum(answers)} of {len(answers)} logs")


def finite(history: History, name: str) -> list[float]:
    """The finite values of a series."""
    return [value for value in history.columns.get(name).values.tolist() if math.isfinite(value)]


def jumps(values: Sequence[float]) -> Iterator[float]:
    """Each value over its baseline, where that is above zero."""
    for i in range(BEFORE, len(values)):
        baseline = median(values[i - BEFORE : i])
        if baseline > 0:
            yield values[i] / baseline


def highest_rise(values: Sequence[float]) -> float | None:
    """The most that a level lies above the lowest one before it; None where too few or near zero."""
    levels = [median(values[i - LEVEL : i]) for i in range(LEVEL, len(values) + 1)]
    if len(levels) < 2 or min(levels) <= 0:
        return None
    lowest = np.minimum.accumulate(levels)
    return float(np.max(np.array(levels) / lowest))


def risen(history: History) -> Iterator[str]:
    """The task's metric where the held-out loss was lowest and at the end, if that loss rose."""
    losses, loss = history.columns.get(NAME), dict(pairs(history, NAME))
    if len(losses) < LEAST or not losses.last > RISEN * min(loss.values()):
        return
    lowest = min(loss, key=lambda step: loss[step])
    chosen = deciding(history)
    if chosen is None or says_the_loss(chosen.name):
        return
    known = dict(pairs(history, chosen.name))
    if lowest in known:
        last = max(known)
        rose, then, now = loss[last] / loss[lowest] - 1, known[lowest], known[last]
        yield f"held-out loss rose by {rose:.0%}; {chosen.name} {then:.3f} where lowest, {now:.3f} last"


def pairs(history: History, name: str) -> Iterator[tuple[int, float]]:
    """Steps and values of a series."""
    series = history.columns.get(name)
    yield from zip(series.steps.tolist(), series.values.tolist(), strict=True)


if __name__ == "__main__":
    main()
