from __future__ import annotations

import facts
import msgspec
import pytest

from heldout.derive.history import History
from heldout.derive.pulse import WINDOW, Pulse
from heldout.records import AnyRecord, Layers, Sample


def pulse(*records: AnyRecord) -> Pulse:
    found = Pulse()
    for record in records:
        found.add(record)
    return found


def sample(step: int, time: float) -> Sample:
    return Sample(step=step, time=time, values={"loss/step": 1.0})


def test_it_knows_how_the_run_stands_and_none_of_its_numbers() -> None:
    records = [
        facts.run(),
        *facts.losses([1.0, 2.0]),
        *facts.evaluation(2, facts.score(3, 5)),
        facts.layers(2, [0.1]),
        facts.checkpoint(2),
        facts.note(2, "finished"),
    ]
    found, whole = pulse(*records).history, History.of(records)
    for name in ("run", "step", "time", "ended", "checkpoints", "notes"):
        assert getattr(found, name) == getattr(whole, name), name
    assert not found.columns.series
    assert not found.items


def test_the_pace_is_the_median_time_between_steps() -> None:
    times = [0, 1, 2, 3, 100, 101, 102]
    found = pulse(facts.run(time=0.0), *(sample(i + 1, t) for i, t in enumerate(times)))
    assert found.step_seconds == 1.0
    assert found.longest_pause == 97.0


def test_the_pace_follows_the_latest_steps() -> None:
    slow = [sample(i, 10.0 * i) for i in range(1, 3 * WINDOW)]
    start = slow[-1]
    fast = [sample(start.step + i, start.time + i) for i in range(1, 2 * WINDOW)]
    assert pulse(facts.run(), *slow).step_seconds == 10.0
    assert pulse(facts.run(), *slow, *fast).step_seconds == 1.0


def test_steps_recorded_together_count_as_one() -> None:
    run = facts.run(config={"signals": {"every": 4}})
    found = pulse(run, *(sample(i, 8.0 * ((i + 3) // 4)) for i in range(1, 41)))
    assert found.step_seconds == 8.0


def test_a_step_recorded_in_parts_counts_once() -> None:
    parts = [sample(i // 2, float(i // 2)) for i in range(2, 40)]
    assert pulse(facts.run(), *parts).step_seconds == 1.0


@pytest.mark.parametrize("records", [[], [facts.run()], [facts.run(), facts.sample(1)]])
def test_there_is_no_pace_before_the_second_step(records: list[AnyRecord]) -> None:
    assert pulse(*records).step_seconds == 0.0


def test_an_evaluation_and_a_reading_of_layers_are_pauses_passed() -> None:
    result = msgspec.structs.replace(facts.result(1, 3, 5), time=facts.at(401))
    reading = Layers(step=1, time=facts.at(1401), layers=[])
    assert pulse(facts.run(), facts.sample(1), result).longest_pause == 400.0
    assert pulse(facts.run(), facts.sample(1), result, reading).longest_pause == 1000.0


def test_a_resumed_run_does_not_count_the_time_it_was_away() -> None:
    found = pulse(facts.run(), facts.sample(1), facts.run(step=1, time=90_000.0))
    assert (found.longest_pause, found.step_seconds) == (0.0, 0.0)
    found.add(sample(2, 90_002.0))
    assert found.longest_pause == 2.0
