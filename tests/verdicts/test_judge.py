"""The judge sees only the past: live, replayed and cut short, it says the same."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from facts import at, checkpoint, evaluation, layers, losses, note, run, sample, score
from hypothesis import given, settings
from hypothesis import strategies as st

from heldout.records import AnyRecord, Checkpoint, Decision, Run, Verdict, decode, encode
from heldout.store.journal import Journal, read
from heldout.verdicts.judge import Judge, judge
from heldout.verdicts.life import Standing

LOSS = st.sampled_from([1.0, 0.5, 0.0, math.nan, math.inf])
RATE = st.sampled_from([1.0, 0.4, math.nan])
NUM_EXAMPLES = 40


@st.composite
def runs(draw: st.DrawFn) -> list[AnyRecord]:
    """A run with steps, evaluations, checkpoints, resumes and an end, in any order that can be."""
    schedule = draw(st.sampled_from(["linear", "constant"]))
    facts: list[AnyRecord] = [run(learning_rate=schedule)]
    step = 0
    for kind in draw(st.lists(st.sampled_from("sssseeckrlnx"), min_size=3, max_size=14)):
        match kind:
            case "s":
                step += 1
                facts.append(
                    sample(step, draw(LOSS), grad_norm=draw(LOSS), learning_rate=draw(RATE))
                )
            case "e":
                right = draw(st.integers(0, NUM_EXAMPLES))
                broken = draw(st.sampled_from([0, 0, NUM_EXAMPLES]))
                ece = math.nan if broken else draw(st.sampled_from([0.01, 0.2, 0.4]))
                answers = score(0 if broken else right, NUM_EXAMPLES)
                facts += evaluation(step, answers, ece=ece, non_finite=broken)
            case "c" | "k":
                facts.append(checkpoint(step))
            case "r":
                step = draw(st.integers(0, step))
                facts.append(run(step=step, time=2_000.0 + len(facts), learning_rate=schedule))
            case "l":
                facts.append(layers(step, draw(st.lists(LOSS, max_size=4))))
            case "n":
                facts.append(note(step, "failure", "a signal is off"))
            case "x":
                facts.append(note(step, draw(st.sampled_from(["finished", "failed"]))))
    return facts


def lines(records: list[AnyRecord] | list[Verdict | Decision]) -> list[bytes]:
    """Records as they are written: NaN equals nothing, its text equals itself."""
    return [encode(record) for record in records]


def live(facts: list[AnyRecord]) -> list[list[AnyRecord]]:
    """What a judge that watches answers to each fact."""
    watching = Judge()
    return [list(watching.feed(fact)) for fact in facts]


@settings(max_examples=40)
@given(runs(), st.data())
def test_judging_a_prefix_gives_a_prefix(facts: list[AnyRecord], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(facts)))
    whole = lines(judge(facts))
    part = lines(judge(facts[:cut]))
    assert whole[: len(part)] == part


@settings(max_examples=40)
@given(runs())
def test_a_replay_of_the_journal_says_what_was_said_live(facts: list[AnyRecord]) -> None:
    answers = live(facts)
    said = [record for answer in answers for record in answer]
    written = [r for fact, answer in zip(facts, answers, strict=True) for r in (fact, *answer)]
    stored = [decode(encode(record)) for record in written]
    assert lines(judge(stored)) == lines(said)


@settings(max_examples=40)
@given(runs())
def test_the_verdicts_of_any_run_make_sense(facts: list[AnyRecord]) -> None:
    state: dict[tuple[str, str], str] = {}
    reasons: dict[tuple[str, str], str] = {}
    saved: set[str] = set()
    for fact, answer in zip(facts, live(facts), strict=True):
        if isinstance(fact, Checkpoint):
            saved.add(fact.path)
        if isinstance(fact, Run) and not fact.step:
            state.clear()
            saved.clear()
        decisions = [each for each in answer if isinstance(each, Decision)]
        assert len(decisions) <= 1
        assert answer[-1:] == decisions or not decisions, "the decision comes after its causes"
        for verdict in (each for each in answer if isinstance(each, Verdict)):
            key = (verdict.rule, verdict.scope)
            assert verdict.state != "error", verdict.message
            if verdict.state == "resolved":
                assert state[key] in ("open", "escalated")
            elif verdict.state == "open":
                assert state.get(key) != "open"
            elif verdict.state == "no-data":
                assert reasons.get(key) != verdict.message or state.get(key) != "no-data"
            state[key], reasons[key] = verdict.state, verdict.message
        for decision in decisions:
            assert set(decision.tied) <= saved
            assert decision.checkpoint in (decision.tied or [None])
            assert decision.reason


@settings(max_examples=40)
@given(runs())
def test_how_alerts_stand_is_known_without_asking_all_of_them(facts: list[AnyRecord]) -> None:
    judge_ = Judge()
    for fact in facts:
        judge_.feed(fact)
        assert judge_._standing == Standing.of(judge_.history)


def test_the_same_through_a_file(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal, watching, said = Journal(path), Judge(), []
    facts = [
        run(),
        *evaluation(0, score(50)),
        *losses([1.0, math.nan, 0.5]),
        *evaluation(3, score(20)),
        checkpoint(3),
        note(3, "finished"),
    ]
    for fact in facts:
        judged = watching.feed(fact)
        journal.append([fact, *judged])
        said += judged
    journal.close()
    assert lines(judge(read(path)[0])) == lines(said)
    states = [(v.rule, v.state) for v in said if isinstance(v, Verdict)]
    assert ("loss-not-finite", "open") in states


def test_its_own_answers_fed_back_change_nothing() -> None:
    judge_ = Judge()
    for fact in losses([1.0, math.nan]):
        for answer in judge_.feed(fact):
            assert judge_.feed(answer) == []


def test_what_older_rules_said_in_the_journal_changes_nothing() -> None:
    facts = [run(), *evaluation(0, score(50)), checkpoint(0)]
    said = Verdict(
        step=0, time=at(0), rule="regression", state="open", level="error", message="m", action="a"
    )
    assert lines(judge([*facts, said, sample(1), note(1, "finished")])) == lines(
        judge([*facts, sample(1), note(1, "finished")])
    )


def test_a_decision_is_repeated_only_when_it_changed() -> None:
    judge_ = Judge()
    judged = [each for fact in [run(), *evaluation(0, score(50))] for each in judge_.feed(fact)]
    reasons = [each.reason for each in judged if isinstance(each, Decision)]
    assert len(reasons) == len(set(reasons))
    again = [*judge_.feed(note(0, "resume", "x")), *judge_.feed(sample(1))]
    assert not [each for each in again if isinstance(each, Decision)]
    (decision,) = (d for d in judge_.feed(checkpoint(0)) if isinstance(d, Decision))
    assert decision.checkpoint == "checkpoint-0"


@pytest.mark.parametrize(("topic", "action"), [("finished", "none"), ("failed", "resume")])
def test_the_end_of_the_run_ends_its_decision(topic: str, action: str) -> None:
    decisions = [d for d in judge([run(), note(3, topic)]) if isinstance(d, Decision)]
    assert decisions[-1].action == action


def test_a_plateau_is_a_warning_while_steps_are_left_and_over_where_the_run_has_finished() -> None:
    looks = [fact for i in range(8) for fact in evaluation(10 * i, score(1_800 + i % 2, 2_000))]
    judge_ = Judge()
    for fact in [run(learning_rate="constant"), *looks, checkpoint(70)]:
        judge_.feed(fact)
    now = judge_.history
    assert (now.alerts["plateau", ""].state, now.alerts["plateau", ""].level) == ("open", "warning")
    assert now.decision is not None
    assert now.decision.action == "stop"
    for fact in [*evaluation(100, score(1_800, 2_000)), note(100, "finished")]:
        judge_.feed(fact)
    assert now.alerts["plateau", ""].state == "closed"
    assert (now.decision.action, now.decision.step) == ("none", 100)


def test_a_plateau_that_only_the_last_evaluation_shows_is_no_alert() -> None:
    looks = [fact for i in range(6) for fact in evaluation(20 * i, score(1_800 + i % 2, 2_000))]
    judged = judge([run(learning_rate="constant"), *looks])
    opened = [each for each in judged if isinstance(each, Verdict) and each.state == "open"]
    assert not [each for each in opened if each.rule == "plateau"]
