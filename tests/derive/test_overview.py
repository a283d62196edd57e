"""A run in one line: small, and the same as the whole history says."""

from __future__ import annotations

import math

import pytest
from facts import at, checkpoint, evaluation, note, run, sample, score
from hypothesis import given
from hypothesis import strategies as st

from heldout.derive.history import History
from heldout.derive.overview import MOST_POINTS, Overview, Trace
from heldout.records import AnyRecord, Decision, Verdict


def told(records: list[AnyRecord]) -> dict[str, object]:
    overview = Overview()
    for record in records:
        overview.add(record)
    return overview.summary()


def streaming(step: int, value: float) -> AnyRecord:
    return sample(step, **{"loss/streaming": value})


def whole() -> list[AnyRecord]:
    decision = Decision(
        step=20, time=at(20), action="stop", checkpoint="checkpoint-10", tied=[], reason=""
    )
    alert = Verdict(
        step=9, time=at(9), rule="r", state="open", level="error", message="m", action="a"
    )
    return [
        run(),
        *(streaming(step, 1 / step) for step in range(1, 11)),
        *evaluation(10, score(60)),
        checkpoint(10),
        alert,
        streaming(20, 0.01),
        *evaluation(20, score(50)),
        decision,
    ]


def test_a_line_agrees_with_the_history() -> None:
    records = whole()
    history, line = History.of(records), told(records)
    assert line["state"] == history.state == "running"
    assert (line["step"], line["time"]) == (history.step, history.time)
    assert line["em"] == history.evals[-1].em
    assert line["n"] == history.evals[-1].n
    assert line["em_step"] == 20
    assert (line["best_checkpoint"], line["best_em"]) == ("checkpoint-10", history.evals[0].em)
    assert line["alerts"] == {"error": 1}
    assert line["streaming_ce"] == 0.01


def test_a_resolved_alert_is_not_counted() -> None:
    over = Verdict(
        step=21, time=at(21), rule="r", state="resolved", level="error", message="m", action="a"
    )
    assert told([*whole(), over])["alerts"] == {}


def test_a_resume_takes_back_what_came_after_its_step() -> None:
    line = told([*whole(), run(step=10, time=at(90)), streaming(11, 0.5)])
    assert line["attempts"] == 2
    assert line["started"] == at(0)
    assert (line["step"], line["em_step"]) == (11, 10)
    assert line["spark"]["steps"] == [*range(1, 12)]  # type: ignore[index]


def test_a_run_that_starts_over_is_a_first_attempt() -> None:
    line = told([*whole(), run(time=at(90))])
    assert (line["attempts"], line["started"], line["em"], line["alerts"]) == (1, at(90), None, {})


def test_without_a_streaming_loss_the_curve_is_exact_match() -> None:
    spark = told([run(), *evaluation(1, score(20)), *evaluation(2, score(60))])["spark"]
    assert spark["what"] == "EM"  # type: ignore[index]
    assert spark["steps"] == [1, 2]  # type: ignore[index]


def test_an_ended_run_says_how() -> None:
    assert told([*whole(), note(21, "finished")])["state"] == "finished"


@given(
    st.lists(
        st.one_of(st.floats(-1e6, 1e6), st.sampled_from([math.nan, math.inf, -math.inf])),
        min_size=1,
        max_size=2000,
    )
)
def test_a_trace_is_bounded_and_keeps_the_extremes_and_the_last_point(values: list[float]) -> None:
    trace = Trace()
    for step, value in enumerate(values):
        trace.add(step, value)
    assert len(trace.points) <= MOST_POINTS
    steps = [step for step, _ in trace.points]
    assert steps == sorted(set(steps))
    assert all(values[step] == value or value != value for step, value in trace.points)
    assert steps[-1] == len(values) - 1
    known = [value for value in values if math.isfinite(value)]
    kept = [value for _, value in trace.points if math.isfinite(value)]
    if known:
        assert (max(kept), min(kept)) == (max(known), min(known))
    assert any(not math.isfinite(v) for _, v in trace.points) == (len(known) < len(values))


@pytest.mark.parametrize("cut", [0, 50, 5000])
def test_a_cut_trace_holds_nothing_at_or_after_the_step(cut: int) -> None:
    trace = Trace()
    for step in range(1000):
        trace.add(step, float(step))
    trace.cut(cut)
    assert all(step < cut for step, _ in trace.points)


def test_a_nan_breaks_the_curve_and_the_number_of_the_list() -> None:
    """The mean leaves such steps out and looks well to the end."""
    overview = Overview()
    facts = [run(), sample(1, 2.0, **{"loss/streaming": 2.0})]
    lost = [sample(step, math.nan, **{"loss/streaming": 2.0}) for step in (2, 3)]
    for fact in [*facts, *lost]:
        overview.add(fact)
    line = overview.summary()
    assert math.isnan(line["streaming_ce"])
    assert [math.isnan(value) for value in line["spark"]["values"]] == [False, True, True]
