"""What logging 20 scalars a step costs: heldout's journal beside four trackers and one bare write.

    python benchmarks/overhead/trackers.py --env trackio=VENV --env tensorboard=VENV \\
        --env wandb=VENV --env mlflow=VENV
    python benchmarks/overhead/trackers.py [--only heldout,floor] [--repeats 3]

The trackers log through transformers' own callbacks, called as the Trainer calls them. A tool without
`--env` runs in the present interpreter if it is installed there; one that is not is named and left
out. In every repeat each tool takes its turn, in a process of its own, once in a tight loop and once
with 2 ms of sleep before each step. Times are of the calling thread inside the call. CPU is that of
the tight loop and of storing all it logged, in the training process (all threads) and in processes
that the tool started beside it. MB (1e6 bytes) are what the tight loop added to the disk. Shown are
medians over repeats; a ratio to heldout is taken within a repeat, of medians. Figures per 10,000
steps are scaled from the steps that were logged. It takes about five minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from statistics import median

from tools import Tool, WorkerFailed, add_arguments, chosen, place

PACE_SECONDS = 0.002
STEPS = {"floor": 10_000, "heldout": 10_000, "trackio": 10_000, "wandb": 10_000, "mlflow": 1_000}
"""Steps of the tight loop, fewer for who takes milliseconds: MLflow stores some 150 steps a second."""
OTHER_STEPS = 5_000
PACED_STEPS = {"mlflow": 1_000}
OTHER_PACED_STEPS = 2_000
PER = 10_000
COLUMNS = (
    *("median", "p99", "median", "p99"),
    *("process", "helpers", "10,000", "tight", "2 ms", "steps"),
)

Reading = Mapping[str, float]


def tight(tool: Tool) -> Reading:
    """Log as fast as the tool takes it."""
    with place() as here:
        reading: Reading = here.run(tool, "time", STEPS.get(tool.name, OTHER_STEPS), 0)
    return reading


def paced(tool: Tool) -> Reading:
    """Log with a sleep before each step, as between the steps of a small model."""
    steps = PACED_STEPS.get(tool.name, OTHER_PACED_STEPS)
    with place() as here:
        reading: Reading = here.run(tool, "time", steps, PACE_SECONDS)
    return reading


def compare(tools: Sequence[Tool], repeats: int) -> dict[str, list[tuple[Reading, Reading]]]:
    """Give every tool its turn, tight and paced, `repeats` times; one that fails is left out."""
    readings: dict[str, list[tuple[Reading, Reading]]] = {tool.name: [] for tool in tools}
    for repeat in range(repeats):
        for tool in tools:
            if len(readings[tool.name]) < repeat:
                continue
            print(f"\r{repeat + 1}/{repeats} {tool.name:<12}", end="", file=sys.stderr, flush=True)
            try:
                readings[tool.name].append((tight(tool), paced(tool)))
            except WorkerFailed as error:
                print(f"\r{error}", file=sys.stderr)
    print("\r" + " " * 20 + "\r", end="", file=sys.stderr, flush=True)
    return {name: found for name, found in readings.items() if len(found) == repeats}


def row(
    readings: Sequence[tuple[Reading, Reading]], heldout: Sequence[tuple[Reading, Reading]]
) -> str:
    """Format one tool's medians over repeats; times in microseconds."""
    tights, paceds = zip(*readings, strict=True)
    cells = [
        *(f"{median(r[key] for r in tights) * 1e6:8.1f}" for key in ("median", "p99")),
        *(f"{median(r[key] for r in paceds) * 1e6:8.1f}" for key in ("median", "p99")),
        *(f"{median(r[key] for r in tights) * PER:8.2f}" for key in ("cpu", "helper_cpu")),
        f"{median(r['bytes'] for r in tights) * PER / 1e6:8.2f}",
    ]
    for kind in range(2) if heldout else ():
        pairs = zip(readings, heldout, strict=True)
        ratio = median(own[kind]["median"] / theirs[kind]["median"] for own, theirs in pairs)
        cells.append(f"{ratio:8.2f}")
    return " ".join(cells)


def show(tools: Sequence[Tool], readings: Mapping[str, list[tuple[Reading, Reading]]]) -> None:
    """Print the table."""
    width = max(len(tool.title) for tool in tools)
    print(f"{'':{width}}  {'tight, us':>17} {'2 ms apart, us':>17}", end=" ")
    print(f"{'CPU s / 10,000':>17} {'MB /':>8} {'x heldout':>17} {'tight':>8}")
    print(f"{'':{width}}  " + " ".join(f"{name:>8}" for name in COLUMNS))
    for tool in tools:
        if tool.name in readings:
            cells = row(readings[tool.name], readings.get("heldout", []))
            steps = f"{STEPS.get(tool.name, OTHER_STEPS):,}"
            print(f"{tool.title:{width}}  {cells} {steps:>8}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    given = parser.parse_args()
    tools = chosen(given)
    show(tools, compare(tools, given.repeats))


if __name__ == "__main__":
    main()
