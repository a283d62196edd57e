from __future__ import annotations

from heldout.signals.laps import OF_THE_STEP, Laps


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_time_since_the_last_lap_belongs_to_the_phase_named_now() -> None:
    clock = Clock()
    laps = Laps(clock)
    for seconds, phase in [(1.0, "data"), (4.0, "forward_backward"), (0.5, "optimizer")]:
        clock.now += seconds
        laps.lap(phase)
    assert laps.take() == {"data": 1.0, "forward_backward": 4.0, "optimizer": 0.5}


def test_laps_of_one_phase_add_up() -> None:
    clock = Clock()
    laps = Laps(clock)
    for phase in ["data", "forward_backward", "data", "forward_backward"]:
        clock.now += 2.0
        laps.lap(phase)
    assert laps.take() == {"data": 4.0, "forward_backward": 4.0}


def test_phases_add_up_to_all_the_time_that_passed() -> None:
    clock = Clock()
    laps = Laps(clock)
    for i, phase in enumerate([*OF_THE_STEP, "evaluation", "saving", "monitor"] * 3):
        clock.now += 2.0**-i
        laps.lap(phase)
    assert sum(laps.take().values()) == clock.now - 100.0


def test_taking_starts_the_sums_anew_but_not_the_watch() -> None:
    clock = Clock()
    laps = Laps(clock)
    clock.now += 1.0
    laps.lap("data")
    laps.take()
    assert laps.take() == {}
    clock.now += 3.0
    laps.lap("optimizer")
    assert laps.take() == {"optimizer": 3.0}


def test_what_was_taken_does_not_change_later() -> None:
    clock = Clock()
    laps = Laps(clock)
    clock.now += 1.0
    laps.lap("data")
    taken = laps.take()
    clock.now += 1.0
    laps.lap("data")
    assert taken == {"data": 1.0}


def test_evaluating_saving_and_watching_are_not_the_step() -> None:
    assert set(OF_THE_STEP).isdisjoint({"evaluation", "saving", "monitor"})
