"""Where a run stands in its budget: warm-up, steps left, learning rate, and what to go back to."""

from __future__ import annotations

from heldout.derive.history import History


def rate_name(history: History) -> str:
    """The name of the learning rate's series: each step's own where known, else the logged one."""
    own = "learning_rate"
    return own if len(history.columns.get(own)) else "learning_rate/logged"


def training(history: History, name: str) -> float | None:
    """A setting of the training as a number; None where it is not known."""
    value = history.run.training.get(name) if history.run else None
    return float(value) if isinstance(value, int | float) else None


def budget(history: History) -> int:
    """The steps planned; 0 where nobody knows."""
    return max(history.run.total_steps, 0) if history.run else 0


def warmup_end(history: History) -> int:
    """The last step of the warm-up; 0 where it is not known."""
    return int(training(history, "warmup_steps") or 0)


def checkpoint_before(history: History, step: int) -> str | None:
    """The latest checkpoint saved at or before `step`."""
    saved = [checkpoint.path for checkpoint in history.checkpoints if checkpoint.step <= step]
    return saved[-1] if saved else None


def rewarded(history: History) -> bool:
    """Whether rewards were logged: the loss is then a policy's and no cross-entropy."""
    series = history.columns.series

    def found() -> bool:
        return any(name.startswith("reward") for name in series)

    return history.remember("rewarded", found, len(series))  # asked at every step
