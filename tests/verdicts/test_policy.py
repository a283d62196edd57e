"""From alerts and evaluations to one decision."""

from __future__ import annotations

import math
from typing import Literal

import pytest
from facts import at, checkpoint, evaluation, history, layers, losses, note, run, sample, score

from heldout.derive.history import History
from heldout.records import AnyRecord, Level, State, Verdict
from heldout.verdicts.judge import Judge, all_rules
from heldout.verdicts.life import LEVELS
from heldout.verdicts.policy import decide
from heldout.verdicts.rule import Ends, Finding, NoLimits, Rule


def alert(rule: str, level: Level = "error", state: State = "open", scope: str = "") -> Verdict:
    return Verdict(
        step=9,
        time=at(9),
        rule=rule,
        scope=scope,
        state=state,
        level=level,
        message=f"{rule} says so",
        action="",
        ends=ending(rule, level),
    )


def ending(rule: str, level: Level) -> Literal["", "stop", "roll-back"]:
    """How an alert of one of heldout's rules ends a run."""
    ends = next((each.ends for each in all_rules() if each.name == rule), None)
    return ends.action if ends and LEVELS.index(level) >= LEVELS.index(ends.level) else ""


SAVED: list[AnyRecord] = [run(), *evaluation(5, score(50)), checkpoint(5)]
NAN = alert("loss-not-finite", "critical")
FALL = alert("regression", "error")
FLAT = alert("plateau", "warning")
DRIFT = alert("calibration-drift", "warning")
END = note(9, "finished")


@pytest.mark.parametrize(
    ("facts", "action", "because"),
    [
        pytest.param([], "continue", "nothing has been evaluated", id="nothing known"),
        pytest.param(SAVED, "continue", "the base to compare with", id="begun"),
        pytest.param([NAN], "stop", "loss-not-finite", id="NaN, nothing saved"),
        pytest.param([*SAVED, NAN], "roll-back", "loss-not-finite", id="NaN"),
        pytest.param([*SAVED, FALL], "roll-back", "regression", id="worse"),
        pytest.param([*SAVED, FLAT], "stop", "plateau", id="flat"),
        pytest.param([*SAVED, FLAT, FALL], "roll-back", "regression", id="flat and worse"),
        pytest.param([*SAVED, FALL, NAN], "roll-back", "loss-not-finite", id="NaN and worse"),
        pytest.param([*SAVED, FLAT, NAN], "roll-back", "loss-not-finite", id="NaN and flat"),
        pytest.param([*SAVED, DRIFT], "continue", "the base", id="drift never ends a run"),
        pytest.param([*SAVED, alert("mine", "critical")], "continue", "the base", id="unknown"),
        pytest.param(
            [*SAVED, FALL, alert("regression", state="resolved")], "continue", "the base", id="over"
        ),
        pytest.param([*SAVED, alert("plateau", state="no-data")], "continue", "", id="no data"),
        pytest.param([*SAVED, alert("regression", state="error")], "continue", "", id="rule broke"),
        pytest.param(
            [*SAVED, alert("regression", state="escalated")], "roll-back", "regression", id="worse"
        ),
        pytest.param([*SAVED, END], "none", "the base", id="finished"),
        pytest.param([*SAVED, FLAT, END], "none", "plateau", id="finished flat"),
        pytest.param([*SAVED, FALL, END], "roll-back", "regression", id="finished worse"),
        pytest.param([*SAVED, NAN, END], "roll-back", "loss-not-finite", id="finished with NaN"),
    ],
)
def test_the_worst_open_alert_decides(facts: list[AnyRecord], action: str, because: str) -> None:
    decision = decide(history(*facts))
    assert decision.action == action
    assert because in decision.reason


@pytest.mark.parametrize(
    ("correct", "said"),
    [
        ((50,), "EM 50.0% [40.4%, 59.6%] of 100, the base to compare with"),
        ((20, 80), "improving: +60.0 points [+44.8, +75.2] since step 0"),
        ((50, 52), "flat: no gain above 7.2 points and no loss above 3.2 since step 0"),
    ],
)
def test_the_reason_is_one_sentence_with_the_numbers(correct: tuple[int, ...], said: str) -> None:
    facts = [fact for i, k in enumerate(correct) for fact in evaluation(10 * i, score(k))]
    decision = decide(history(*facts))
    assert said in decision.reason
    assert decision.reason.count("\n") == 0


def test_a_run_that_ended_while_improving_says_that_more_may_help() -> None:
    facts = [*evaluation(0, score(20)), *evaluation(10, score(80)), note(10, "finished")]
    assert "a longer run may gain more" in decide(history(run(), *facts)).reason


def test_a_plateau_at_a_high_learning_rate_goes_on_and_says_why() -> None:
    rows = [fact for i in range(3) for fact in evaluation(10 * i, score(180 + i % 2, 400))]
    judge = Judge()
    for fact in [run(learning_rate="linear"), sample(1, learning_rate=1.0), *rows]:
        judge.feed(fact)
    decision = decide(judge.history)
    assert decision.action == "continue"
    assert "flat: no gain above" in decision.reason
    assert ", but the learning rate is still high" in decision.reason


def test_the_decision_names_the_best_checkpoint_and_one_that_is_cheaper() -> None:
    counts = (800, 1200, 1400, 1401, 1402, 1403, 1404, 1405)
    rows = [fact for i, k in enumerate(counts) for fact in evaluation(10 * i, score(k, 2000))]
    saved = [checkpoint(10 * i) for i in range(8)]
    decision = decide(history(run(), *rows, *saved))
    assert decision.checkpoint == "checkpoint-70"
    assert "checkpoint-70" in decision.tied
    assert "checkpoint-70 has the highest smoothed EM; checkpoint-" in decision.reason
    assert "is cheaper, within " in decision.reason


@pytest.mark.parametrize("cause", [NAN, FALL], ids=lambda verdict: verdict.rule)
@pytest.mark.parametrize(
    "saved",
    [
        pytest.param([], id="nothing saved"),
        pytest.param([checkpoint(7)], id="saved, but never scored"),
        pytest.param(
            [*evaluation(7, score(0), non_finite=100, ce=math.nan), checkpoint(7)], id="poisoned"
        ),
    ],
)
def test_a_roll_back_names_a_checkpoint_to_go_back_to(
    cause: Verdict, saved: list[AnyRecord]
) -> None:
    decision = decide(history(run(), *evaluation(0, score(40)), *saved, cause))
    assert decision.checkpoint is None
    assert decision.action == "stop"


def test_an_alert_ends_the_run_as_its_rule_says_and_from_its_level_on() -> None:
    def found(level: Level, ends: Ends | None) -> tuple[str, str]:
        finding = Finding(level=level, message="too bad", action="Look.")
        rule = Rule(name="mine", check=lambda h, _: [finding], limits=NoLimits(), ends=ends)
        judge = Judge(more=[rule])
        for fact in [run(), *losses([1.0])]:
            judge.feed(fact)
        decision = judge.history.decision
        assert decision is not None
        assert decide(History.of([run(), *judge.history.verdicts])).action == decision.action
        return decision.action, str(decision.evidence.get("cause"))

    assert found("error", Ends("stop")) == ("stop", "mine")
    assert found("critical", Ends("roll-back")) == (
        "stop",
        "mine",
    )  # nothing is saved to go back to
    assert found("warning", Ends("stop")) == ("continue", "None")
    assert found("warning", Ends("stop", "info")) == ("stop", "mine")
    assert found("critical", None) == ("continue", "None")


def test_deciding_changes_nothing() -> None:
    folded: History = history(*SAVED, *losses([1.0]), layers(5, [1.0]))
    assert decide(folded) == decide(folded)
    assert folded.decision is None
