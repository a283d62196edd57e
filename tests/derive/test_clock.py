"""The seconds of training by step."""

from __future__ import annotations

import msgspec
from facts import run, sample

from heldout.derive.clock import Clock
from heldout.records import AnyRecord


def timed(step: int, time: float) -> AnyRecord:
    return msgspec.structs.replace(sample(step), time=time)


def told(*records: AnyRecord) -> dict[int, float]:
    clock = Clock()
    for record in records:
        clock.add(record)
    return dict(zip(clock.seconds.steps.tolist(), clock.seconds.values.tolist(), strict=True))


def test_time_counts_from_the_start_of_the_run() -> None:
    assert told(run(time=100.0), timed(1, 103.0), timed(2, 104.0)) == {1: 3.0, 2: 4.0}


def test_a_pause_between_attempts_does_not_count() -> None:
    first = [run(time=100.0), timed(1, 110.0), timed(2, 120.0), timed(3, 130.0)]
    again = [run(time=9_000.0, step=2), timed(3, 9_007.0)]
    assert told(*first, *again) == {1: 10.0, 2: 20.0, 3: 27.0}


def test_a_clock_that_was_set_back_makes_no_time_negative() -> None:
    assert told(run(time=100.0), timed(1, 110.0), timed(2, 50.0), timed(3, 51.0)) == {
        1: 10.0,
        2: 10.0,
        3: 11.0,
    }


def test_a_step_seen_again_replaces_what_came_after_it() -> None:
    found = told(run(time=0.0), timed(1, 1.0), timed(2, 2.0), timed(3, 3.0), timed(2, 5.0))
    assert list(found) == [1, 2]


def test_a_journal_without_a_run_counts_from_its_first_step() -> None:
    assert told(timed(5, 100.0), timed(6, 102.0)) == {5: 0.0, 6: 2.0}
