"""Which held-out number decides in a run that has no fixed set, and which way is better.

In this order:

1. the one that the run names: `metric_for_best_model`, else the one that holds the Trainer's own
   `best_metric` at the step of its best checkpoint;
2. a task's metric (accuracy, F1, WER, ...): one whose `Metric` says which way is better, and that says more
   than the loss does; of several the first of `FIRST`, then the first by name;
3. the held-out loss.

Of several evaluation sets (`eval_<set>_loss`) the first by name decides, unless 1. names another. All of
them are judged. A model may go on to get better at its task while the held-out loss rises (docs/alerts.md
has such a log), so the loss comes last.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from heldout.derive.columns import Floats
from heldout.derive.history import History

NAME = "loss/trainer_eval"
PREFIX = "eval/"
LEAST = 3
"""Values from which on a task's metric decides that nobody named."""
FIRST = (
    *("exact_match", "em", "accuracy", "acc", "f1", "mcc", "matthews_correlation", "wer", "cer"),
    *("map50_95", "map", "bleu", "rougel", "rouge1", "reward"),
)
"""Of several metrics of a task the first of these decides: the closer to "right or wrong", the earlier."""
OF_THE_LOSS = ("loss", "perplexity", "ppl", "mean_token_accuracy", "token_accuracy", "token_acc")
"""Numbers of the teacher-forced pass, which say what the loss says; they decide only where they are named."""


@dataclass(frozen=True, slots=True)
class Deciding:
    """The series that decides; `scope` is its evaluation set, "" where there is one alone."""

    name: str
    lower: bool
    """Whether lower is better."""
    scope: str = ""
    why: str = ""
    """Why this one, where that is not plain; for a sentence in brackets."""


def held_out_names(history: History) -> tuple[str, ...]:
    """The series that the Trainer's evaluations wrote."""
    series = history.columns.series

    def found() -> tuple[str, ...]:
        return tuple(name for name in series if is_held_out(name))

    return history.remember("held-out names", found, len(series))  # asked at every step


def is_held_out(name: str) -> bool:
    """Whether a series of this name is an evaluation's."""
    return name == NAME or name.startswith(PREFIX)


def sets(history: History) -> dict[str, str]:
    """The series of the held-out loss by evaluation set, the one that decides unnamed first.

    One set is called "", whatever its name. A loss whose namesake is logged in training too
    (`train/box_loss`, `eval/box_loss`) is a part of the loss and no set.
    """
    names = held_out_names(history)
    return history.remember("evaluation sets", lambda: _sets(history, names), len(names))


def deciding(history: History) -> Deciding | None:
    """The number that decides; None before the first one is known."""
    return next(iter(deciding_each(history)), None)


def deciding_each(history: History) -> list[Deciding]:
    """The number that decides for each evaluation set; the first is the one that decides for the run."""
    names = held_out_names(history)
    if not names:
        return []
    seen = sum(len(history.columns.get(name)) for name in names)
    return history.remember("deciding", lambda: _deciding_each(history, names), seen)


def _sets(history: History, names: Sequence[str]) -> dict[str, str]:
    series = history.columns.series
    found = {}
    for name in sorted(names):
        match = re.fullmatch(r"eval/(.+)_loss", name)
        if match and f"train/{match[1]}_loss" not in series:
            found[match[1]] = name
    if NAME not in names:
        return dict(zip([""], found.values(), strict=True)) if len(found) == 1 else found
    ours = history.columns.get(NAME).values
    alias = [
        scope for scope, name in found.items() if _same(ours, history.columns.get(name).values)
    ]
    if not alias:
        return {"": NAME, **found}
    return {"": NAME} if len(found) == 1 else found  # the first set logged has both names


def _same(ours: Floats, theirs: Floats) -> bool:
    return np.array_equal(ours, theirs, equal_nan=True)


def _deciding_each(history: History, names: Sequence[str]) -> list[Deciding]:
    first = _deciding(history, names)
    if first is None:
        return []
    others = (_of_set(history, scope) for scope in sets(history) if scope != first.scope)
    return [first, *(each for each in others if each)]


def _deciding(history: History, names: Sequence[str]) -> Deciding | None:
    known = sets(history)
    found = _named(history, names) or _best_kept(history, names)
    if found is None:
        found = _of_set(history, next(iter(known), ""))
    if found is None or len(known) < 2:
        return found
    scope = _set_of(found.name, known)
    shown = ", ".join(each or "the unnamed one" for each in known)
    why = found.why or f"the first of {len(known)} evaluation sets by name: {shown}"
    return Deciding(found.name, found.lower, scope, why)


def _of_set(history: History, scope: str) -> Deciding | None:
    """What decides for one evaluation set where nothing is named."""
    known = sets(history)
    tasks = []
    for name in held_out_names(history):
        better = _direction(history, name)
        if better != "none" and _set_of(name, known) == scope and not says_the_loss(name):
            tasks.append(name)
    for name in sorted(tasks, key=lambda name: _rank(_metric_of(name, scope))):
        if len(history.columns.get(name)) >= LEAST:
            return Deciding(name, _direction(history, name) == "lower", scope)
    return Deciding(known[scope], True, scope) if scope in known else None


def _named(history: History, names: Iterable[str]) -> Deciding | None:
    """The metric that the Trainer was told to tell the best model by."""
    told = _training(history, "metric_for_best_model")
    if not isinstance(told, str):
        return None
    wanted = _plain(told)
    match = [name for name in names if _plain(name) == wanted]
    if wanted == "loss" and NAME in names:
        match = [NAME]
    if not match:
        return None
    higher = _training(history, "greater_is_better")
    lower = (
        not higher if isinstance(higher, bool) else told.endswith("loss")
    )  # as the Trainer assumes
    return _known(history, match[0], lower, "metric_for_best_model")


def _best_kept(history: History, names: Sequence[str]) -> Deciding | None:
    """The metric whose value at the step of the Trainer's best checkpoint is its `best_metric`."""
    best, step = _training(history, "best_metric"), _training(history, "best_global_step")
    if not isinstance(best, int | float) or not isinstance(step, int):
        return None
    for name in sorted(names, key=lambda name: (says_the_loss(name), name != NAME, name)):
        series = history.columns.get(name)
        at = np.flatnonzero(series.steps == step)
        if len(at) and math.isclose(series.values[at[0]], best, rel_tol=1e-9):
            low, high = float(np.nanmin(series.values)), float(np.nanmax(series.values))
            lower = None if best not in (low, high) or low == high else best == low
            return _known(history, name, lower, "the Trainer's own best_metric")
    return None


def _known(history: History, name: str, lower: bool | None, why: str) -> Deciding | None:
    """The metric `name`, better the way its own name says, else as the run says by `lower`; None without.

    The Trainer takes higher for better wherever a name does not end in "loss" and nobody told it
    otherwise: for a word error rate it then keeps the worst checkpoint for the best.
    """
    says = _direction(history, name)
    if says == "lower" and lower is False:
        why += "; lower is better, so set greater_is_better=False"
    if says == "none" and lower is None:
        return None
    return Deciding(name, lower is True or says == "lower", why=why)


def _direction(history: History, name: str) -> str:
    metric = history.metrics.get(name)
    return metric.direction if metric else "lower" if name == NAME else "none"


def _set_of(name: str, known: Iterable[str]) -> str:
    """The evaluation set that a series is of: the longest one that its name begins with."""
    rest = name.removeprefix(PREFIX)
    return max(
        (each for each in known if each and rest.startswith(f"{each}_")), key=len, default=""
    )


def _metric_of(name: str, scope: str) -> str:
    rest = name.removeprefix(PREFIX)
    return rest.removeprefix(f"{scope}_") if scope else rest


def says_the_loss(name: str) -> bool:
    """Whether a held-out number is the loss or what follows from the same forward pass."""
    return any(re.search(rf"(^|[_/]){word}$", name) for word in OF_THE_LOSS) or name == NAME


def _rank(metric: str) -> tuple[int, str]:
    """Metrics called like one of `FIRST`, then those with such a word in their name, then the others."""
    words = re.split(r"[_/]", metric)
    if metric in FIRST:
        return FIRST.index(metric), metric
    near = [FIRST.index(word) for word in words if word in FIRST]
    return len(FIRST) * (1 if near else 2) + min(near, default=0), metric


def _plain(name: str) -> str:
    """A name as the Trainer and heldout both may write it: eval_rougeL and eval/rougel are one."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"^eval[_/]", "", name.lower())).strip("_")


def _training(history: History, name: str) -> Any:
    return history.run.training.get(name) if history.run else None
