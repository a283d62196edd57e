"""What foreign logs call a number, and what heldout calls it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from heldout.records import Direction, Metric

LOSS = (
    *("loss/logged", "loss", "train/loss", "train_loss", "loss/train", "training_loss"),
    *("training/loss", "train_loss_step", "train_loss_epoch", "train/epoch_loss"),
)
EVAL_LOSS = (
    *("loss/trainer_eval", "eval_loss", "eval/loss", "val_loss", "val/loss", "valid_loss"),
    *("validation_loss", "validation/loss", "loss/val", "loss/eval", "loss/valid"),
    *("loss/validation", "validation/epoch_loss"),
)
RATE = ("learning_rate", "learning_rate/logged", "train/learning_rate", "lr", "train/lr")
SYNONYMS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (LOSS, ("loss/logged",)),
    (("grad/norm", "grad_norm", "train/grad_norm"), ("grad/norm",)),
    (RATE, ("learning_rate", "learning_rate/logged")),
    (("epoch", "train/epoch"), ("epoch",)),
    (EVAL_LOSS, ("loss/trainer_eval",)),
)
"""Their names for one number, in any case, of which the first found counts; and ours."""

HIGHER = ("accuracy", "f1", "precision", "recall", "rouge", "bleu", "exact_match", "auc")
LOWER = ("loss", "perplexity", "wer", "cer", "error")

_KNOWN = {
    metric.name: metric
    for metric in (
        Metric(
            name="loss/logged",
            title="Logged loss",
            unit="nats",
            direction="lower",
            help="The training loss the log holds: usually a mean over a logging window.",
            source="the run's log",
        ),
        Metric(
            name="loss/trainer_eval",
            title="Trainer's eval loss",
            unit="nats",
            direction="lower",
            help="The evaluation loss the log holds: usually a mean of batch means.",
            source="the run's log",
        ),
        Metric(
            name="grad/norm",
            title="Gradient norm",
            unit="",
            direction="none",
            help="Norm of all gradients before clipping.",
            source="the run's log",
        ),
        Metric(
            name="learning_rate",
            title="Learning rate",
            unit="",
            direction="none",
            help="The learning rate the log holds; steps between its rows are not known.",
            source="the run's log",
        ),
        Metric(
            name="learning_rate/logged",
            title="Logged learning rate",
            unit="",
            direction="none",
            help="The learning rate the log holds.",
            source="the run's log",
        ),
        Metric(
            name="epoch",
            title="Epoch",
            unit="epochs",
            direction="none",
            help="Passes over the training set so far.",
            source="the run's log",
        ),
    )
}


def named(theirs: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Our names by theirs. No two of theirs come to share one of ours."""
    names = list(dict.fromkeys(theirs))
    found: dict[str, tuple[str, ...]] = {}
    for synonyms, ours in SYNONYMS:
        first = first_of(synonyms, names)
        if first is not None:
            found[first] = ours
    taken = {name for ours in found.values() for name in ours} | set(_KNOWN)
    for name in names:
        if name not in found:
            free = _free(_cleaned(name), taken)
            taken.add(free)
            found[name] = (free,)
    losses = [name for name in names if re.fullmatch(r"eval[_/].+_loss", name)]
    if len(losses) == 1 and first_of(EVAL_LOSS, names) is None:
        found[losses[0]] += ("loss/trainer_eval",)  # the one evaluation set, under its own name
    return found


def first_of(synonyms: Iterable[str], names: Iterable[str]) -> str | None:
    """The one of `names` that is the earliest of `synonyms`, whatever its case."""
    lower = {name.lower(): name for name in names}
    return next((lower[name] for name in synonyms if name in lower), None)


def metric(ours: str, theirs: str) -> Metric:
    """What the number that the log calls `theirs` means, as far as its name says."""
    last = ours.rsplit("/", 1)[-1]
    higher = any(word in last for word in HIGHER)
    direction: Direction = "higher" if higher else "none"
    if not higher and any(word in last.split("_") for word in LOWER):
        direction = "lower"
    return _KNOWN.get(ours) or Metric(
        name=ours,
        title=theirs,
        unit="",
        direction=direction,
        help=f"What the log calls {theirs!r}.",
        source="the run's log",
    )


def _cleaned(name: str) -> str:
    """A name as heldout's are: lower case, path-like; evaluation's numbers under `eval/`."""
    path = re.sub(r"^eval_", "eval/", name)
    parts = [re.sub(r"[^a-z0-9]+", "_", part.lower()).strip("_") for part in path.split("/")]
    return "/".join(filter(None, parts)) or "unnamed"


def _free(name: str, taken: set[str]) -> str:
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free
