"""Config: one table of settings, three ways to fill it, and mistakes that name themselves."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from heldout.config import BY_NAME, REQUIRED, SETTINGS, checked_alerts, default, load, nested
from heldout.errors import ConfigError
from heldout.verdicts.judge import all_rules

VALID = """
model:
  name: tiny
data:
  train: train.jsonl
eval:
  data: fixed.jsonl
"""

Load = Callable[..., dict[str, Any]]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """`config(text, *overrides)` loads `text` as run.yaml, with no setting in the environment."""
    for key in [key for key in os.environ if key.startswith("HELDOUT_")]:
        monkeypatch.delenv(key)

    def load_text(text: str = VALID, *overrides: str) -> dict[str, Any]:
        path = tmp_path / "run.yaml"
        path.write_text(text, encoding="utf-8")
        return load(path, overrides)

    return load_text


def mistakes(load: Load, *args: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(*args)
    return str(raised.value).splitlines()


def with_lines(*lines: str) -> str:
    """The valid config with more sections behind it."""
    return VALID + "\n".join(lines) + "\n"


def test_every_setting_is_there_by_its_dotted_name(config: Load) -> None:
    settings = config()
    assert list(settings) == [setting.name for setting in SETTINGS]
    assert settings["model.name"] == "tiny"
    assert settings["eval.every"] == default("eval.every")


def test_every_default_would_be_accepted(config: Load) -> None:
    given = {s.name: s.default for s in SETTINGS if s.default is not REQUIRED}
    lines = [f"{name}: {value!r}" for name, value in given.items() if value is not None]
    settings = config(with_lines(*lines))
    assert {name: settings[name] for name in given} == given
    assert all(setting.help for setting in SETTINGS)


def test_the_environment_overrides_the_file_and_set_overrides_both(
    config: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = with_lines("train: {steps: 10, batch_size: 3}", "output: {run: mine}")
    monkeypatch.setenv("HELDOUT_TRAIN_STEPS", "20")
    monkeypatch.setenv("HELDOUT_TRAIN_BATCH_SIZE", "4")
    settings = config(text, "train.batch_size=5")
    assert (settings["train.steps"], settings["train.batch_size"]) == (20, 5)
    assert settings["output.run"] == "mine"


def test_the_environment_can_fill_a_required_setting(
    config: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HELDOUT_MODEL_NAME", "from-outside")
    assert config(VALID.replace("name: tiny", "dtype: auto"))["model.name"] == "from-outside"


@pytest.mark.parametrize(("text", "value"), [("2e-4", 2e-4), ("1", 1.0), ("0", 0.0), (".5", 0.5)])
def test_a_float_may_be_written_as_people_write_it(config: Load, text: str, value: float) -> None:
    settings = config(with_lines(f"train: {{learning_rate: {text}}}"))
    assert settings["train.learning_rate"] == value
    assert not isinstance(settings["train.learning_rate"], str)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("eval.at_start", "false", False),
        ("train.keep", "null", None),
        ("lora.target_modules", "[q_proj, v_proj]", ["q_proj", "v_proj"]),
        ("lora.alpha", "16", 16),
        ("lora.alpha", "0.5", 0.5),
        ("eval.patterns", "{sql: select}", {"sql": "select"}),
        ("train.extra", "{packing: true}", {"packing": True}),
        ("eval.turns", "all", "all"),
        ("eval.extract", "last-number", "last-number"),
        ("eval.extract", "'#### (.*)'", "#### (.*)"),
        ("eval.extract", "null", None),
        ("data.response_key", "gold", "gold"),
    ],
)
def test_a_setting_takes_any_of_its_types(
    config: Load, name: str, text: str, expected: object
) -> None:
    assert config(VALID, f"{name}={text}")[name] == expected


def test_an_unknown_key_names_the_file_the_key_and_the_nearest_one(config: Load) -> None:
    (mistake,) = mistakes(config, with_lines("train: {learning_rat: 1}"))
    assert "run.yaml" in mistake
    assert "'train.learning_rat'" in mistake
    assert "train.learning_rate" in mistake.split("Did you mean")[1]


def test_a_required_setting_that_is_missing_is_named_with_its_meaning(config: Load) -> None:
    (mistake,) = mistakes(config, VALID.replace("data: fixed.jsonl", "every: 5"))
    assert "eval.data is missing" in mistake
    found = mistakes(config, "# nothing\n")
    required = [s.name for s in SETTINGS if s.default is REQUIRED]
    assert len(found) == len(required)
    for name, line in zip(required, found, strict=True):
        assert f"{name} is missing: {BY_NAME[name].help}" in line


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("eval.every", "often", "must be int, found 'often' (str)"),
        ("eval.every", "2.5", "must be int, found 2.5 (float)"),
        ("eval.every", "true", "must be int, found True (bool)"),
        ("eval.every", "0", "must be at least 1, found 0"),
        ("eval.margin", "-0.1", "must be at least 0, found -0.1"),
        ("eval.margin", ".nan", "must be at least 0, found nan"),
        ("eval.at_start", "1", "must be bool, found 1 (int)"),
        ("train.learning_rate", "-2e-4", "must be at least 0, found '-2e-4'"),
        ("train.learning_rate", "high", "must be float, found 'high' (str)"),
        ("train.learning_rate", "null", "must be float, found None (NoneType)"),
        ("train.keep", "0", "must be at least 1, found 0"),
        ("train.keep", "many", "must be int or null, found 'many' (str)"),
        ("model.name", "7", "must be str, found 7 (int)"),
        ("eval.patterns", "[a]", "must be dict, found ['a'] (list)"),
        ("eval.turns", "al", "must be 'last' or 'all', found 'al'. Did you mean all?"),
        ("eval.turns", "null", "must be str, found None (NoneType)"),
        ("eval.max_tokens", "0", "must be at least 1, found 0"),
        ("eval.prompt_key", "''", "must name a field, or be null to detect it; found ''"),
        (
            "eval.extract",
            "'(a'",
            "is no regular expression: missing ), unterminated subpattern at "
            "position 0, found '(a'",
        ),
        (
            "eval.extract",
            "(a)(b)",
            "must have one group at most, found 2 in '(a)(b)'. Write (?:...) "
            "for brackets that are not around the answer, as in '#### (.*)'.",
        ),
    ],
)
def test_a_wrong_value_says_what_is_accepted(config: Load, name: str, text: str, said: str) -> None:
    assert mistakes(config, VALID, f"{name}={text}") == [f"--set: {name} {said}"]


def test_all_mistakes_are_reported_at_once_with_where_they_stand(
    config: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HELDOUT_EVAL_EVERY", "0")
    text = VALID.replace("name: tiny", "nmae: tiny") + "train: {steps: few}\n"
    found = mistakes(config, text, "lora.r=x")
    starts: Sequence[str] = ("run.yaml: unknown key 'model.nmae'", "run.yaml: train.steps")
    assert all(any(start in line for line in found) for start in starts)
    assert any(line.startswith("$HELDOUT_EVAL_EVERY: eval.every") for line in found)
    assert any(line.startswith("--set: lora.r") for line in found)
    assert any("model.name is missing" in line for line in found)
    assert len(found) == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model: [", "not YAML"),
        ("- a\n- b\n", "expected sections"),
        ("just text", "expected sections"),
        ("\x00", "not YAML"),
    ],
)
def test_a_file_that_is_no_config_says_so(config: Load, text: str, said: str) -> None:
    (mistake,) = mistakes(config, text)
    assert "run.yaml: " in mistake
    assert said in mistake


def test_a_file_that_is_not_there_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: cannot be read: No such file"):
        load(tmp_path / "absent.yaml")


@pytest.mark.parametrize("override", ["eval.every", "eval.every=["])
def test_an_override_that_cannot_be_read_is_named(config: Load, override: str) -> None:
    assert mistakes(config, VALID, override)[0].startswith(f"--set {override}: ")


def test_a_variable_that_cannot_be_read_is_named(
    config: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HELDOUT_EVAL_PATTERNS", "{sql: [")
    assert mistakes(config)[0].startswith("$HELDOUT_EVAL_PATTERNS: ")


def test_a_section_whose_lines_are_all_commented_out_means_the_defaults(config: Load) -> None:
    assert config(with_lines("lora:", "  # r: 8"))["lora.r"] == default("lora.r")


def test_settings_become_the_tree_they_came_from_without_what_may_be_secret(
    config: Load,
) -> None:
    tree = nested(config(with_lines("notify: {urls: ['slack://secret'], level: error}")))
    assert tree["eval"]["data"] == "fixed.jsonl"
    named = {f"{s}.{key}" for s, body in tree.items() for key in body}
    assert set(BY_NAME) - named == {"notify.urls", "notify.link"}
    assert tree["notify"]["level"] == "error"
    assert "secret" not in str(tree)


@pytest.mark.parametrize(
    "text",
    [
        "notify: {urls: 'slack://secret'}",
        "notify:\n  urls: [slack://secret\n  level: error",
        "notify: {url: ['slack://secret']}",
        "notify: {link: ['http://host/?token=secret']}",
    ],
)
def test_a_mistake_in_an_address_never_shows_it(config: Load, text: str) -> None:
    (mistake,) = mistakes(config, with_lines(text))
    assert "secret" not in mistake
    assert "notify." in mistake or "line 10" in mistake


def test_an_override_that_holds_an_address_never_shows_it(config: Load) -> None:
    (mistake,) = mistakes(config, VALID, "notify.urls=[slack://secret")
    assert mistake.startswith("--set notify.urls: ")
    assert "secret" not in mistake


@pytest.mark.parametrize("number", ["true", "text", ".nan", ".inf", "[1]"])
def test_a_limit_is_a_finite_number(config: Load, number: str) -> None:
    rule = next(rule for rule in all_rules() if dataclasses.fields(rule.limits))
    key = dataclasses.fields(rule.limits)[0].name
    text = f"alerts: {{limits: {{{rule.name}: {{{key}: {number}}}}}}}"
    (mistake,) = mistakes(config, with_lines(text))
    assert f"{rule.name}.{key} must be a finite number" in mistake


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ("{loss-not-finite: {quiet: 0}}", "loss-not-finite.quiet must be at least 1, found 0"),
        ("{divergence: {ratio: -5}}", "divergence.ratio must be above 0, found -5"),
    ],
)
def test_a_limit_that_makes_its_rule_blind_is_refused(config: Load, limits: str, said: str) -> None:
    (mistake,) = mistakes(config, with_lines(f"alerts: {{limits: {limits}}}"))
    assert said in mistake


@pytest.mark.parametrize("name", ["limits", "rules"])
def test_the_example_in_the_help_of_the_alerts_is_accepted(name: str) -> None:
    (example,) = re.findall(r"[\[{].*[\]}]", BY_NAME[f"alerts.{name}"].help)
    alerts = {name: yaml.safe_load(example)}
    assert checked_alerts(alerts) == alerts


def test_every_mistake_of_the_alerts_is_told_at_once(config: Load) -> None:
    text = with_lines(
        "alerts:",
        "  limits: {plateou: {margin: 1}, plateau: {no-such: 1, 3: 1}}",
        "  off: [regresion]",
        "  rules:",
        "    - {name: slow, metric: time/step, op: '>', value: 3}",
        "    - just text",
        "    - {name: slow, metric: time/step, op: '>', value: 3}",
        "    - {name: plateau, metric: time/step, op: '>', value: 3}",
        "    - {name: [a], metric: m, op: ['>'], value: .nan, for: 0, level: bad, more: 1}",
        "    - {}",
        "    - {}",
    )
    found = mistakes(config, text)
    for said in [
        "no rule is called 'plateou'",
        "plateau has no limit 'no-such'",
        "plateau has no limit 3",
        "no rule is called 'regresion'",
        "rule 2: a rule is a mapping",
        "rule 3: the name 'slow' is taken",
        "rule 4: the name 'plateau' is taken",
        "rule 5: 'name' must be text, found ['a']",
        "rule 5: 'op' must be one of",
        "rule 5: 'value' must be a finite number",
        "rule 5: 'for' must be a number of steps",
        "rule 5: 'level' must be one of",
        "rule 5: unknown key 'more'",
        "rule 7: 'name' is missing",
    ]:
        assert sum(said in line for line in found) == 1, (said, found)
    assert not any("None" in line for line in found)
