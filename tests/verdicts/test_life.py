"""The life of an alert: one record a change, and none between."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from facts import evaluation, losses, run, sample, score

from heldout.derive.history import History
from heldout.records import AnyRecord, Level, Sample, Verdict
from heldout.verdicts.judge import Judge, all_rules
from heldout.verdicts.rule import Finding, NoLimits, NotChecked, Rule

Found = list[Finding] | NotChecked | Exception


def bad(level: Level = "warning", scope: str = "") -> Finding:
    return Finding(level=level, message=f"bad {level}", action="do", scope=scope, evidence={"n": 1})


def scripted(*outcomes: Found, name: str = "told") -> Rule:
    """A rule that finds what it is told at steps 1, 2, ..."""

    def check(history: History, _: NoLimits) -> list[Finding] | NotChecked:
        outcome = outcomes[history.step - 1]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return Rule(name=name, check=check, limits=NoLimits(), on=(Sample,))


def lived(rules: Sequence[Rule], num_steps: int) -> list[Verdict]:
    judge = Judge(rules)
    judged = [each for step in range(1, num_steps + 1) for each in judge.feed(sample(step))]
    return [each for each in judged if isinstance(each, Verdict)]


@pytest.mark.parametrize(
    ("outcomes", "states"),
    [
        pytest.param(([], []), [], id="nothing bad, nothing said"),
        pytest.param(([bad()], [bad()], [bad()]), [(1, "open")], id="open once"),
        pytest.param(([bad()], [], []), [(1, "open"), (2, "resolved")], id="resolved once"),
        pytest.param(
            ([bad()], [], [bad()]), [(1, "open"), (2, "resolved"), (3, "open")], id="open again"
        ),
        pytest.param(
            ([bad()], [bad("critical")], [bad("critical")]),
            [(1, "open"), (2, "escalated")],
            id="worse",
        ),
        pytest.param(
            ([bad()], [bad("error")], [bad("critical")], []),
            [(1, "open"), (2, "escalated"), (3, "escalated"), (4, "resolved")],
            id="worse and worse",
        ),
        pytest.param(([bad("error")], [bad("info")]), [(1, "open")], id="milder is no change"),
        pytest.param(
            (NotChecked("no data"), NotChecked("no data"), []),
            [(1, "no-data"), (3, "closed")],
            id="could not look, then could",
        ),
        pytest.param(
            (NotChecked("no data"), [bad()]), [(1, "no-data"), (2, "open")], id="then bad"
        ),
        pytest.param(
            (ValueError("x"), ValueError("x"), []), [(1, "error"), (3, "closed")], id="failed"
        ),
        pytest.param(
            (NotChecked("x"), ValueError("x")), [(1, "no-data"), (2, "error")], id="then failed"
        ),
        pytest.param(([bad()], NotChecked("x"), []), [(1, "open"), (3, "resolved")], id="blind"),
    ],
)
def test_a_verdict_is_written_at_each_change_and_never_between(
    outcomes: tuple[Found, ...], states: list[tuple[int, str]]
) -> None:
    verdicts = lived([scripted(*outcomes)], len(outcomes))
    assert [(verdict.step, verdict.state) for verdict in verdicts] == states


def test_a_verdict_carries_what_the_rule_found() -> None:
    opened, resolved = lived([scripted([bad("error", "layer 3")], [])], 2)
    assert (opened.rule, opened.scope, opened.level) == ("told", "layer 3", "error")
    assert (opened.message, opened.action, opened.evidence) == ("bad error", "do", {"n": 1})
    assert (resolved.step, resolved.time) == (2, sample(2).time)
    assert (resolved.scope, resolved.message) == ("layer 3", "bad error")


def test_scopes_of_one_rule_live_their_own_lives() -> None:
    a, b = bad(scope="a"), bad(scope="b")
    verdicts = lived([scripted([a], [a, b], [b], [])], 4)
    assert [(v.step, v.scope, v.state) for v in verdicts] == [
        (1, "a", "open"),
        (2, "b", "open"),
        (3, "a", "resolved"),
        (4, "b", "resolved"),
    ]


def test_a_reason_is_given_where_nothing_could_be_checked() -> None:
    (verdict,) = lived([scripted(NotChecked("needs 2 evaluations"))], 1)
    assert (verdict.message, verdict.level) == ("needs 2 evaluations", "info")


def test_a_rule_that_throws_is_seen_and_does_not_stop_the_others() -> None:
    broken = scripted(KeyError("gone"), KeyError("gone"), name="broken")
    fine = scripted([bad()], [], name="fine")
    verdicts = lived([broken, fine], 2)
    assert [(v.rule, v.state) for v in verdicts] == [
        ("broken", "error"),
        ("fine", "open"),
        ("fine", "resolved"),
    ]
    assert verdicts[0].message == "the rule failed: KeyError: 'gone'"
    assert verdicts[0].level == "warning"


def test_a_rule_that_throws_while_its_alert_is_open_is_seen_too() -> None:
    verdicts = lived([scripted([bad()], ValueError("x"), [])], 3)
    assert any("the rule failed" in verdict.message for verdict in verdicts)


def test_an_open_rule_silences_those_that_name_it_and_only_while_open() -> None:
    parent = scripted([bad()], [bad()], [], [], name="parent")
    calls: list[int] = []

    def count(history: History, _: NoLimits) -> list[Finding]:
        calls.append(history.step)
        return [bad()]

    child = Rule(
        name="child", check=count, limits=NoLimits(), on=(Sample,), silenced_by=("parent",)
    )
    verdicts = lived([parent, child], 4)
    assert calls == [3, 4]
    assert [(v.rule, v.state, v.step) for v in verdicts] == [
        ("parent", "open", 1),
        ("child", "no-data", 1),
        ("parent", "resolved", 3),
        ("child", "open", 3),
    ]
    assert verdicts[1].message == "muted while parent is open"


def test_an_alert_that_another_explains_is_closed_and_opens_again_after_it() -> None:
    parent = scripted([], [bad()], [bad()], [], name="parent")
    child = Rule(
        name="child",
        check=lambda *_: [bad()],
        limits=NoLimits(),
        on=(Sample,),
        silenced_by=("parent",),
    )
    states = [(v.rule, v.state, v.step) for v in lived([parent, child], 4)]
    assert states == [
        ("child", "open", 1),
        ("parent", "open", 2),
        ("child", "closed", 2),
        ("child", "no-data", 3),
        ("parent", "resolved", 4),
        ("child", "open", 4),
    ]


def test_a_parent_that_could_not_look_silences_nobody() -> None:
    parent = scripted(NotChecked("x"), name="parent")
    child = Rule(
        name="child",
        check=lambda *_: [bad()],
        limits=NoLimits(),
        on=(Sample,),
        silenced_by=("parent",),
    )
    assert [verdict.rule for verdict in lived([parent, child], 1)] == ["parent", "child"]


Feed = Callable[..., list[AnyRecord]]


def test_a_loss_that_is_nan_silences_every_rule_about_the_model() -> None:
    judge = Judge()
    silenced = {rule.name for rule in all_rules() if "loss-not-finite" in rule.silenced_by}
    own = {"loss-not-finite", "watch-incomplete", "evaluation-mismatch", "throughput-drop"}
    own |= {"prompt-mismatch"}  # of how prompts are rendered
    about_the_model = {rule.name for rule in all_rules() if not rule.name.startswith("data-")}
    assert silenced == about_the_model - own
    facts = [run(), *evaluation(0, score(90)), *losses([1.0, float("nan")])]
    fallen = evaluation(2, score(0), ece=0.9)
    judged = [each for fact in [*facts, *fallen] for each in judge.feed(fact)]
    opened = [v.rule for v in judged if isinstance(v, Verdict) and v.state == "open"]
    assert opened == ["loss-not-finite"]


def test_rules_that_silence_others_are_asked_first() -> None:
    order = [rule.name for rule in all_rules()]
    for rule in all_rules():
        assert all(order.index(parent) < order.index(rule.name) for parent in rule.silenced_by)


@pytest.mark.parametrize(
    "returned",
    [
        pytest.param(["x"], id="no finding"),
        pytest.param(bad(), id="not a list"),
        pytest.param([Finding(level="bad", message="m", action="a")], id="no such level"),  # type: ignore[arg-type]
        pytest.param([Finding(level="info", message="m", action="a", scope=3)], id="scope"),  # type: ignore[arg-type]
        pytest.param(
            [Finding(level="info", message="m", action="a", evidence={"x": np.ones(3)})], id="array"
        ),
        pytest.param((1 / 0 for _ in range(1)), id="raises late"),
    ],
)
def test_a_rule_that_returns_nonsense_is_seen_as_broken_and_stops_nobody(returned: Any) -> None:
    broken = Rule(name="broken", check=lambda *_: returned, limits=NoLimits(), on=(Sample,))
    verdicts = lived([broken, scripted([bad()], [bad()])], 2)
    said = [(v.rule, v.state) for v in verdicts]
    assert said[:2] == [("broken", "error"), ("told", "open")]


def test_a_rule_that_exits_ends_nothing() -> None:
    def leave(history: History, _: NoLimits) -> list[Finding]:
        sys.exit(f"at step {history.step}")

    rule = Rule(name="broken", check=leave, limits=NoLimits(), on=(Sample,))
    (said,) = lived([rule], 5)
    assert (said.state, said.step) == ("error", 1), "told once, though its text names the step"


def resumed(step: int, *after: AnyRecord, rules: Sequence[Rule[Any]], **more: Any) -> list[Verdict]:
    """What is said from a resume at `step` on, after ten steps."""
    judge = Judge(rules)
    for fact in [run(), *losses([1.0] * 10)]:
        judge.feed(fact)
    judged = [each for fact in [run(step=step, **more), *after] for each in judge.feed(fact)]
    return [each for each in judged if isinstance(each, Verdict)]


def test_an_alert_of_steps_that_are_made_anew_is_closed_and_opens_again_by_itself() -> None:
    late = Rule(
        name="late",
        check=lambda history, _: [bad()] if history.step >= 8 else [],
        limits=NoLimits(),
        on=(Sample,),
    )
    again = resumed(4, sample(5), sample(8), rules=[late])
    assert [(v.state, v.step) for v in again] == [("closed", 4), ("open", 8)]
    assert resumed(9, sample(10), rules=[late]) == [], "opened at 8, and still true"


def test_an_alert_of_a_rule_that_is_off_now_is_closed() -> None:
    rule = Rule(name="early", check=lambda *_: [bad()], limits=NoLimits(), on=(Sample,))
    said = resumed(9, sample(10), rules=[rule], config={"alerts": {"off": ["early"]}})
    assert [(v.rule, v.state) for v in said] == [("early", "closed")]
