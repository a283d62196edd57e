"""Real training runs that notify, with rules of a user's own."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from receiver import Receiver, receiving
from transformers import Trainer, TrainingArguments
from watched import collate, encoded

import heldout
from heldout.config import load
from heldout.errors import ConfigError
from heldout.records import Run, Sample, Verdict
from heldout.rules import Finding, NoLimits, Rule
from heldout.store.journal import read
from heldout.train.run import train
from heldout.verdicts.judge import judge

STEPS = 4
OWN = """
from heldout.rules import Finding, NoLimits, Rule, Sample

def check(history, limits):
    return [Finding(level="error", message=f"step {history.step}", action="None.")]

RULE = Rule(name="always-bad", check=check, limits=NoLimits(), on=(Sample,))
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def trainer(tmp_path: Path, tokenizer: Any, *callbacks: Any) -> Trainer:
    return Trainer(
        model=tiny.lora_model(),
        args=TrainingArguments(
            output_dir=str(tmp_path / "out"),
            max_steps=STEPS,
            per_device_train_batch_size=4,
            logging_steps=1,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            seed=3,
        ),
        train_dataset=encoded(tokenizer),
        data_collator=collate,
        processing_class=tokenizer,
        callbacks=list(callbacks),
    )


def monitor(tmp_path: Path, **more: Any) -> Any:
    return heldout.Monitor(None, runs=tmp_path / "runs", run="r", **more)


def journal(tmp_path: Path) -> list[Any]:
    return read(tmp_path / "runs" / "r" / "journal.jsonl")[0]


def config(tmp_path: Path, tokenizer: Any, **sections: Any) -> dict[str, Any]:
    """Settings as a config file gives them."""
    tiny.model().save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    tree = {
        "model": {"name": str(tmp_path / "model")},
        "data": {"train": str(tiny.write_jsonl(tmp_path / "train.jsonl", tiny.rows(20)))},
        "eval": {
            "data": str(tiny.write_jsonl(tmp_path / "eval.jsonl", tiny.rows(40)[20:])),
            "every": 2,
        },
        "lora": {"r": 4},
        "train": {"steps": STEPS, "batch_size": 2, "threads": 1},
        "output": {"runs": str(tmp_path / "runs"), "run": "r"},
        **sections,
    }
    (tmp_path / "config.yaml").write_text(json.dumps(tree))
    return load(tmp_path / "config.yaml")


def test_a_config_notifies_by_its_own_rules_and_records_no_address(
    tmp_path: Path, tokenizer: Any, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "own.py").write_text(OWN)
    line = {"name": "any-loss", "metric": "loss/step", "op": ">", "value": 0, "level": "critical"}
    settings = config(
        tmp_path,
        tokenizer,
        alerts={"file": str(tmp_path / "own.py"), "rules": [line]},
        notify={"urls": [receiver.address("hunter2")], "link": "http://dash/?token=hunter3"},
    )
    train(settings)
    opened = [v for v in journal(tmp_path) if isinstance(v, Verdict) and v.state == "open"]
    assert {"always-bad", "any-loss"} <= {verdict.rule for verdict in opened}
    assert next(v for v in opened if v.rule == "any-loss").level == "critical"
    receiver.wait(1)
    while not any("finished at step" in m["title"] + m["message"] for m in receiver.messages):
        receiver.wait(1)
    told = "\n".join(m["title"] + m["message"] for m in receiver.messages)
    assert told.count("always-bad opened") == told.count("any-loss opened") == 1
    assert "http://dash/run/r?token=hunter3" in told
    written = "".join(
        path.read_text(errors="replace") for path in (tmp_path / "runs").rglob("*.json*")
    )
    assert "hunter" not in written
    assert "hunter" not in caplog.text
    run = next(record for record in journal(tmp_path) if isinstance(record, Run))
    assert run.config["notify"] == {"level": "warning", "dry_run": False}
    assert run.config["alerts"]["rules"] == [line]


def test_a_server_that_never_answers_delays_no_step(
    tmp_path: Path, tokenizer: Any, receiver: Receiver
) -> None:
    def weights(*callbacks: Any) -> list[torch.Tensor]:
        run = trainer(tmp_path, tokenizer, *callbacks)
        run.train()
        return [p.detach().clone() for p in run.model.parameters()]

    receiver.release.clear()
    rules = [
        Rule(
            name=f"bad-{i}",
            check=lambda history, limits: [Finding(level="error", message="x", action="y")],
            limits=NoLimits(),
            on=(Sample,),
        )
        for i in range(3)
    ]
    urls = [receiver.address(), "json://127.0.0.1:1"]
    with_ = weights(monitor(tmp_path, rules=rules, notify=urls))
    receiver.wait(1)
    assert [r.step for r in journal(tmp_path) if isinstance(r, Sample)][-1] == STEPS
    assert len(receiver.messages) == 1, "the answer to the first message was never given"
    receiver.release.set()
    without = weights()
    assert all(torch.equal(a, b) for a, b in zip(with_, without, strict=True))


def test_alerts_given_to_the_monitor_are_recorded_and_judge_a_replay_too(
    tmp_path: Path, tokenizer: Any
) -> None:
    line = {"name": "any-loss", "metric": "loss/step", "op": ">", "value": 0}
    alerts = {"off": ["plateau"], "rules": [line]}
    (tmp_path / "own.py").write_text(OWN)
    trainer(
        tmp_path, tokenizer, monitor(tmp_path, alerts=alerts, rules=tmp_path / "own.py")
    ).train()
    records = journal(tmp_path)
    run = next(record for record in records if isinstance(record, Run))
    assert run.config["alerts"] == alerts
    live = [record for record in records if isinstance(record, Verdict)]
    assert {"any-loss", "always-bad"} <= {verdict.rule for verdict in live}
    assert "plateau" not in {verdict.rule for verdict in live}
    own = heldout.Monitor(rules=tmp_path / "own.py").rules
    again = [v for v in judge(records, own) if isinstance(v, Verdict)]
    assert again == live


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"alerts": {"of": [], "limits": 3}},
            ["unknown key 'alerts.of'", "alerts.limits must be dict"],
        ),
        ({"alerts": {"rules": [{}], "off": ["x"]}}, ["'name' is missing", "no rule is called 'x'"]),
        ({"alerts": {"file": "own.py"}}, ["by rules="]),
        ({"rules": "none.py"}, ["none.py: cannot be read"]),
        ({"rules": [3]}, ["rules: rule 1 must be a heldout.rules.Rule"]),
        ({"notify": "json://secret"}, ["must be a list of addresses"]),
        ({"notify": ["nosuch://secret"]}, ["notify.urls, address 1"]),
    ],
)
def test_what_cannot_be_used_ends_before_training(more: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(ConfigError) as raised:
        heldout.Monitor(None, **more)
    for text in said:
        assert text in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"alerts": {"file": "own.py"}}, "own.py:1: not Python"),
        ({"notify": {"urls": ["nosuch://secret"]}}, "notify.urls, address 1"),
        ({"notify": {"urls": [3]}}, "notify.urls, address 1: must be text"),
    ],
)
def test_a_config_that_cannot_be_used_ends_before_the_model_is_loaded(
    tmp_path: Path,
    tokenizer: Any,
    monkeypatch: pytest.MonkeyPatch,
    sections: dict[str, Any],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text("RULE = (")
    settings = config(tmp_path, tokenizer, **sections)
    settings["model.name"] = "/nowhere"
    with pytest.raises(ConfigError) as raised:
        train(settings)
    assert said in str(raised.value)
    assert "secret" not in str(raised.value)
