"""What is lost when a training process is killed (SIGKILL) right after it logged a step.

    python benchmarks/overhead/kill.py --env trackio=VENV --env tensorboard=VENV \\
        --env wandb=VENV --env mlflow=VENV
    python benchmarks/overhead/kill.py [--only heldout,floor] [--repeats 3] [--jobs 2]

The process logs 20 scalars a step, at one of three paces, and announces each step through a pipe once
the logging call has returned. At step N it is killed, while it goes on with the next step; what it
announced until then had returned. Processes that the tool started beside it live on, until they end
by themselves or have had 20 s to store what they hold. Then the tool's own reader is asked. Lost is an
announced step of which it shows no value. Torn is a step of which it shows some of the 20 values, or
wrong ones, whether it was announced or not. Shown are medians over repeats, with the largest in
brackets where it differs. For the tools and `--env`, see trackers.py.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

from processes import alive, children
from tools import WORKER, Place, Tool, WorkerFailed, add_arguments, chosen, place
from workload import NUM_SCALARS

GRACE_SECONDS = 20.0
"""How long helpers may go on storing: W&B's writes every 15 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How many steps are logged before the kill, and the sleep after each of them."""

    title: str
    steps: int
    seconds: float


PACES = (
    Pace(title="tight, 2,000 steps", steps=2_000, seconds=0.0),
    Pace(title="20 ms, 300 steps", steps=300, seconds=0.02),
    Pace(title="500 ms, 20 steps", steps=20, seconds=0.5),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What one kill did to the announced steps."""

    announced: int
    lost: int
    torn: int


def killed(tool: Tool, pace: Pace) -> Loss:
    """Log with `tool` at `pace`, kill the process, and count. Raises `WorkerFailed`."""
    with place() as here:
        announced = _announced_until_killed(here, tool, pace)
        found = {int(step): n for step, n in here.run(tool, "read").items()}
    return Loss(
        announced=announced,
        lost=sum(step not in found for step in range(1, announced + 1)),
        torn=sum(n < NUM_SCALARS for n in found.values()),
    )


def _announced_until_killed(here: Place, tool: Tool, pace: Pace) -> int:
    """Return the last step whose logging call had returned."""
    reader, writer = os.pipe()
    log = here.folder.with_name("printed.txt")
    with log.open("wb") as printed, os.fdopen(reader, "rb") as steps:
        worker = subprocess.Popen(
            [tool.python, WORKER, "announce", tool.name, str(writer), str(pace.seconds)],
            cwd=here.folder,
            env=here.environment(),
            stdout=printed,
            stderr=subprocess.STDOUT,
            pass_fds=[writer],
        )
        os.close(writer)
        last = 0
        while last < pace.steps and (number := steps.read(4)):
            last = int.from_bytes(number, "little")
        helpers = children(worker.pid)
        worker.kill()
        ended = worker.wait()
        _let_end(helpers)
        while len(number := steps.read(4)) == 4:
            last = int.from_bytes(number, "little")
    if ended != -signal.SIGKILL:
        raise WorkerFailed(f"{tool.name}: announce: {log.read_text(errors='replace')[-2000:]}")
    return last


def _let_end(helpers: Sequence[int]) -> None:
    """Wait for the processes a tool started beside the one that was killed, then end them."""
    until = time.monotonic() + GRACE_SECONDS
    while any(map(alive, helpers)) and time.monotonic() < until:
        time.sleep(0.1)
    for pid in filter(alive, helpers):
        os.kill(pid, signal.SIGKILL)


def compare(tools: Sequence[Tool], repeats: int, jobs: int) -> dict[tuple[str, str], list[Loss]]:
    """Kill every tool at every pace `repeats` times, `jobs` at once, in turn."""
    losses: dict[tuple[str, str], list[Loss]] = {}

    def one(task: tuple[Pace, Tool]) -> None:
        pace, tool = task
        try:
            loss = killed(tool, pace)
        except WorkerFailed as error:
            print(error, file=sys.stderr)
            return
        losses.setdefault((tool.name, pace.title), []).append(loss)
        print(f"{tool.name}, {pace.title}: {loss}", file=sys.stderr, flush=True)

    tasks = [(pace, tool) for pace in PACES for _ in range(repeats) for tool in tools]
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, tasks))
    return losses


def count(numbers: Sequence[int]) -> str:
    """Format a median, with the largest where it differs."""
    middle, largest = f"{median(numbers):g}", f"{max(numbers)}"
    return middle if middle == largest else f"{middle} ({largest})"


def show(tools: Sequence[Tool], losses: Mapping[tuple[str, str], Sequence[Loss]]) -> None:
    """Print the table."""
    width = max(len(tool.title) for tool in tools)
    print(f"{'':{width}}  " + " ".join(f"{pace.title:>25}" for pace in PACES))
    print(f"{'':{width}}  " + " ".join(f"{'lost':>16} {'torn':>8}" for _ in PACES))
    for tool in tools:
        cells = []
        for pace in PACES:
            found = losses.get((tool.name, pace.title), [])
            lost = count([loss.lost for loss in found]) if found else "failed"
            torn = count([loss.torn for loss in found]) if found else ""
            cells.append(f"{lost:>16} {torn:>8}")
        print(f"{tool.title:{width}}  " + " ".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument("--jobs", type=int, default=2, help="how many processes log at once")
    given = parser.parse_args()
    tools = chosen(given)
    show(tools, compare(tools, given.repeats, given.jobs))


if __name__ == "__main__":
    main()
