"""The pages about rules and notifications, run as a reader would."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import facts
import pytest
import yaml

from heldout.config import checked_alerts, load
from heldout.rules import load_rules
from heldout.store.journal import Journal
from heldout.views.notify.options import NotifyOptions
from heldout.views.notify.outbox import Pace

DOCS = Path(__file__).parents[1] / "docs"
REQUIRED = {"model": {"name": "x"}, "data": {"train": "t"}, "eval": {"data": "f"}}


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages' examples name: a run whose entropy halves, and a fixed set."""
    journal = Journal(tmp_path / "runs" / "my-run" / "journal.jsonl")
    first = facts.evaluation(0, facts.score(50), entropy=2.0)
    journal.append([facts.run(), *first, *facts.evaluation(9, facts.score(50), entropy=0.9)])
    journal.close()
    (tmp_path / "fixed_eval.jsonl").write_text('{"prompt": "a", "response": "b"}\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", ["custom-rules.md", "notifications.md"])
def test_each_config_is_valid(page: str, folder: Path) -> None:
    (text,) = blocks(page, "yaml")
    (folder / "config.yaml").write_text(yaml.safe_dump(REQUIRED) + text, encoding="utf-8")
    settings = load(folder / "config.yaml")
    if page == "custom-rules.md":
        alerts = {name: settings[f"alerts.{name}"] for name in ("rules", "off", "limits")}
        assert checked_alerts(alerts) == alerts
        names = [line["name"] for line in alerts["rules"]]
        assert names == ["slow-steps", "loss-too-high", "answers-too-bad"]
    else:
        assert len(NotifyOptions.of(settings).urls) == 2


def test_the_worked_example_finds_what_it_says(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rule, try_it, use_it = blocks("custom-rules.md", "python")
    (folder / "own_rules.py").write_text(rule, encoding="utf-8")
    exec(compile(try_it, "custom-rules.md", "exec"), {})
    shown = capsys.readouterr().out
    assert "token entropy fell from 2.00 to 0.90 nats" in shown
    assert "state='open'" in shown
    scope: dict[str, Any] = {}
    exec(compile(use_it, "custom-rules.md", "exec"), scope)
    assert [each.name for each in scope["monitor"].rules] == ["entropy-halved"]
    assert load_rules(folder / "own_rules.py")[0].limits.drop == 0.5


def test_the_notifying_monitor_is_valid(folder: Path) -> None:
    (code,) = blocks("notifications.md", "python")
    exec(compile(code, "notifications.md", "exec"), {})


def test_the_page_tells_the_limits_that_hold() -> None:
    text = " ".join((DOCS / "notifications.md").read_text(encoding="utf-8").split())
    pace = Pace()
    assert (pace.gather, pace.pause) == (1.0, 5.0)
    assert "within a second are one message" in text
    assert "five seconds between messages" in text
    assert 500 < sum(pace.retries) < 700
    assert "some ten minutes" in text
