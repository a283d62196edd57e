"""What the speed of a run comes to, and where its time goes."""

from __future__ import annotations

import math

import pytest
from facts import history, note, sample
from hypothesis import given
from hypothesis import strategies as st

from heldout.derive.speed import PHASES, WINDOW, throughput, time_split
from heldout.records import Sample


def timed(step: int, **phases: float) -> Sample:
    return sample(step, 1.0, **{f"time/{phase}": seconds for phase, seconds in phases.items()})


def test_each_phase_has_its_share_of_the_time() -> None:
    found = throughput(
        history(
            timed(1, data=1.0, forward_backward=6.0, optimizer=1.0),
            timed(2, data=1.0, forward_backward=6.0, optimizer=1.0, evaluation=4.0),
        )
    )
    assert found["time"] == {
        "data": 0.1,
        "forward_backward": 0.6,
        "optimizer": 0.1,
        "evaluation": 0.2,
    }
    assert found["time_steps"] == 2


def test_only_the_latest_steps_count() -> None:
    early = [timed(step, data=9.0, evaluation=9.0) for step in range(1, 11)]
    late = [timed(step, data=1.0, monitor=1.0) for step in range(11, 11 + WINDOW)]
    found = throughput(history(*early, *late))
    assert found["time"] == {"data": 0.5, "monitor": 0.5}
    assert found["time_steps"] == WINDOW


@given(st.dictionaries(st.sampled_from(PHASES), st.floats(0.001, 1e4), min_size=1))
def test_the_shares_sum_to_the_whole(laps: dict[str, float]) -> None:
    shares = throughput(history(timed(1, **laps)))["time"]
    assert sum(shares.values()) == pytest.approx(1)
    assert shares.keys() == laps.keys()


@pytest.mark.parametrize("laps", [{}, {"data": 0.0}, {"data": math.nan}, {"optimizer": math.inf}])
def test_without_time_there_is_no_split(laps: dict[str, float]) -> None:
    assert time_split(history(timed(1, **laps)).columns, 0) == {}


def test_the_contract_keeps_its_keys_and_leaves_out_what_is_not_known() -> None:
    assert throughput(history(sample(1))) == {}
    names = {
        "throughput/tokens_per_second": 1000.0,
        "throughput/label_tokens_per_second": 300.0,
        "throughput/tokens_per_step": 512.0,
        "throughput/total_tokens": 1024.0,
        "throughput/label_tokens": 150.0,
        "time/step": 0.5,
        "utilisation/mfu": 0.4,
    }
    assert throughput(history(sample(1, 1.0, **names))) == {
        "tokens_per_sec": 1000.0,
        "label_tokens_per_sec": 300.0,
        "tokens_per_step": 512.0,
        "total_tokens": 1024.0,
        "label_tokens": 150.0,
        "step_seconds": 0.5,
        "mfu": 0.4,
    }


def test_padding_is_a_mean_over_the_latest_steps() -> None:
    shares = [0.9, *[0.1, 0.3] * (WINDOW // 2)]
    facts = [sample(i, 1.0, **{"throughput/padding": x}) for i, x in enumerate(shares)]
    assert throughput(history(*facts))["padding"] == pytest.approx(0.2)


def test_the_time_left_is_told_until_the_run_has_ended() -> None:
    left = sample(1, 1.0, **{"time/remaining": 90.0})
    assert throughput(history(left))["eta_seconds"] == 90.0
    assert "eta_seconds" not in throughput(history(left, note(1, "finished", "")))
    endless = sample(1, 1.0, **{"time/remaining": math.inf})
    assert "eta_seconds" not in throughput(history(endless))
