"""Where a run stands in its budget, read from what was recorded."""

from __future__ import annotations

import pytest
from facts import checkpoint, history, run, sample

from heldout.derive.schedule import budget, checkpoint_before, rate_name, training, warmup_end


def test_a_steps_own_learning_rate_is_preferred_to_the_logged_one() -> None:
    logged = sample(1, **{"learning_rate/logged": 0.1})
    assert rate_name(history(logged)) == "learning_rate/logged"
    assert rate_name(history(logged, sample(2, learning_rate=0.1))) == "learning_rate"
    assert rate_name(history()) == "learning_rate/logged"


@pytest.mark.parametrize(
    ("value", "number"), [(4, 4.0), (0.5, 0.5), ("x", None), (None, None), (True, 1.0)]
)
def test_a_setting_is_a_number_or_unknown(value: object, number: float | None) -> None:
    assert training(history(run(training={"warmup_steps": value})), "warmup_steps") == number
    assert training(history(run()), "warmup_steps") is None
    assert training(history(), "warmup_steps") is None


@pytest.mark.parametrize(("total", "steps"), [(100, 100), (0, 0), (-1, 0)])
def test_a_budget_below_one_is_unknown(total: int, steps: int) -> None:
    assert budget(history(run(total_steps=total))) == steps
    assert budget(history()) == 0
    assert warmup_end(history(run(training={"warmup_steps": 7}))) == 7
    assert warmup_end(history()) == 0


def test_the_checkpoint_before_a_step_is_the_latest_that_is_there() -> None:
    folded = history(checkpoint(10), checkpoint(20))
    gone = checkpoint(10)
    assert checkpoint_before(folded, 9) is None
    assert checkpoint_before(folded, 19) == gone.path
    assert checkpoint_before(folded, 20) == "checkpoint-20"
