"""Whether a trainer lives, from what can be seen of it outside: a table of signs."""

from __future__ import annotations

from typing import Any

import facts
import msgspec
import pytest

from heldout.derive.history import History
from heldout.records import HEARTBEAT, AnyRecord, Verdict
from heldout.verdicts.heartbeat import Limits, Signs, duration, judge_heartbeat

NOW = 5_000.0
MINUTE = 60.0


def signs(quiet: float, **changes: Any) -> Signs:
    fields = {"step_seconds": 1.0, "longest_pause": 0.0, "bytes": 100, "alive": True}
    return Signs(quiet_seconds=quiet, **fields | changes)


def past(*more: AnyRecord, **changes: Any) -> History:
    """A run at step 3 that evaluates every 50 steps, on a machine called gpu1."""
    changes = {"host": "gpu1", "pid": 7, "config": {"eval": {"every": 50}}} | changes
    return facts.history(facts.run(**changes), *facts.losses([1.0, 1.0, 1.0]), *more)


def judged(history: History, seen: Signs) -> list[Verdict]:
    return judge_heartbeat(history, seen, NOW, Limits())


def found(history: History, seen: Signs) -> str:
    return "".join(verdict.evidence["state"] for verdict in judged(history, seen))


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        (signs(0), ""),
        (signs(5 * MINUTE), ""),
        (signs(5 * MINUTE + 1), "stalled"),
        (signs(10 * MINUTE, step_seconds=60), ""),
        (signs(10 * MINUTE + 1, step_seconds=60), "stalled"),
        (signs(float("nan")), "stalled"),
        (signs(59, alive=False), ""),
        (signs(60, alive=False), "died"),
        (signs(60, alive=None), ""),
        (signs(301, alive=None), "stalled"),
        (signs(60, rebooted=True), "died"),
        (signs(60, rebooted=False), ""),
        (signs(60, rebooted=None), ""),
        (signs(59, rebooted=True), ""),
        (signs(301, alive=False, longest_pause=9_000), "died"),
    ],
)
def test_silence_is_judged_by_the_pace_of_the_run_and_its_process(seen: Signs, state: str) -> None:
    assert found(past(), seen) == state


@pytest.mark.parametrize(
    ("history", "quiet", "pause", "state"),
    [
        (past(facts.sample(50)), 30 * MINUTE, 0, ""),
        (past(facts.sample(50)), 30 * MINUTE + 1, 0, "stalled"),
        (past(facts.sample(50)), 100 * MINUTE, 50 * MINUTE, ""),
        (past(facts.sample(50)), 100 * MINUTE + 1, 50 * MINUTE, "stalled"),
        (past(facts.sample(51)), 100 * MINUTE, 50 * MINUTE, "stalled"),
        (past(facts.sample(100)), 30 * MINUTE, 0, ""),
        (facts.history(facts.run()), 30 * MINUTE, 0, ""),
        (facts.history(facts.run()), 31 * MINUTE, 0, "stalled"),
        (past(training={"eval_steps": 3}), 30 * MINUTE, 0, ""),
        (past(training={"save_steps": 3}), 30 * MINUTE, 0, ""),
        (past(training={"save_steps": 0, "eval_steps": 0.1}), 6 * MINUTE, 0, "stalled"),
        (past(config={}), 6 * MINUTE, 0, "stalled"),
        (past(config={"eval": None}), 6 * MINUTE, 0, "stalled"),
    ],
)
def test_evaluating_and_saving_are_given_time(
    history: History, quiet: float, pause: float, state: str
) -> None:
    assert found(history, signs(quiet, longest_pause=pause)) == state


@pytest.mark.parametrize(
    "history",
    [
        History(),
        past(facts.note(3, "finished")),
        past(facts.note(3, "failed", "CUDA out of memory")),
        past(source="trainer_state"),
    ],
)
def test_a_run_that_ended_or_was_read_from_elsewhere_is_not_judged(history: History) -> None:
    assert judged(history, signs(1e9, alive=False, rebooted=True)) == []


def test_a_run_that_ended_and_was_resumed_is_judged_again() -> None:
    history = past(facts.note(3, "failed"), facts.run(step=2, time=facts.at(9)))
    assert found(history, signs(1800)) == ""
    assert found(history, signs(1801)) == "stalled"


def test_an_alert_names_where_what_and_how_to_go_on() -> None:
    (verdict,) = judged(past(facts.checkpoint(2)), signs(100, alive=False))
    assert (verdict.rule, verdict.state, verdict.level) == (HEARTBEAT, "open", "error")
    assert (verdict.step, verdict.time) == (3, NOW)
    assert "died at step 3: process 7 on gpu1 is gone" in verdict.message
    assert "go on from checkpoint-2." in verdict.action
    assert verdict.evidence["bytes"] == 100
    (stalled,) = judged(past(), signs(600))
    assert stalled.level == "warning"
    assert "no new record for 10 min, where 5 min" in stalled.message
    assert "process 7 on gpu1" in stalled.action
    (rebooted,) = judged(past(), signs(100, rebooted=True))
    assert "gpu1 was started again" in rebooted.message
    assert "start it again" in rebooted.action


def test_one_alert_lives_through_stall_death_and_return() -> None:
    history = past()
    told = []
    for seen in [
        signs(100),
        signs(400),
        signs(500),
        signs(600, alive=False),
        signs(700, alive=False),
        signs(10, alive=False),  # another viewer has not waited so long
        signs(1, bytes=200),
        signs(2, bytes=200),
        signs(400, bytes=200),
    ]:
        for verdict in judged(history, seen):
            history.add(verdict)
            told.append((verdict.state, verdict.level, verdict.evidence["bytes"]))
    assert told == [
        ("open", "warning", 100),
        ("escalated", "error", 100),
        ("resolved", "error", 200),
        ("open", "warning", 200),
    ]


def test_the_end_of_the_run_resolves_the_alert() -> None:
    history = past()
    (verdict,) = judged(history, signs(400))
    history.add(verdict)
    assert history.state == "stalled"
    history.add(facts.note(4, "finished"))
    assert history.state == "finished"
    (resolved,) = judged(history, signs(0, bytes=300))
    assert resolved.state == "resolved"


def test_a_verdict_of_a_viewer_is_no_sign_of_life() -> None:
    history = past()
    before = history.time
    (verdict,) = judged(history, signs(100, alive=False))
    history.add(verdict)
    assert (history.time, history.state) == (before, "died")
    history.add(msgspec.structs.replace(verdict, state="resolved"))
    assert history.state == "running"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(40, "40 s"), (119, "119 s"), (600, "10 min"), (7200, "2.0 h"), (86_400 * 3, "3 days")],
)
def test_a_duration_is_told_in_its_own_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text
