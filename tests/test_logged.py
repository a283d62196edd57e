"""What counts as a number among what a loop logs, and how it is called."""

from __future__ import annotations

import numpy as np
import torch

from heldout.names import Names, metric, named
from heldout.watch import numbers_in


def test_numbers_of_every_kind_are_kept_and_nothing_else() -> None:
    logs = {
        "python": 1.5,
        "whole": 3,
        "flag": True,
        "numpy": np.float32(0.25),
        "array": np.array(4.0),
        "tensor": torch.tensor(2.5),
        "nan": float("nan"),
        "text": "1.5",
        "none": None,
        "many": torch.tensor([1.0, 2.0]),
        "list": [1.0],
        "huge": 10**400,
    }
    found = numbers_in(logs)
    assert list(found) == ["python", "whole", "flag", "numpy", "array", "tensor", "nan"]
    assert [found[key] for key in list(found)[:-1]] == [1.5, 3.0, 1.0, 0.25, 4.0, 2.5]


def test_names_that_come_one_by_one_are_called_as_in_a_whole_log() -> None:
    rows = [["loss", "epoch", "rewards/margins"], ["eval_accuracy", "epoch"], ["my/Metric X", "kl"]]
    whole = named(name for row in rows for name in row)
    names = Names()
    by_row = {name: ours for row in rows for name, ours in names.of(row).items()}
    assert by_row == whole
    assert whole["eval_accuracy"] == ("eval/accuracy",)
    assert whole["my/Metric X"] == ("my/metric_x",)
    assert metric("eval/accuracy", "eval_accuracy").direction == "higher"


def test_a_name_that_heldout_uses_itself_is_kept_apart() -> None:
    names = Names({"eval/entropy", "learning_rate"})
    assert names.of(["eval_entropy", "learning_rate"]) == {
        "eval_entropy": ("eval/entropy/logged",),
        "learning_rate": ("learning_rate/logged",),
    }
