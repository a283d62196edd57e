"""What a Trainer or a foreign log calls a number, and what heldout calls it: one table, live and offline."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

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
RATE = (
    *("learning_rate", "learning_rate/logged", "train/learning_rate", "lr", "train/lr"),
    *("train_learning_rate", "train_lr", "lr/pg0", "x/lr0", "lr-adam", "lr-adamw", "lr-sgd"),
)
SYNONYMS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (LOSS, ("loss/logged",)),
    (("grad/norm", "grad_norm", "train/grad_norm"), ("grad/norm",)),
    (RATE, ("learning_rate", "learning_rate/logged")),
    (("epoch", "train/epoch"), ("epoch",)),
    (EVAL_LOSS, ("loss/trainer_eval",)),
)
"""Their names for one number, in any case, of which the first found counts; and ours."""

SUMMARY = ("train_runtime", "train_samples_per_second", "train_steps_per_second", "total_flos")
"""What the Trainer logs once, after the last step; `train_loss` beside them is a mean over the run."""

HIGHER = ("accuracy", "f1", "precision", "recall", "rouge", "bleu", "exact_match", "auc")
"""A name with one of these in it is better higher, and one with such a word:"""
HIGHER_WORDS = {
    *("acc", "em", "map", "map50", "mcc", "matthews", "pearson", "spearman", "spearmanr"),
    *("meteor", "chrf", "iou", "dice", "ndcg", "mrr", "r2", "bertscore"),
}
ULTRALYTICS = re.compile(r"^metrics/((?:mAP|precision|recall|accuracy)[^()]*)(?:\([BMP]\))?$")
"""A number that Ultralytics' trainers measure on held-out images: of boxes, masks or poses."""
LOWER = {
    *("loss", "perplexity", "ppl", "wer", "cer", "ter", "error", "mse", "mae", "rmse"),
    *("nll", "bpb", "ece", "brier"),
}

SOURCE = "the Trainer's log, or the foreign log that was read"

KNOWN = {
    metric.name: metric
    for metric in (
        Metric(
            name="loss/logged",
            title="Logged loss",
            unit="nats",
            direction="lower",
            help="The training loss that the Trainer or the log gives: usually a mean over a logging window, "
            "from which NaN is left out.",
            source=SOURCE,
        ),
        Metric(
            name="loss/trainer_eval",
            title="Trainer's eval loss",
            unit="nats",
            direction="lower",
            help="The Trainer's own evaluation loss: a mean of batch means, non-finite ones left out.",
            source=SOURCE,
        ),
        Metric(
            name="grad/norm",
            title="Gradient norm",
            unit="",
            direction="none",
            help="Norm of all gradients before clipping.",
            source=SOURCE,
        ),
        Metric(
            name="learning_rate",
            title="Learning rate",
            unit="",
            direction="none",
            help="The learning rate that the log gives; steps between its rows are not known.",
            source=SOURCE,
        ),
        Metric(
            name="learning_rate/logged",
            title="Logged learning rate",
            unit="",
            direction="none",
            help="The learning rate that the log gives.",
            source=SOURCE,
        ),
        Metric(
            name="epoch",
            title="Epoch",
            unit="epochs",
            direction="none",
            help="Passes over the training set so far.",
            source=SOURCE,
        ),
    )
}


class Names:
    """Our names for the numbers of one log, given as they are first seen and kept from then on.

    `taken` are names that mean something else in this run: a number of the log that would have one of them
    is called the same with `/logged` behind it.
    """

    def __init__(self, taken: Collection[str] = ()) -> None:
        self._foreign = frozenset(taken)
        self._taken = {*KNOWN, *taken}
        self._found: dict[str, tuple[str, ...]] = {}

    def of(self, theirs: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Our names by theirs. No two of theirs come to share one of ours."""
        names = list(dict.fromkeys(theirs))
        if new := [name for name in names if name not in self._found]:
            self._name(new)
        return {name: self._found[name] for name in names}

    def _name(self, new: list[str]) -> None:
        given = {name for ours in self._found.values() for name in ours}
        for synonyms, ours in SYNONYMS:
            first = first_of(synonyms, new)
            free = tuple(name for name in ours if name not in self._foreign)
            if first is not None and free and given.isdisjoint(free):
                self._found[first] = free
        for name in new:
            if name not in self._found:
                self._found[name] = (self._free(_cleaned(name)),)
        losses = [name for name in self._found if re.fullmatch(r"eval[_/].+_loss", name)]
        if len(losses) == 1 and losses[0] in new and first_of(EVAL_LOSS, self._found) is None:
            self._found[losses[0]] += ("loss/trainer_eval",)  # the one evaluation set's

    def _free(self, name: str) -> str:
        wanted = f"{name}/logged" if name in self._foreign else name
        free, number = wanted, 1
        while free in self._taken:
            number += 1
            free = f"{wanted}_{number}"
        self._taken.add(free)
        return free


def named(theirs: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Our names by theirs, for a log whose names are all known."""
    return Names().of(theirs)


def is_summary(values: Mapping[str, object]) -> bool:
    """Whether these are the Trainer's last words, which tell of the whole run and of no step."""
    return any(name in values for name in SUMMARY)


def first_of(synonyms: Iterable[str], names: Iterable[str]) -> str | None:
    """The one of `names` that is the earliest of `synonyms`, whatever its case."""
    lower = {name.lower(): name for name in names}
    return next((lower[name] for name in synonyms if name in lower), None)


def metric(ours: str, theirs: str) -> Metric:
    """What the number that the log calls `theirs` means, as far as its name says."""
    last = ours.rsplit("/", 1)[-1]
    words = last.split("_")
    higher = any(word in last for word in HIGHER) or not HIGHER_WORDS.isdisjoint(words)
    direction: Direction = "higher" if higher else "none"
    if words[-1] in LOWER or (not higher and not LOWER.isdisjoint(words)):
        direction = "lower"
    return KNOWN.get(ours) or Metric(
        name=ours,
        title=theirs,
        unit="",
        direction=direction,
        help=f"What the log calls {theirs!r}.",
        source=SOURCE,
    )


def _cleaned(name: str) -> str:
    """A name as heldout's are: lower case, path-like; evaluation's numbers under `eval/`."""
    path = ULTRALYTICS.sub(r"eval/\1", name)
    path = re.sub(r"^(eval|val|valid|validation)[_/]", "eval/", path)
    parts = [re.sub(r"[^a-z0-9]+", "_", part.lower()).strip("_") for part in path.split("/")]
    return "/".join(filter(None, parts)) or "unnamed"
