"""How often tools warn where nothing is wrong: unfaulted trainings, and published healthy logs.

    python benchmarks/alerts/silence.py --out healthy [--seeds 5] [--corpus DIR] \\
        --env finetune-doctor=VENV --env trainspotter=VENV --env losslint=VENV \\
        --env runmedic=VENV --env trainproof=VENV
    python benchmarks/alerts/silence.py --judge healthy --corpus DIR    # no training

The trainings are those of faults.py with no fault: plain, in epochs over few rows, with restarts of the
learning rate, with isolated overflows of the gradient that are skipped as float16's scaler does, resumed,
and with a loss whose value is zero while its gradient is not, as GRPO has. Of published logs those
labelled healthy or plateau count. Every tool gets the same trainer_state.json; heldout has its own journal
of the trainings besides. A warned run has one finding of level warning or above; a run whose only findings
are below is counted apart. Intervals are Clopper-Pearson's, 95 %. Rows are rows of the log with a loss.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import corpus
import rivals
import torch
from callbacks import Series
from injections import Truth
from outcomes import ALERTING, RAISED, facts, live_equals_replay, share
from rivals import NO_EVAL, Found, Rival
from subjects import EVERY, Subject, subject
from training import JOURNAL, STATE, TRUTH, Setup, healthy, run
from transformers import TrainerCallback

from heldout.errors import HeldoutError
from heldout.records import Verdict
from heldout.store.foreign import open_any
from heldout.store.journal import read
from heldout.verdicts.judge import all_rules, judge

LABELS = ("healthy", "plateau")
EPOCHS = 3
CYCLES = 3
OVERFLOWS = (0.3, 0.5, 0.8)
"""The parts of a run at which a gradient overflows."""


def plain(setup: Setup) -> None:
    """Nothing at all."""


def epochs(setup: Setup) -> None:
    """Three epochs: the loss steps down where a row comes again."""
    rows = setup.steps * setup.arguments["per_device_train_batch_size"] // EPOCHS
    setup.train = setup.train[:rows]


def restarts(setup: Setup) -> None:
    """A cosine schedule with hard restarts."""
    setup.arguments["lr_scheduler_type"] = "cosine_with_restarts"
    setup.arguments["lr_scheduler_kwargs"] = {"num_cycles": CYCLES}


def overflows(setup: Setup) -> None:
    """Isolated infinite gradients, whose update is skipped."""
    setup.callbacks.append(Overflow({round(part * setup.steps) for part in OVERFLOWS}))


def resumed(setup: Setup) -> None:
    """Killed half-way behind a checkpoint, and resumed from it."""
    setup.resume = setup.steps // 2, lambda checkpoint: None


def zero_loss(setup: Setup) -> None:
    """The loss is zero and its gradient is not."""

    def hook(module: Any, given: Any, out: Any) -> Any:
        if module.training and out.loss is not None:
            out.loss = out.loss - out.loss.detach()
        return out

    setup.model.register_forward_hook(hook)


class Overflow(TrainerCallback):
    """Makes the gradient infinite at some steps, and skips their update."""

    def __init__(self, steps: set[int]) -> None:
        self.steps = steps

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        model = kwargs["model"]
        self.parameter = next(p for p in model.parameters() if p.requires_grad)

        def spoil(gradient: torch.Tensor) -> torch.Tensor:
            overflown = state.global_step + 1 in self.steps
            return torch.full_like(gradient, float("inf")) if overflown else gradient

        self.parameter.register_hook(spoil)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step + 1 in self.steps:
            for parameter in kwargs["model"].parameters():
                parameter.grad = None


KINDS: dict[str, tuple[str, Callable[[Setup], None]]] = {
    "plain": ("plain", plain),
    "epochs": ("three epochs", epochs),
    "restarts": ("restarts of the learning rate", restarts),
    "overflows": ("skipped overflows", overflows),
    "resumed": ("resumed", resumed),
    "zero-loss": ("loss of zero, as in GRPO", zero_loss),
}


def train(kind: str, given: Subject, seed: int, out: Path) -> None:
    """Run one training with nothing wrong."""
    folder = out / kind / f"seed-{seed}"
    setup = healthy(given, seed)
    KINDS[kind][1](setup)
    run(setup, folder)
    truth: Truth = {"kind": kind, "seed": seed, "model": given.name}
    truth["live_equals_replay"] = live_equals_replay(folder)
    (folder / TRUTH).write_text(json.dumps(truth))


def heldout(path: Path) -> Found:
    """What heldout says of a journal or a foreign log."""
    try:
        records = read(path)[0] if path.name == JOURNAL else open_any(path)
    except HeldoutError as error:
        return Found(error=str(error))
    found = [v for v in judge(facts(records)) if isinstance(v, Verdict) and v.state in RAISED]
    return Found(
        warnings=tuple(v.rule for v in found if v.level in ALERTING),
        infos=tuple(v.rule for v in found if v.level not in ALERTING),
    )


def line(title: str, found: Sequence[Found], rows: int, names: bool = False) -> str:
    """One row of a table. `rows` are those of all logs together."""
    known = [each for each in found if not each.error]
    warned = sum(bool(each.warnings) for each in known)
    told = sum(bool(each.infos) and not each.warnings for each in known)
    alarms = sum(len(each.warnings) for each in known)
    said = Counter(rule for each in known for rule in set(each.warnings)) if names else Counter()
    cells = [
        title,
        share(warned, len(known)),
        str(told),
        f"{alarms / rows * 1000:.2f}" if rows else "-",
        str(len(found) - len(known)) if len(found) > len(known) else "-",
        ", ".join(f"{rule} {n}" for rule, n in said.most_common(6)) or "-",
    ]
    return f"| {' | '.join(cells)} |"


def table(logs: Mapping[str, Sequence[Path]], asked: Sequence[Rival]) -> str:
    """All tools on all logs; `logs` are trainer_state.json files by title of their group."""
    lines = []
    for title, paths in logs.items():
        rows = sum(len(Series.of(path).steps) for path in paths)
        lines += [
            f"**{title}** ({len(paths)} logs, {rows:,} rows)\n",
            "| | runs warned | only told | alarms per 1,000 rows | no answer | what warned, by runs |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        journals = [path.with_name(JOURNAL) for path in paths]
        if all(path.is_file() for path in journals):
            lines.append(line("heldout, its journal", list(map(heldout, journals)), rows, True))
        lines.append(line("heldout, the log alone", list(map(heldout, paths)), rows, True))
        for rival in asked:
            print(f"\r{title[:40]:<40} {rival.name:<20}", end="", file=sys.stderr, flush=True)
            found = [rival.look(path) for path in paths]
            in_words = rival.name in rivals.COMMANDS
            lines.append(line(rival.title, found, rows, in_words))
            if rival.name == "finetune-doctor":
                lines.append(line(f"{rival.title}, but `{NO_EVAL}`", _without(found), rows))
        lines.append("")
    print("\r" + " " * 61 + "\r", end="", file=sys.stderr, flush=True)
    return "\n".join(lines)


def _without(found: Sequence[Found]) -> list[Found]:
    return [
        Found(
            warnings=tuple(check for check in each.warnings if check != NO_EVAL),
            infos=each.infos,
            error=each.error,
        )
        for each in found
    ]


def show_kinds(groups: Mapping[str, Sequence[Path]]) -> None:
    """Print what heldout said by kind of training, and whether live and replay agree."""
    print("heldout, its journal, by kind of training:\n")
    print("| | runs warned | only told | alarms per 1,000 rows | no answer | what warned |")
    print("| --- | --- | --- | --- | --- | --- |")
    for title, paths in groups.items():
        rows = sum(len(Series.of(path).steps) for path in paths)
        found = [heldout(path.with_name(JOURNAL)) for path in paths]
        print(line(title, found, rows, True))
    paths = [path for each in groups.values() for path in each]
    truths = [json.loads(path.with_name(TRUTH).read_text()) for path in paths]
    same = sum(truth["live_equals_replay"] for truth in truths)
    print(f"\nJudged live as by replay: {same} of {len(truths)} own runs.")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--out", type=Path, help="folder that keeps the runs")
    where.add_argument("--judge", type=Path, help="such a folder, to judge again")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--model", default="tiny", choices=sorted(EVERY))
    parser.add_argument("--threads", type=int, default=1)
    corpus.add_argument(parser)
    rivals.add_arguments(parser)
    given = parser.parse_args()
    asked = rivals.rivals(given)
    groups: dict[str, list[Path]] = {}
    out = given.judge or given.out
    if given.out:
        torch.set_num_threads(given.threads)
        trained = subject(given.model)
        for seed in range(given.seeds):
            for kind in KINDS:
                if not (out / kind / f"seed-{seed}" / TRUTH).exists():
                    print(f"\r{kind:<12} {seed}", end="", file=sys.stderr, flush=True)
                    train(kind, trained, seed, out)
    for kind, (title, _) in KINDS.items():
        paths = sorted(out.glob(f"{kind}/*/{STATE}")) if out else []
        if paths:
            groups[title] = paths
    own = [path for paths in groups.values() for path in paths]
    published = [log.path for log in corpus.logs(given.corpus, LABELS)]
    if not own + published:
        raise SystemExit(
            "No run to judge. Give --out or --judge a folder, or --corpus one of logs."
        )
    together = {"Own trainings, all": own, "Published logs": published}
    print(f"Judged by: {', '.join(sorted(rule.name for rule in all_rules()))}.\n")
    for rival in asked:
        print(f"- {rival.title}: `{rival.command}`")
    print()
    print(table({title: paths for title, paths in together.items() if paths}, asked))
    if groups:
        show_kinds(groups)


if __name__ == "__main__":
    main()
