"""What the decisions cost, where the truth is known: keep, stop, trend, and the change a set can show.

    python benchmarks/decisions [keep-and-stop|trend|detect|all] [--runs FOLDER] [--made FOLDER] [--times N]

Without `--runs` it makes twelve tiny trainings of its own (trainings.py, about 15 minutes on a CPU) and keeps
them in `--made`. Every decision is the project's own: records go through `Judge` one by one, as in a run.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from statistics import NormalDist

import numpy as np
from policies import POLICIES
from replays import RATES, SHAPES, Run, replays, simulated, stretch
from trainings import make, read

from heldout.stats.blocks import quantile
from heldout.stats.change import last_change
from heldout.stats.intervals import detectable

MATERIAL = 0.01
PUBLISHED = {
    200: "103244c 4.62, 0 % early; a prototype .35, 0 %",
    500: "103244c 16.6, 33 % early; a prototype .14, 0 %",
    1000: "103244c 15.9, 33 % early; a prototype .21, 0 %",
}
"""Mean regret after the stop on six other trainings, as published."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "what", nargs="?", default="all", choices=("keep-and-stop", "trend", "detect", "all")
    )
    parser.add_argument("--runs", type=Path, help="folder of trainings (.npz) made elsewhere")
    parser.add_argument("--made", type=Path, default=Path.home() / ".cache/heldout-decisions")
    parser.add_argument(
        "--times", type=int, default=8, help="replays of each training and kind of run"
    )
    given = parser.parse_args()
    if given.what in ("keep-and-stop", "all"):
        trainings = read(given.runs) if given.runs else make(given.made, seeds=1)
        for n in (200, 500, 1000):
            _table(
                f"{len(trainings)} real trainings, n = {n} ({PUBLISHED[n]})",
                list(replays(trainings, n, given.times, n)),
            )
        for shape in SHAPES:
            for hard in (False, True):
                rng = np.random.default_rng(len(shape) + hard)
                runs = [
                    simulated(rng, shape, rate, 500, 21, hard)
                    for rate in RATES
                    for _ in range(given.times)
                ]
                _table(f"simulated: {shape}, n = 500, {'misleading' if hard else 'plain'} CE", runs)
        for looks in (6, 11, 41):
            rng = np.random.default_rng(looks)
            runs = [
                simulated(rng, s, r, 500, looks, False)
                for s in SHAPES
                for r in RATES
                for _ in range(max(1, given.times // 2))
            ]
            _table(f"simulated: {looks} evaluations, all shapes and rates, n = 500", runs)
    if given.what in ("trend", "all"):
        _trend(5 * given.times)
    if given.what in ("detect", "all"):
        _detect()


def _table(title: str, runs: Iterable[Run]) -> None:
    """Print regret in points of true exact match, steps saved, and runs stopped."""
    runs = list(runs)
    print(f"\n**{title}** ({len(runs)} runs)\n")
    print("| | regret, points | steps saved | stopped | > 1 point to come |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, policy in POLICIES.items():
        rows = []
        for run in runs:
            choice, best = policy(run), float(run.truth_K.max())
            to_come = best - float(run.truth_K[: choice.stop + 1].max())
            rows.append(
                (
                    100 * (best - run.truth_K[choice.kept]),
                    1 - run.steps[choice.stop] / run.steps[-1],
                    choice.stop < len(run.steps) - 1,
                    to_come > MATERIAL,
                )
            )
        regret, saved, stopped, early = np.mean(rows, axis=0)
        print(f"| {name} | {regret:.2f} | {saved:.0%} | {stopped:.0%} | {early:.1%} |", flush=True)


def _trend(times: int) -> None:
    """How often a run of 21 evaluations is ever called better, worse, and worse twice in a row."""
    print("\n| n | churn | truth | improving | regressing | twice | looks that exclude nothing |")
    print("| ---: | ---: | --- | ---: | ---: | ---: | ---: |")
    for n in (200, 500, 2000):
        for wander in (0.12, 0.35):
            for title, rise, wobble in (
                ("flat", 0.0, 0.0),
                ("flat, wobbles by .5 point", 0.0, 0.005),
                ("+3 points over 5 evaluations", 0.03, 0.0),
                ("-3 points over 5, wobbles", -0.03, 0.005),
            ):
                rng = np.random.default_rng(n)
                counts, empty, churn = np.zeros(3), 0, 0.0
                for _ in range(times):
                    em_K = (
                        0.7
                        + rise * np.clip((np.arange(21) - 7) / 5, 0, 1)
                        + wobble * rng.normal(size=21)
                    )
                    score_KN = stretch(rng, em_K, n, wander).astype(np.float64)
                    churn += float((score_KN[1:] != score_KN[:-1]).mean()) / times
                    ce_KN = np.full(score_KN.shape, 0.5)
                    said = [last_change(score_KN[:k], ce_KN[:k], planned=21) for k in range(2, 22)]
                    words = [each.trend for each in said]
                    counts += ["improving" in words, "regressing" in words, _twice(words)]
                    empty += sum(
                        each.trend == "inconclusive"
                        and min(each.high, -each.low) > 2 * each.detectable
                        for each in said
                    )
                better, worse, twice = counts / times
                print(
                    f"| {n} | {churn:.1%} | {title} | {better:.0%} | {worse:.0%} | {twice:.0%} "
                    f"| {empty / (20 * times):.0%} |",
                    flush=True,
                )


def _twice(words: list[str]) -> bool:
    return any(a == b == "regressing" for a, b in pairwise(words))


def _detect() -> None:
    """The power at the change that is told, for two evaluations at the level of one of 20 looks."""
    z = quantile(20)
    confidence = 2 * NormalDist().cdf(z) - 1
    print("\n| n | churn | told | power |\n| ---: | ---: | ---: | ---: |")
    rng = np.random.default_rng(0)
    for n in (200, 500, 2000):
        for churn in (0.0, 0.02, 0.06, 0.10):
            told = detectable(churn * n / 2, churn * n / 2, n, confidence)
            cells = rng.multinomial(n, [churn / 2 + told, churn / 2, 1 - churn - told], 4000)
            change = (cells[:, 0] - cells[:, 1]) / n
            variance = (cells[:, 0] + cells[:, 1]) / n - change**2
            power = (change > z * np.sqrt((variance * n / (n - 1) + 0.5 / n) / n)).mean()
            print(f"| {n} | {churn:.0%} | {told:.1%} | {power:.2f} |")


if __name__ == "__main__":
    main()
