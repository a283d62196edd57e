"""Faults put into real LoRA trainings: which alerts catch them, how soon, and with how many messages.

    python benchmarks/alerts/faults.py --out faults [--seeds 5] [--only rate-x30,frozen-layers]
    python benchmarks/alerts/faults.py --judge faults         # the same runs, by the rules as they are now
    python benchmarks/alerts/faults.py --out faults-smollm2 --model smollm2 --seeds 1

Each run is a Trainer with `heldout.Monitor`; a fault that begins in the run begins at a step drawn from
its 20th to its 70th percent, by the seed. `tiny` is a Llama of 6 layers and width 64 that has learned to
rewrite letters, with LoRA of r=8 on every linear layer, 200 steps in about ten seconds (its warm start takes
a minute, once); `smollm2` is the demo's model on the demo's data, four minutes a run on two cores.

"Caught" is a right alert within the window, named rightly, with no wrong one beside it; the interval is
Clopper-Pearson's, 95 %. Delay is in steps from the onset: the fault, or the first evaluation in which
the harm it does is there to be seen. Messages are alerts opened, escalated and resolved from the fault
on, from warning on. `--out` keeps every journal, so judging again takes seconds, and runs that are there
already are not trained again. With `--env` (see silence.py) the other tools are asked what they say of the
same runs' trainer_state.json, which holds the Trainer's own evaluations: runs with a finding of level warning
or above. They see the whole log, when the run is over; no window is asked of them, nor the right cause.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import rivals
import torch
from injections import BEFORE, FAULTS, Fault
from outcomes import Outcome, live_equals_replay, outcome, share
from rivals import Rival
from subjects import EVERY, Subject, subject
from training import STATE, TRUTH, healthy, run

from heldout.verdicts.judge import all_rules

LEFT_OUT = "left out: no harm was seen, or too late in the run for the window"
EARLIEST, LATEST = 0.2, 0.7
"""The part of a run in which faults begin."""


def train(fault: Fault, given: Subject, seed: int, out: Path) -> None:
    """Run one training with the fault in it; what is true of it goes beside its journal."""
    folder = out / fault.name / f"seed-{seed}"
    setup = healthy(given, seed)
    steps = setup.steps
    chance = random.Random(f"{fault.name} {seed}")
    step = chance.randint(round(EARLIEST * steps), round(LATEST * steps))
    truth = fault.inject(setup, step)
    run(setup, folder)
    truth |= {"fault": fault.name, "seed": seed, "step": step, "at_step": fault.at_step}
    truth |= {"model": given.name, "live_equals_replay": live_equals_replay(folder)}
    (folder / TRUTH).write_text(json.dumps(truth))


def judged(faults: Sequence[Fault], out: Path) -> dict[str, list[Outcome]]:
    """Judge every run in `out` by today's rules."""
    found = {}
    for fault in faults:
        folders = sorted(path.parent for path in (out / fault.name).glob(f"*/{TRUTH}"))
        outcomes = []
        for folder in folders:
            model = json.loads((folder / TRUTH).read_text())["model"]
            outcomes.append(outcome(fault, folder, EVERY[model]))
        if outcomes:
            found[fault.name] = outcomes
    return found


def table(faults: Sequence[Fault], found: dict[str, list[Outcome]]) -> str:
    """The results as a table in Markdown, and a line for each run that was missed."""
    lines = [
        "| fault | expected | window | caught | delay | messages | raised from the fault on | before it |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    missed, caught, runs = [], 0, 0
    for fault in (each for each in faults if each.name in found):
        with_harm = [o for o in found[fault.name] if not o.no_effect]
        hits = [o for o in with_harm if not o.problem]
        caught, runs = caught + len(hits), runs + len(with_harm)
        delays = [o.delay for o in with_harm if o.delay is not None]
        by = Counter(rule for o in with_harm for rule in o.by)
        false = Counter(each.split("@")[0] for o in found[fault.name] for each in o.false)
        cells = [
            fault.title,
            ", ".join(fault.expected),
            _window(fault),
            share(len(hits), len(with_harm)),
            f"{median(delays):g}" if delays else "-",
            f"{median(o.notified for o in with_harm):g}" if with_harm else "-",
            _counts(by),
            _counts(false),
        ]
        lines.append(f"| {' | '.join(cells)} |")
        for o in found[fault.name]:
            problem = (
                o.problem
                if not o.no_effect
                else "left out: no harm was seen, or too late in the run for the window"
            )
            if problem:
                missed.append(f"- {fault.title}, seed {o.seed}: {problem}")
    every = [o for outcomes in found.values() for o in outcomes if not o.no_effect]
    quiet = sum(o.notified <= 3 for o in every)
    lines += [
        "",
        f"Caught {share(caught, runs)}; at most 3 messages in {share(quiet, len(every))}.",
    ]
    return "\n".join([*lines, "", *missed])


def others(faults: Sequence[Fault], out: Path, asked: Sequence[Rival]) -> str:
    """Runs of each fault in which other tools warned, as a table in Markdown."""
    lines = [
        f"| fault | runs | {' | '.join(rival.title for rival in asked)} |",
        "| --- | --- |" + " --- |" * len(asked),
    ]
    sums = Counter[str]()
    for fault in faults:
        logs = sorted(out.glob(f"{fault.name}/*/{STATE}"))
        if not logs:
            continue
        print(f"\r{fault.name:<30}", end="", file=sys.stderr, flush=True)
        warned = {
            rival.name: sum(bool(rival.look(log).warnings) for log in logs) for rival in asked
        }
        sums.update(warned)
        sums["runs"] += len(logs)
        cells = [fault.title, str(len(logs)), *(str(warned[rival.name]) for rival in asked)]
        lines.append(f"| {' | '.join(cells)} |")
    totals = [share(sums[rival.name], sums["runs"]) for rival in asked]
    return "\n".join([*lines, f"| all | {sums['runs']} | {' | '.join(totals)} |"])


def agreement(out: Path) -> str:
    """How many runs were judged live as they were judged again from their journals."""
    truths = [json.loads(path.read_text()) for path in out.glob(f"*/*/{TRUTH}")]
    same = sum(truth["live_equals_replay"] for truth in truths)
    return f"Verdicts and decisions judged live equal those judged by replay in {same} of {len(truths)} runs."


def chosen(names: str | None) -> list[Fault]:
    """The faults called so, or all of them."""
    if names is None:
        return list(FAULTS)
    known = {fault.name: fault for fault in FAULTS}
    if unknown := set(names.split(",")) - set(known):
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}. Known: {', '.join(known)}")
    return [known[name] for name in names.split(",")]


def _window(fault: Fault) -> str:
    if fault.window == BEFORE:
        return "before step 1"
    steps = f"{fault.window} steps" if fault.window else ""
    evals = f"{fault.evals} evaluations" if fault.evals else ""
    return steps or evals or "the run"


def _counts(counted: Counter[str]) -> str:
    return ", ".join(f"{rule} {n}" for rule, n in counted.most_common()) or "-"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", type=Path, help="folder that keeps the runs")
    where.add_argument("--judge", type=Path, help="such a folder, to judge again")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--model", default="tiny", choices=sorted(EVERY))
    parser.add_argument("--only", help="names of faults with commas between them")
    parser.add_argument("--threads", type=int, default=1)
    rivals.add_arguments(parser)
    given = parser.parse_args()
    faults = chosen(given.only)
    out = given.judge or given.out
    if given.out:
        torch.set_num_threads(given.threads)
        trained = subject(given.model)
        todo = [(seed, fault) for seed in range(given.seeds) for fault in faults]
        for i, (seed, fault) in enumerate(todo, 1):
            if not (out / fault.name / f"seed-{seed}" / TRUTH).exists():
                print(f"\r{i}/{len(todo)} {fault.name:<20}", end="", file=sys.stderr, flush=True)
                train(fault, trained, seed, out)
        print("\r" + " " * 40 + "\r", end="", file=sys.stderr, flush=True)
    found = judged(faults, out)
    if not found:
        raise SystemExit(f"{out}: no run of these faults. Train them with --out {out}")
    print(f"Judged by: {', '.join(sorted(rule.name for rule in all_rules()))}.\n")
    print(table(faults, found))
    print(f"\n{agreement(out)}")
    if given.env:
        print(f"\n{others(faults, out, rivals.rivals(given))}")


if __name__ == "__main__":
    main()
