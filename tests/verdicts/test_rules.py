"""Each rule as a table: what was recorded, and what the rule finds in it."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from facts import (
    checkpoint,
    evaluation,
    history,
    item,
    layers,
    losses,
    note,
    result,
    run,
    sample,
    score,
)

import heldout.verdicts.rules
from heldout.folder import load
from heldout.records import AnyRecord, Sample
from heldout.verdicts.policy import decide
from heldout.verdicts.rule import Finding, NotChecked, Rule
from heldout.verdicts.rules import (
    calibration_drift,
    evaluation_mismatch,
    loss_not_finite,
    plateau,
    regression,
    watch_incomplete,
)

NAN, INF = math.nan, math.inf
Facts = list[AnyRecord]


def found(rule: Rule[Any], facts: Facts) -> str:
    """The level of the one finding, "fine" when there is none, "not checked" when it cannot look."""
    outcome = rule.look(history(*facts))
    if isinstance(outcome, NotChecked):
        assert outcome.reason
        return "not checked"
    assert len(outcome) <= 1
    return outcome[0].level if outcome else "fine"


def finding(rule: Rule[Any], facts: Facts) -> Finding:
    outcome = rule.look(history(*facts))
    assert not isinstance(outcome, NotChecked)
    (only,) = outcome
    return only


def evaluations(*correct: int, n: int = 400) -> Facts:
    """Evaluations at steps 0, 10, 20, ... of which so many are right."""
    return [fact for i, k in enumerate(correct) for fact in evaluation(10 * i, score(k, n))]


@pytest.mark.parametrize(
    ("values", "state"),
    [
        ([], "not checked"),
        ([2.0, 1.0], "fine"),
        ([1e30], "fine"),
        ([2.0, NAN], "critical"),
        ([INF], "critical"),
        ([-INF], "critical"),
        ([NAN] + [1.0] * 9, "critical"),
        ([NAN] + [1.0] * 10, "fine"),  # quiet for long enough
        ([1.0, 0.0, 0.0], "fine"),
        ([1.0, 0.0, 0.0, 0.0], "critical"),
        ([0.0, 0.0, 0.0, 1.0], "fine"),
        ([0.0, 0.0, NAN], "critical"),
        ([1.0, 1e-300, 0.0, 0.0], "fine"),
    ],
)
def test_loss_not_finite_reads_the_loss_of_each_step(values: list[float], state: str) -> None:
    assert found(loss_not_finite.RULE, losses(values)) == state


@pytest.mark.parametrize(
    ("norms", "state"),
    [
        ([1.0, NAN], "info"),  # a scaler skips it
        ([1.0, NAN, INF], "info"),
        ([NAN, NAN, 1.0], "fine"),
        ([NAN, NAN], "fine"),
        ([1.0, NAN, INF, NAN], "error"),
    ],
)
def test_loss_not_finite_needs_three_bad_gradients_in_a_row(norms: list[float], state: str) -> None:
    facts: Facts = [sample(i, 1.0, grad_norm=norm) for i, norm in enumerate(norms, start=1)]
    assert found(loss_not_finite.RULE, facts) == state


def test_a_gradient_that_is_not_finite_once_is_pending() -> None:
    facts: Facts = [sample(1, 1.0, grad_norm=1.0), sample(2, 1.0, grad_norm=NAN)]
    assert finding(loss_not_finite.RULE, facts).stage == "pending"


OWN, LOGGED = "loss/step", "loss/logged"


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        (OWN, [(1.0, 1.0), (0.0, 1.0)], ""),
        (OWN, [(1.0, 1.0), (0.0, 0.0)], "for 1 step, with a gradient norm of 0: no token"),
        (OWN, [(1.0, 1.0), (0.0, NAN)], "for 1 step, with a gradient norm of NaN/Inf: a NaN is"),
        (OWN, [(1.0, 1.0), (0.0, 0.0), (0.0, None)], "for 2 steps, with a gradient norm of 0"),
        (OWN, [(1.0, 0.0), (0.0, None)], ""),  # that gradient was of another step
        (OWN, [(0.0, None)] * 2, ""),
        (OWN, [(0.0, None)] * 3, "for 3 steps: no token is being trained on"),
        (OWN, [(0.0, 0.3)] * 5, ""),  # a policy's first steps
        (LOGGED, [(1.0, 1.0), (0.0, 0.0)], ""),  # answers that were all worth the same
        (LOGGED, [(0.0, 0.0)] * 3, "for 3 steps, with a gradient norm of 0: no token"),
        (LOGGED, [(1.0, 1.0), (0.0, NAN)], "for 1 step, with a gradient norm of NaN/Inf: a NaN is"),
        (LOGGED, [(0.0, 0.3)] * 5, ""),
    ],
)
def test_a_loss_of_zero_counts_with_its_gradient(
    name: str, rows: list[tuple[float, float | None]], message: str
) -> None:
    facts: Facts = [
        Sample(
            step=i, time=0.0, values={name: loss} | ({} if norm is None else {"grad/norm": norm})
        )
        for i, (loss, norm) in enumerate(rows, start=1)
    ]
    outcome = loss_not_finite.RULE.look(history(*facts))
    assert isinstance(outcome, list)
    assert [message in alert.message for alert in outcome] == ([True] if message else [])


@pytest.mark.parametrize(
    ("tokens", "state"),
    [
        ([6.0, 0.0], "fine"),
        ([6.0, 0.0, 0.0], "warning"),
        ([0.0, 0.0], "warning"),
        ([6.0, *[0.0] * 9], "warning"),
        ([6.0, *[0.0] * 10], "critical"),
        ([0.0, 6.0, 0.0], "fine"),
        ([0.0, 0.0, 6.0], "fine"),
    ],
)
def test_steps_without_a_label_token_count_in_a_row(tokens: list[float], state: str) -> None:
    """They have no loss of their own; the Trainer logs 0 and a gradient of 0 for each."""
    facts: Facts = [
        Sample(
            step=i,
            time=0.0,
            values={
                "throughput/label_tokens": n,
                LOGGED: 2.0 * bool(n),
                "grad/norm": float(bool(n)),
            }
            | ({OWN: 2.0} if n else {}),
        )
        for i, n in enumerate([6.0, *tokens], start=1)
    ]
    assert found(loss_not_finite.RULE, facts) == state
    if state != "fine":
        rows = tokens.count(0.0)
        assert (
            f"No label token in the last {rows} steps"
            in finding(loss_not_finite.RULE, facts).message
        )
        assert "label" in finding(loss_not_finite.RULE, facts).action


def test_a_policys_loss_of_zero_is_none_of_this() -> None:
    rows = [Sample(step=i, time=0.0, values={LOGGED: 0.0, "reward": 1.0}) for i in range(9)]
    assert found(loss_not_finite.RULE, [*rows]) == "fine"


@pytest.mark.parametrize(("losses_", "state"), [([2.0, NAN], "critical"), ([NAN, 2.0], "fine")])
def test_loss_not_finite_reads_the_trainers_evaluation(losses_: list[float], state: str) -> None:
    facts: Facts = [
        Sample(step=i, time=0.0, values={"loss/logged": 1.0, "loss/trainer_eval": loss})
        for i, loss in enumerate(losses_, start=1)
    ]
    assert found(loss_not_finite.RULE, facts) == state


def test_loss_not_finite_reads_foreign_logs() -> None:
    facts: Facts = [
        Sample(step=i, time=0.0, values={"loss/logged": x}) for i, x in [(1, 1.0), (2, NAN)]
    ]
    assert found(loss_not_finite.RULE, facts) == "critical"


@pytest.mark.parametrize(("non_finite", "state"), [(0, "fine"), (1, "critical"), (100, "critical")])
def test_loss_not_finite_reads_the_held_out_logits(non_finite: int, state: str) -> None:
    facts = evaluation(0, score(50), non_finite=non_finite)
    assert found(loss_not_finite.RULE, facts) == state
    assert found(loss_not_finite.RULE, [*facts, *evaluation(1, score(50))]) == "fine"


@pytest.mark.parametrize(("tensors", "state"), [(0.0, "fine"), (3.0, "critical")])
def test_loss_not_finite_reads_the_trained_weights(tensors: float, state: str) -> None:
    facts = [*losses([2.0] * 20), sample(21, **{"weights/non_finite": tensors})]
    assert found(loss_not_finite.RULE, facts) == state


def test_loss_not_finite_says_where_it_began_and_where_to_go_back_to() -> None:
    before = [*evaluation(4, score(9)), checkpoint(4)]
    poisoned = [*evaluation(8, score(0), non_finite=100), checkpoint(8), checkpoint(9)]
    facts = [*losses([1.0] * 5 + [NAN] * 4), *before]
    alert = finding(loss_not_finite.RULE, facts)
    assert alert.evidence == {"first_step": 6, "bad_steps": 4, "of_last": 9}
    assert "first at step 6" in alert.message
    assert "Resume from the recommended checkpoint " in alert.action
    assert decide(history(*facts)).checkpoint == "checkpoint-4"
    alert = finding(loss_not_finite.RULE, [*before, *poisoned])
    assert "Resume from the recommended checkpoint " in alert.action
    assert decide(history(*before, *poisoned)).checkpoint == "checkpoint-4"
    assert "Start again" in finding(loss_not_finite.RULE, poisoned).action


@pytest.mark.parametrize(
    ("correct", "state"),
    [
        ((), "not checked"),
        ((180,), "not checked"),
        ((180, 140), "warning"),  # the first time it may be luck
        ((180, 140, 140), "error"),
        ((180, 180), "fine"),
        ((180, 177), "fine"),  # within chance
        ((180, 200, 140), "warning"),
        ((180, 180, 140, 140), "error"),
        ((40, 180, 170), "fine"),  # better than those before
        ((180, 182, 181, 140, 180), "fine"),
    ],
)
def test_regression_is_a_paired_fall(correct: tuple[int, ...], state: str) -> None:
    assert found(regression.RULE, evaluations(*correct)) == state


def test_regression_names_what_to_keep_and_the_numbers() -> None:
    facts = evaluations(180, 200, 140)
    alert = finding(regression.RULE, [*facts, checkpoint(10)])
    assert alert.message == "EM fell by 12.5 points since step 10, to 35.0% [30.5%, 39.8%] of 400"
    assert alert.action == "Keep the recommended checkpoint."
    assert alert.evidence["em_change_high"] < 0
    assert "none is saved" in finding(regression.RULE, facts).action


@pytest.mark.parametrize(("gap", "leaning"), [(0.4, "overconfident"), (-0.4, "underconfident")])
def test_calibration_drift_says_which_way(gap: float, leaning: str) -> None:
    facts = [*evaluation(0, score(50)), *evaluation(10, score(50), ece=0.4, confidence_gap=gap)]
    alert = finding(calibration_drift.RULE, facts)
    assert alert.message == (
        "Calibration drift: ECE 0.400 [0.398, 0.402] over 1,000 tokens, "
        f"was 0.050; the model is {leaning} (confidence less accuracy {gap:+.3f})"
    )
    assert (alert.evidence["best_step"], alert.evidence["null"]) == (0, 0.01)


def test_calibration_drift_of_a_policy_is_an_info() -> None:
    facts = [*evaluation(0, score(50)), *evaluation(10, score(50), ece=0.4, confidence_gap=0.1)]
    assert found(calibration_drift.RULE, facts) == "warning"
    assert found(calibration_drift.RULE, [*facts, sample(21, reward=0.5)]) == "info"


def test_calibration_drift_names_the_best_past_a_nan() -> None:
    values = [NAN, 0.05, 0.4]
    facts = [f for i, ece in enumerate(values) for f in evaluation(10 * i, score(50), ece=ece)]
    assert finding(calibration_drift.RULE, facts).evidence["best_ece"] == 0.05


FLAT = (180, 181) * 4


@pytest.mark.parametrize(
    ("correct", "rates", "schedule", "state"),
    [
        ((), (), "", "not checked"),
        (FLAT[:5], (), "", "not checked"),
        (FLAT, (), "linear", "warning"),  # nothing is known of the rate
        (FLAT, (1.0, 0.5), "linear", "warning"),
        (FLAT, (1.0, 0.51), "linear", "fine"),
        (FLAT, (0.1, 1.0), "linear", "fine"),
        (FLAT, (1.0, 1.0), "constant", "warning"),
        (FLAT, (0.5, 1.0), "constant_with_warmup", "warning"),
        (FLAT, (0.0, 0.0), "linear", "warning"),
        (range(180, 300, 15), (1.0, 0.1), "linear", "fine"),
        ((300, 280, 260, 240, 220, 200, 180, 0), (1.0, 0.1), "linear", "fine"),
        ((*FLAT[:6], 200, 220, 240), (1.0, 0.1), "linear", "fine"),
    ],
)
def test_plateau_is_flat_where_the_learning_rate_promises_no_more(
    correct: tuple[int, ...], rates: tuple[float, ...], schedule: str, state: str
) -> None:
    steps: Facts = [sample(i, learning_rate=rate) for i, rate in enumerate(rates, start=1)]
    facts = [run(learning_rate=schedule), *steps, *evaluations(*correct)]
    assert found(plateau.RULE, facts) == state


@pytest.mark.parametrize("name", ["reward", "rewards/margins"])
def test_there_is_no_plateau_while_the_reward_that_is_trained_may_still_rise(name: str) -> None:
    def judged(slope: float) -> str:
        noise = (0.0, 0.3, -0.2, 0.1, -0.3, 0.2)
        steps: Facts = [
            sample(i, **{name: slope * i + noise[i % 6], "learning_rate": 1.0}) for i in range(80)
        ]
        return found(plateau.RULE, [run(learning_rate="constant"), *steps, *evaluations(*FLAT)])

    assert judged(0.05) == "fine"
    assert judged(0.004) == "fine"  # too slow to be sure of, and not excluded
    assert judged(0.0) == "warning"


def test_plateau_says_since_when_and_which_checkpoint() -> None:
    facts = [run(), *evaluations(*FLAT), checkpoint(10), checkpoint(20)]
    alert = finding(plateau.RULE, facts)
    assert alert.message == (
        "EM plateau since step 20: 45.2% [40.4%, 50.1%] of 400, no gain above 0.7 points over the last "
        "3 evaluations"
    )
    assert alert.action == "Consider stopping. Best checkpoint: the recommended checkpoint"
    assert (alert.evidence["by"], alert.evidence["since"]) == ("em", 20)


def test_where_nothing_is_right_a_plateau_is_by_cross_entropy_and_says_so() -> None:
    def run_of(*losses: float) -> Facts:
        rows: Facts = [run(learning_rate="constant", total_steps=200)]
        for at, ce in enumerate(losses):
            spread = [
                msgspec.structs.replace(item(10 * at, f"e{i}", False), ce=ce * (1 + i / 100))
                for i in range(80)
            ]
            rows += [*spread, result(10 * at, 0, 80, ce=ce)]
        return rows

    assert found(plateau.RULE, run_of(3.6, 3.3, 3.0, 2.7, 2.5, 2.4, 2.3, 2.2)) == "fine"
    alert = finding(
        plateau.RULE, run_of(3.6, 3.0, 2.5, 2.2, 2.2, 2.2, 2.2, 2.2, 2.2, 2.2, 2.2, 2.2)
    )
    assert alert.message == (
        "CE plateau since step 40: 2.200, no fall above 0.000 over the last 4 evaluations. EM cannot tell "
        "here: 0 of 80 right"
    )


def poisoned() -> Facts:
    """A run in which every number that can be is NaN from some step on."""
    bad = {"ce": NAN, "ece": NAN, "ece_null": NAN, "entropy": NAN, "non_finite": 100}
    facts: Facts = [run(), *losses([1.0, 0.9], grad_norm=1.0, learning_rate=0.1)]
    for step in range(3, 9):
        facts.append(sample(step, NAN, grad_norm=NAN, learning_rate=NAN))
        facts.append(layers(step, [NAN] * 4))
        facts += evaluation(step, score(0), **bad)
    return facts


@pytest.mark.parametrize(
    "rule", [pytest.param(r, id=r.name) for r in load(heldout.verdicts.rules, "RULE")]
)
@pytest.mark.parametrize(
    "facts",
    [
        pytest.param([], id="nothing"),
        pytest.param([run()], id="only begun"),
        pytest.param(losses([1.0, 0.5]), id="no evaluation"),
        pytest.param([result(5, 1, 4)], id="no items"),
        pytest.param(evaluation(0, [True]), id="one example"),
        pytest.param(poisoned(), id="all NaN"),
    ],
)
def test_no_rule_throws_whatever_is_missing(rule: Rule[Any], facts: Facts) -> None:
    outcome = rule.look(history(*facts))
    if isinstance(outcome, NotChecked):
        assert outcome.reason
    else:
        assert all(alert.message and alert.action and alert.evidence for alert in outcome)


@pytest.mark.parametrize("rule", load(heldout.verdicts.rules, "RULE"), ids=lambda rule: rule.name)
def test_a_rule_that_can_look_at_nothing_says_why(rule: Rule) -> None:
    if rule is watch_incomplete.RULE:
        assert rule.look(history(run())) == [], "notes can always be looked at"
    else:
        assert isinstance(rule.look(history(run())), NotChecked)


@pytest.mark.parametrize(
    ("facts", "scopes"),
    [
        ([note(0, "resume", "x")], []),
        ([note(3, "lost", "7 records")], ["lost"]),
        ([note(3, "failure", "entropy failed"), note(3, "lost", "7 records")], ["lost", "failure"]),
        ([note(3, "lost", "7 records"), sample(103)], ["lost"]),
        ([note(3, "lost", "7 records"), sample(104)], []),
        ([note(3, "lost", "7 records"), run(step=3, time=2_000.0)], []),
    ],
)
def test_watch_incomplete_tells_gaps_of_this_run_until_they_are_old(
    facts: Facts, scopes: list[str]
) -> None:
    found = watch_incomplete.RULE.look(history(run(), *facts))
    assert isinstance(found, list)
    assert [finding.scope for finding in found] == scopes


@pytest.mark.parametrize(
    ("checks", "state"),
    [
        ((), "not checked"),
        (((0, []),), "not checked"),
        (((32, []),), "fine"),
        (((32, ["e3", "e7"]),), "warning"),
        (((32, ["e3"]), (0, [])), "warning"),  # what was checked last still holds
        (((32, ["e3"]), (32, [])), "fine"),
    ],
)
def test_a_mismatch_with_generate_is_shown(
    checks: tuple[tuple[int, list[str]], ...], state: str
) -> None:
    facts = [
        fact
        for i, (num, wrong) in enumerate(checks)
        for fact in evaluation(10 * i, score(40), rechecked=num, mismatched=wrong)
    ]
    assert found(evaluation_mismatch.RULE, facts) == state
    if state == "warning":
        alert = finding(evaluation_mismatch.RULE, facts)
        assert f"disagree on {len(checks[0][1])} of 32 examples" in alert.message
