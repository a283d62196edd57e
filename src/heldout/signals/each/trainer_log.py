"""What the Trainer itself reports: loss, gradient norm and epoch, unchanged."""

from __future__ import annotations

from collections.abc import Mapping

from heldout.records import Metric
from heldout.signals.moment import Signal, Values

NAMES = {
    "loss": "loss/logged",
    "grad_norm": "grad/norm",
    "learning_rate": "learning_rate/logged",
    "epoch": "epoch",
    "eval_loss": "loss/trainer_eval",
}


def _metric(name: str, title: str, unit: str, text: str) -> Metric:
    return Metric(
        name=name,
        title=title,
        unit=unit,
        direction="lower" if name.startswith("loss") else "none",
        help=text,
        source="the Trainer's log",
        cost="none: a number that the Trainer has",
    )


class TrainerLog(Signal):
    """The Trainer's own numbers to the last digit, so that curves agree with other trackers."""

    metrics = (
        _metric(
            "loss/logged",
            "Logged loss",
            "nats",
            "The loss the Trainer logs: a mean over its logging window, with NaN filtered out.",
        ),
        _metric(
            "learning_rate/logged",
            "Logged learning rate",
            "",
            "The learning rate the Trainer logs.",
        ),
        _metric("grad/norm", "Gradient norm", "", "Norm of all gradients before clipping."),
        _metric("epoch", "Epoch", "epochs", "Passes over the training set so far."),
        _metric(
            "loss/trainer_eval",
            "Trainer's eval loss",
            "nats",
            "The Trainer's own evaluation loss: a mean of batch means, non-finite ones dropped.",
        ),
    )

    def log(self, logs: Mapping[str, float]) -> Values:
        """Record the Trainer's numbers under heldout's names."""
        return {ours: float(logs[theirs]) for theirs, ours in NAMES.items() if theirs in logs}


SIGNAL = TrainerLog
