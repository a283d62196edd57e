"""A user's Python file of rules: loaded, refused with every mistake, judged like heldout's own."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

import facts
import pytest

from heldout.cli import app
from heldout.errors import ConfigError
from heldout.records import Verdict
from heldout.rules import Finding, NoLimits, Rule, load_rules, mistakes_in_file_of, user_rules
from heldout.verdicts.judge import judge

GOOD = """
from dataclasses import dataclass
from heldout.rules import Finding, History, NotChecked, Rule, Sample

@dataclass(frozen=True)
class Limits:
    most: float = 2.0

def check(history: History, limits: Limits):
    series = history.columns.get("loss/step")
    if not len(series):
        return NotChecked("no loss")
    if not series.last <= limits.most:
        return [Finding(level="error", message="high", action="Look.", evidence={"x": series.last})]
    return []

RULE = Rule(name="loss-high", check=check, limits=Limits(), on=(Sample,))
"""


def file(tmp_path: Path, text: str, name: str = "mine.py") -> Path:
    path = tmp_path / name
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def mistakes(path: Path, **alerts: Any) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load_rules(path, alerts)
    return str(raised.value).splitlines()


def test_a_file_with_one_rule_judges_as_heldouts_own_do(tmp_path: Path) -> None:
    rules = load_rules(file(tmp_path, GOOD))
    records = [facts.run(), *facts.losses([1.0, 3.0, float("nan"), 1.0])]
    found = [v for v in judge(records, rules) if isinstance(v, Verdict) and v.rule == "loss-high"]
    assert [(v.step, v.state) for v in found] == [
        (0, "no-data"),
        (1, "closed"),
        (2, "open"),
        (4, "resolved"),
    ]
    assert list(tmp_path.iterdir()) == [tmp_path / "mine.py"], "nothing is cached beside it"


def test_a_file_may_define_several_rules(tmp_path: Path) -> None:
    several = (
        GOOD + "\nRULES = [Rule(name=f'high-{i}', check=check, limits=Limits(i)) for i in (3, 4)]"
    )
    rules = load_rules(file(tmp_path, several))
    assert [rule.name for rule in rules] == ["loss-high", "high-3", "high-4"]


def test_a_rule_that_throws_is_seen_and_stops_no_other(tmp_path: Path) -> None:
    text = GOOD.replace('return NotChecked("no loss")', "return []") + (
        "\ndef broken(history, limits):\n    return history.no_such_thing\n"
        "RULES = [Rule(name='broken', check=broken, limits=Limits())]\n"
    )
    rules = load_rules(file(tmp_path, text))
    found = [v for v in judge([facts.run(), *facts.losses([3.0])], rules) if isinstance(v, Verdict)]
    states = {v.rule: v.state for v in found if v.rule in ("broken", "loss-high")}
    assert states == {"broken": "error", "loss-high": "open"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("RULE = (", "mine.py:1: not Python: '(' was never closed"),
        ("x = 1\nRULE = = 2", "mine.py:2: not Python: invalid syntax"),
        ("x = 1\n\ny = x / 0\n", "mine.py:3: ZeroDivisionError: division by zero"),
        ("import no_such_module_here", "mine.py:1: ModuleNotFoundError: No module named"),
        ("def f():\n    raise OSError('x')\nf()\n", "mine.py:2: OSError: x"),
        ("raise SystemExit(3)", "mine.py:1: SystemExit: 3"),
        ("import sys\nsys.exit()\n", "must not end the process"),
        ("import sys\ndef f():\n    sys.exit(0)\nf()", "mine.py:3: SystemExit: 0"),
        ("", "mine.py: define RULE = Rule(...), or RULES as a list of them."),
        ("rule = 1\n", "It defines rule."),
        ("RULES = []", "mine.py: RULES is empty"),
        ("RULE = 'text'", "mine.py: rule 1 must be a heldout.rules.Rule, found 'text'"),
        ("x = '\0'", "mine.py: not Python: source code string cannot contain null bytes"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_line(
    tmp_path: Path, text: str, said: str
) -> None:
    (mistake,) = mistakes(file(tmp_path, text))
    assert said in mistake


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    assert "none.py: cannot be read" in mistakes(tmp_path / "none.py")[0]
    assert "cannot be read" in mistakes(tmp_path)[0]
    (tmp_path / "bad.py").write_bytes(b"\xff\xfe")
    assert "bad.py: not Python" in mistakes(tmp_path / "bad.py")[0]


def test_every_mistake_of_every_rule_is_told_at_once(tmp_path: Path) -> None:
    text = """
    from heldout.rules import Ends, NoLimits, Rule
    def check(history, limits):
        return []
    RULES = [
        Rule(name="plateau", check=check, limits=NoLimits()),
        Rule(name="trainer-silent", check=check, limits=NoLimits()),
        Rule(name="slow", check=check, limits=NoLimits()),
        Rule(name="twice", check=check, limits=NoLimits()),
        Rule(name="twice", check=check, limits=NoLimits()),
        Rule(name="Not A Name", check=lambda history: [], limits={}, on=[], silenced_by="plateau"),
        Rule(name=3, check="check", limits=NoLimits, on=(int,), silenced_by=("nobody",)),
        7,
        Rule(name="good", check=check, limits=NoLimits(), silenced_by=("plateau", "twice")),
        Rule(name="itself", check=check, limits=NoLimits(), silenced_by=("itself",)),
        Rule(name="ending", check=check, limits=NoLimits(), ends="stop"),
        Rule(name="rolling", check=check, limits=NoLimits(), ends=Ends("rollback", "eror")),
    ]
    """
    found = mistakes(file(tmp_path, text), rules=[{"name": "slow"}, "no mapping", {"name": [1]}])
    expected = [
        "rule 1 ('plateau'): the name is taken",
        "rule 2 ('trainer-silent'): the name is taken",
        "rule 3 ('slow'): the name is taken",
        "rule 5 ('twice'): the name is taken",
        "rule 6 ('Not A Name'): its name must be small letters",
        "rule 6 ('Not A Name'): check must take (history, limits)",
        "rule 6 ('Not A Name'): limits must be an object of a dataclass",
        "rule 6 ('Not A Name'): on must be a tuple",
        "rule 6 ('Not A Name'): silenced_by must be a tuple",
        "rule 7 (3): its name must be small letters",
        "rule 7 (3): check must be a function",
        "rule 7 (3): limits must be an object of a dataclass",
        "rule 7 (3): on must be a tuple",
        "rule 7 (3): silenced_by names 'nobody'",
        "rule 8 must be a heldout.rules.Rule, found 7",
        "rule 10 ('itself'): silenced_by names 'itself'",
        "rule 11 ('ending'): ends must be an Ends such as Ends(\"stop\", \"error\"), found 'stop'",
        "found 'rollback'. Did you mean 'roll-back'?",
        "found 'eror'. Did you mean 'error'?",
    ]
    assert len(found) == len(expected), found
    for line, said in zip(found, expected, strict=True):
        assert "mine.py: " in line
        assert said in line


def test_rules_given_as_objects_are_checked_the_same_way() -> None:
    def check(history: Any, limits: Any) -> list[Finding]:
        return []

    rule = Rule(name="mine", check=check, limits=NoLimits())
    assert user_rules([rule]) == [rule]
    with pytest.raises(ConfigError, match="rules: rule 2 \\('mine'\\): the name is taken"):
        user_rules([rule, rule])
    assert user_rules([Rule(name="builtin", check=print, limits=NoLimits())])


def test_two_files_of_one_name_do_not_meet(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    first = load_rules(file(tmp_path, GOOD))
    second = load_rules(file(tmp_path / "a", GOOD.replace("2.0", "5.0")))
    assert [rule.limits.most for rule in (*first, *second)] == [2.0, 5.0]
    assert "mine" not in sys.modules


CONFIG = """
model: {name: tiny}
data: {train: t.jsonl}
eval: {data: e.jsonl, every: WRONG}
alerts: {file: mine.py, limits: {no-such-rule: {x: 1}}, rules: [{name: taken}]}
"""


@pytest.mark.parametrize("way", ["config", "environment", "override"])
def test_mistakes_of_a_config_and_of_its_rules_are_told_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    text = (
        "from heldout.rules import NoLimits, Rule\n"
        "RULE = Rule(name='taken', check=lambda history, limits: [], limits=NoLimits())\n"
    )
    file(tmp_path, text)
    named = "mine.py" if way == "config" else "none.py"
    (tmp_path / "c.yaml").write_text(CONFIG.replace("mine.py", named))
    if way == "environment":
        monkeypatch.setenv("HELDOUT_ALERTS_FILE", "mine.py")
    more = ["--set", "alerts.file=mine.py"] if way == "override" else []
    for command in ("train", "check"):
        with pytest.raises(ConfigError) as raised:
            app([command, str(tmp_path / "c.yaml"), *more], standalone_mode=False)
        said = str(raised.value)
        assert "eval.every must be int" in said
        assert "no rule is called 'no-such-rule'" in said
        assert "'metric' is missing" in said
        assert said.count("mine.py: rule 1 ('taken'): the name is taken by another rule") == 1


@pytest.mark.parametrize("text", ["alerts: 3", "alerts: {file: [1]}", "- 1", "a: [", "alerts:"])
def test_a_config_that_names_no_rules_has_no_mistakes_in_them(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    assert mistakes_in_file_of(tmp_path / "c.yaml", ["eval.every=2", "nothing"]) == []
    assert mistakes_in_file_of(tmp_path / "none.yaml") == []


def test_a_check_of_a_run_looks_at_its_rules(tmp_path: Path) -> None:
    file(tmp_path, "import sys\nsys.exit()\n")
    text = CONFIG.replace("WRONG", "2").replace("limits: {no-such-rule: {x: 1}}, ", "")
    (tmp_path / "c.yaml").write_text(text.replace(", rules: [{name: taken}]", ""))
    with pytest.raises(ConfigError, match=r"mine\.py:2: SystemExit"):
        app(["check", str(tmp_path / "c.yaml")], standalone_mode=False)
