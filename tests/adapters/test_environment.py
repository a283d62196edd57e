"""The environment fills in what a monitor is not given."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import heldout
from heldout.adapters.environment import KEYWORDS
from heldout.config import BY_NAME
from heldout.errors import ConfigError
from heldout.evals.options import EvalOptions


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in [key for key in os.environ if key.startswith("HELDOUT_")]:
        monkeypatch.delenv(key)


def test_a_keyword_comes_first_then_the_environment_then_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert heldout.Monitor().every == BY_NAME["eval.every"].default
    for key, value in {
        "EVAL_EVERY": "50",
        "EVAL_EXTRACT": "last-number",
        "SIGNALS_WINDOW": "20",
        "DECISION_MAY_STOP": "true",
        "OUTPUT_RUNS": str(tmp_path / "elsewhere"),
        "ALERTS_OFF": "[plateau]",
        "TRAIN_STEPS": "none of a monitor's",
    }.items():
        monkeypatch.setenv(f"HELDOUT_{key}", value)
    found = heldout.Monitor()
    assert (found.every, found.may_stop, found.runs) == (50, True, tmp_path / "elsewhere")
    assert (found.options.extract, found.signals.window) == ("last-number", 20)
    assert found.config["alerts"] == {"off": ["plateau"]}
    given = heldout.Monitor(
        every=7, may_stop=False, options=EvalOptions(), alerts={}, runs=tmp_path / "here"
    )
    assert (given.every, given.may_stop, given.runs) == (7, False, tmp_path / "here")
    assert (given.options.extract, given.config["alerts"]) == (None, {})
    trained = heldout.Monitor(config={"alerts": {"off": []}})  # as `heldout train` makes it
    assert trained.config["alerts"] == {"off": []}


def test_the_sets_path_too_unless_none_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "set.jsonl").write_text('{"prompt": "2 + 2", "response": "4"}\n')
    monkeypatch.setenv("HELDOUT_EVAL_DATA", str(tmp_path / "set.jsonl"))
    assert heldout.Monitor().eval_set == str(tmp_path / "set.jsonl")
    assert heldout.Monitor(None).eval_set is None


def test_every_mistake_in_a_variable_is_told_when_the_monitor_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HELDOUT_EVAL_EVERY", "0")
    monkeypatch.setenv("HELDOUT_DECISION_MAY_STOP", "perhaps")
    monkeypatch.setenv("HELDOUT_EVAL_EVRY", "5")
    with pytest.raises(ConfigError) as told:
        heldout.Monitor()
    text = str(told.value)
    assert "$HELDOUT_EVAL_EVERY: eval.every must be at least 1, found 0" in text
    assert "$HELDOUT_DECISION_MAY_STOP: decision.may_stop must be bool" in text
    assert "$HELDOUT_EVAL_EVRY: unknown variable. Did you mean HELDOUT_EVAL_EVERY" in text


def test_every_keyword_stands_for_a_setting() -> None:
    assert set(KEYWORDS.values()) <= set(BY_NAME)
