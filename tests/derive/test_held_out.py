"""The held-out loss: the fixed set's where there is one, else the Trainer's."""

from __future__ import annotations

import math

import pytest
from facts import evaluation, history, sample, score

from heldout.derive.held_out import held_out


def test_the_fixed_set_comes_first() -> None:
    theirs = [sample(i, **{"loss/trainer_eval": 3.0 - i}) for i in range(3)]
    assert held_out(history(*theirs)).losses == [3.0, 2.0, 1.0]
    ours = evaluation(5, score(3), ce=0.7)
    found = held_out(history(*theirs, *ours))
    assert (found.steps, found.losses) == ([5], [0.7])


def test_what_is_not_finite_is_left_out() -> None:
    facts = [
        f for i, ce in enumerate([1.0, math.nan, 0.5, 0.9]) for f in evaluation(i, score(3), ce=ce)
    ]
    found = held_out(history(*facts))
    assert (found.steps, found.losses) == ([0, 2, 3], [1.0, 0.5, 0.9])
    assert (len(found), found.best) == (3, 1)


def test_it_grows_with_the_evaluations() -> None:
    folded = history(*evaluation(0, score(3)))
    assert len(held_out(folded)) == 1
    for fact in evaluation(10, score(3)):
        folded.add(fact)
    assert len(held_out(folded)) == 2


def test_without_evaluations_there_is_none() -> None:
    assert len(held_out(history(sample(1)))) == 0
    with pytest.raises(ValueError, match="empty"):
        _ = held_out(history()).best
