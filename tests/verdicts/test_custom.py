"""Threshold lines of a config: what each makes of a series, and everything that can be wrong."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import facts
import pytest

from heldout.evals.evaluate import METRICS
from heldout.records import AnyRecord, Decision, Verdict
from heldout.verdicts.custom import (
    EVALUATED,
    FROM_ZERO,
    configured,
    mistake_in_limit,
    mistakes_in,
    threshold_rule,
)
from heldout.verdicts.judge import Judge, all_rules, judge

NAN, INF = math.nan, math.inf
LINE = {"name": "slow", "metric": "time/step", "op": ">", "value": 3}


def series(values: list[float], **alerts: Any) -> list[AnyRecord]:
    """A run with `alerts` in its config that recorded time/step as given."""
    samples = [facts.sample(i, **{"time/step": x}) for i, x in enumerate(values, 1)]
    return [facts.run(config={"alerts": alerts}), *samples]


def life(facts_: list[AnyRecord], rule: str = "slow") -> list[tuple[int, str]]:
    return [(v.step, v.state) for v in judge(facts_) if isinstance(v, Verdict) and v.rule == rule]


@pytest.mark.parametrize(
    ("line", "values", "expected"),
    [
        ({}, [1, 3, 4, 5, 3], [(3, "open"), (5, "resolved")]),
        ({"op": ">="}, [1, 3, 2], [(2, "open"), (3, "resolved")]),
        ({"op": "<"}, [4, 3, 2, 9], [(3, "open"), (4, "resolved")]),
        ({"op": "<="}, [4, 3, 4], [(2, "open"), (3, "resolved")]),
        ({"for": 3}, [1, 4, 4, 4, 4, 1], [(2, "pending"), (4, "open"), (6, "resolved")]),
        ({"for": 3}, [1, 4, 4, 1, 4], [(2, "pending"), (4, "closed"), (5, "pending")]),
        (
            {"for": 2},
            [1, 4, 4, 1, 4],
            [(2, "pending"), (3, "open"), (4, "resolved"), (5, "pending")],
        ),
        ({}, [1, NAN, 1], [(2, "open"), (3, "resolved")]),
        ({"op": "<", "value": 0}, [1, NAN, -INF, 1], [(2, "open"), (4, "resolved")]),
        ({"for": 2}, [1, 4, NAN, INF, 1], [(2, "pending"), (3, "open"), (5, "resolved")]),
        ({}, [1, INF, -INF], [(2, "open"), (3, "resolved")]),
        ({}, [1, 2, 3], []),
    ],
)
def test_a_threshold_over_a_series(
    line: dict[str, Any], values: list[float], expected: list[tuple[int, str]]
) -> None:
    waited = [(0, "no-data"), (1, "closed")]
    assert life(series(values, rules=[LINE | line])) == [*waited, *expected]


@pytest.mark.parametrize("metric", sorted(EVALUATED))
def test_a_threshold_over_evaluations_counts_them(metric: str) -> None:
    line = LINE | {"metric": metric, "op": "<", "value": 0.5, "for": 2}
    told: list[AnyRecord] = [facts.run(config={"alerts": {"rules": [line]}}), facts.sample(1)]
    for step, value in [(2, 0.9), (3, 0.4), (6, NAN), (9, 0.7)]:
        told += [facts.result(step, 5, 10, **{metric.removeprefix("eval/"): value})]
        told += [facts.sample(step), facts.sample(step + 1)]
    waited = [(0, "no-data"), (2, "closed")]
    assert life(told) == [*waited, (3, "pending"), (6, "open"), (9, "resolved")]
    (alert,) = [
        v for v in judge(told) if isinstance(v, Verdict) and (v.step, v.rule) == (6, "slow")
    ]
    assert alert.message == f"{metric} is nan, < 0.5 for 2 evaluations"


def test_a_foreign_log_has_its_scores_by_step() -> None:
    line = LINE | {"metric": "eval/em", "op": "<", "value": 0.5}
    told = [facts.sample(step, **{"eval/em": em}) for step, em in enumerate([0.6, 0.4, 0.5], 1)]
    begun = facts.run(config={"alerts": {"rules": [line]}})
    assert life([begun, *told])[2:] == [(2, "open"), (3, "resolved")]


def test_the_metrics_of_evaluations_are_those_with_a_meaning() -> None:
    assert set(EVALUATED) == {metric.name for metric in METRICS}


def test_the_alert_says_what_was_asked_for() -> None:
    line = LINE | {"for": 2, "level": "critical", "action": "Look at the disk."}
    found = [v for v in judge(series([4, 5], rules=[line])) if isinstance(v, Verdict)]
    (alert,) = [v for v in found if v.rule == "slow" and v.state == "open"]
    assert (alert.level, alert.action) == ("critical", "Look at the disk.")
    assert alert.message == "time/step is 5, > 3 for 2 steps"
    assert alert.evidence == {"metric": "time/step", "value": 5.0, "limit": 3.0}
    default = threshold_rule(LINE).look(facts.history(*series([4])))
    assert isinstance(default, list)
    assert (default[0].level, default[0].message) == ("warning", "time/step is 4, > 3")
    assert "time/step" in default[0].action


def test_a_metric_that_nobody_records_is_said_to_be_missing() -> None:
    line = LINE | {"metric": "no/such"}
    (verdict,) = [v for v in judge(series([4], rules=[line])) if getattr(v, "rule", "") == "slow"]
    assert isinstance(verdict, Verdict)
    assert (verdict.state, verdict.message) == ("no-data", "no 'no/such' was recorded")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("text", ["a rule is a mapping with name, metric, op, value, for, level, action, ends"]),
        (None, ["a rule is a mapping"]),
        ({}, ["'name' is missing", "'metric' is missing", "'op' is missing", "'value' is missing"]),
        (LINE | {"every": 3, 5: 1}, ["unknown key 'every'", "unknown key 5"]),
        (LINE | {"name": 3}, ["'name' must be text, found 3"]),
        (LINE | {"name": ""}, ["'name' is empty"]),
        (LINE | {"metric": ["loss"]}, ["'metric' must be text"]),
        (LINE | {"action": None}, ["'action' must be text, found None"]),
        (LINE | {"op": "=>"}, ["'op' must be one of > >= < <=, found '=>'"]),
        (LINE | {"op": [">"]}, ["'op' must be one of"]),
        (LINE | {"op": None}, ["'op' must be one of"]),
        (LINE | {"value": True}, ["'value' must be a finite number, found True"]),
        (LINE | {"value": "3"}, ["'value' must be a finite number, found '3'"]),
        (LINE | {"value": NAN}, ["'value' must be a finite number, found nan"]),
        (LINE | {"value": INF}, ["'value' must be a finite number, found inf"]),
        (LINE | {"value": 10**400}, ["'value' must be a finite number, found 1000"]),
        (LINE | {"value": -(16**9000)}, ["found an integer of thousands of digits"]),
        (LINE | {"for": 0}, ["'for' must be a number of steps from 1 on, found 0"]),
        (LINE | {"for": 2.5}, ["'for' must be a number of steps"]),
        (LINE | {"for": True}, ["'for' must be a number of steps"]),
        (LINE | {"level": "fatal"}, ["'level' must be one of info, warning, error, critical"]),
        (LINE | {"level": ["error"]}, ["'level' must be one of"]),
        ({"op": "~", "value": "x", "for": 0}, ["'name'", "'metric'", "'op'", "'value'", "'for'"]),
        (LINE | {"levle": "error"}, ["unknown key 'levle'. Did you mean 'level'?"]),
        (
            LINE | {"level": "eror", "ends": "rollback"},
            [
                "Did you mean 'error'?",
                "'ends' must be stop or roll-back, or left out, found 'rollback'",
            ],
        ),
        (LINE | {"ends": ["stop"]}, ["'ends' must be stop or roll-back"]),
        (LINE | {"ends": "stop"}, []),
        (LINE | {"ends": None}, []),
        (LINE, []),
        (LINE | {"value": -1e-9, "for": 1, "level": "info", "action": ""}, []),
    ],
)
def test_every_mistake_of_a_line_is_told_at_once(line: object, said: list[str]) -> None:
    found = mistakes_in(line)
    assert len(found) == len(said), found
    for text, wanted in zip(found, said, strict=True):
        assert wanted in text


def test_a_threshold_can_end_the_run() -> None:
    def decided(**more: Any) -> str:
        judged = judge(series([1, 4], rules=[LINE | more]))
        return [each.action for each in judged if isinstance(each, Decision)][-1]

    assert decided() == "continue"
    assert decided(ends="stop") == "stop"
    assert decided(ends="roll-back", level="info") == "stop"  # nothing is saved to go back to


def test_a_journal_of_another_version_is_judged_by_what_fits() -> None:
    odd = {"rules": [LINE, {"name": "broken"}, "text"], "off": ["no-such"], "limits": {"x": {}}}
    names = [rule.name for rule in configured(all_rules(), odd)]
    assert names == [*(rule.name for rule in all_rules()), "slow"]
    strange = {"limits": {"plateau": {"no-such-limit": 3}}, "off": None, "rules": None}
    blind = {"limits": {"loss-not-finite": {"quiet": 0}, "divergence": {"ratio": -5, "far": "x"}}}
    assert configured(all_rules(), blind) == all_rules()
    assert configured(all_rules(), strange) == all_rules()


@pytest.mark.parametrize(
    ("rule", "limit", "value", "said"),
    [
        ("loss-not-finite", "quiet", 0, "must be at least 1, found 0"),
        ("loss-not-finite", "quiet", -1, "must be at least 1, found -1"),
        ("loss-not-finite", "quiet", 2.5, "must be a whole number, found 2.5"),
        ("loss-not-finite", "quiet", 1, ""),
        ("divergence", "ratio", -5, "must be above 0, found -5"),
        ("divergence", "ratio", 0, "must be above 0, found 0"),
        ("divergence", "ratio", 10**400, "must be a finite number, found 1000"),
        ("divergence", "ratio", NAN, "must be a finite number, found nan"),
        ("divergence", "ratio", 1e-9, ""),
        ("divergence", "rise", 0, ""),
        ("divergence", "rise", -0.1, "must be at least 0, found -0.1"),
        ("divergence", "wait", 0, ""),
        ("data-leakage", "some", 0, ""),
    ],
)
def test_a_limit_must_not_make_a_rule_blind(rule: str, limit: str, value: float, said: str) -> None:
    known = {each.name: each for each in all_rules()}
    found = mistake_in_limit(known[rule], limit, value)
    assert found.startswith(said)
    assert bool(found) is bool(said)


def test_every_default_is_a_valid_limit_and_so_is_each_that_may_be_zero() -> None:
    names = set()
    for rule in all_rules():
        for limit in dataclasses.fields(rule.limits):
            names.add(limit.name)
            assert not mistake_in_limit(rule, limit.name, getattr(rule.limits, limit.name))
    assert names >= FROM_ZERO


def test_rules_are_left_out_and_limits_changed() -> None:
    known = {rule.name: rule for rule in all_rules()}
    field = next(iter(type(known["plateau"].limits).__dataclass_fields__))
    found = configured(all_rules(), {"off": ["regression"], "limits": {"plateau": {field: 0.125}}})
    now = {rule.name: rule for rule in found}
    assert set(known) - set(now) == {"regression"}
    assert getattr(now["plateau"].limits, field) == 0.125
    assert known["plateau"].limits != now["plateau"].limits, "and only in this run"


def test_the_next_run_in_the_same_journal_has_its_own_alerts() -> None:
    judge_ = Judge()
    judge_.feed(facts.run(config={"alerts": {"rules": [LINE], "off": ["plateau"]}}))
    assert "slow" in {rule.name for rule in judge_.rules}
    judge_.feed(facts.run())
    names = {rule.name for rule in judge_.rules}
    assert "slow" not in names
    assert "plateau" in names
