"""A run that was cut short says so, names what is left, and how to go on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import tiny
import typer
import yaml
from facts import checkpoint, evaluation, history, note, run, sample, score

from heldout import cli
from heldout.derive.history import History
from heldout.derive.interruption import standing
from heldout.records import HEARTBEAT, AnyRecord, Verdict
from heldout.store.journal import read
from heldout.verdicts.judge import Judge
from heldout.views.report.data import exit_code
from heldout.views.report.text import verdict_lines
from heldout.views.snapshot import snapshot

CTRL_C = """
from pathlib import Path
from heldout.verdicts.rule import NoLimits, Rule

def check(history, limits):
    flag = Path(__file__).with_name("pressed")
    if history.step == 3 and not flag.exists():
        flag.touch()
        raise KeyboardInterrupt
    return []

RULES = [Rule(name="ctrl-c", check=check, limits=NoLimits())]
"""
"""Presses Ctrl-C after step 3, once."""


def configured(folder: Path, tokenizer: Any) -> Path:
    tiny.model().save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    (folder / "rules.py").write_text(CTRL_C)
    sections = {
        "model": {"name": str(folder / "model")},
        "data": {"train": str(tiny.write_jsonl(folder / "train.jsonl", tiny.rows(20)))},
        "eval": {
            "data": str(tiny.write_jsonl(folder / "eval.jsonl", tiny.rows(40)[20:])),
            "every": 2,
        },
        "lora": {"r": 4},
        "train": {"steps": 6, "batch_size": 2},
        "alerts": {"file": "rules.py"},
        "output": {"runs": str(folder / "runs"), "run": "r"},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(sections))
    return path


@pytest.mark.train
def test_heldout_train_says_at_ctrl_c_how_to_go_on_and_that_command_does(
    tmp_path: Path, tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = configured(tmp_path, tokenizer)
    command = f"heldout train {path} --set output.run=r"
    with pytest.raises(typer.Exit) as left:
        cli.train(path)
    assert left.value.exit_code == 130
    said = capsys.readouterr().out
    assert "r: interrupted at step 3 of 6" in said
    assert "Resume the training. Best so far: checkpoint-" in said
    assert "Interrupted at step 3 of 6 (Ctrl-C); checkpoint-2 is the last scored" in said
    assert f"go on with {command}" in said
    assert "Done." not in said
    cli.train(path, ["output.run=r"])
    found = History.of(read(tmp_path / "runs" / "r" / "journal.jsonl")[0])
    assert (found.state, found.step, found.run.step if found.run else 0) == ("finished", 6, 2)


def test_an_exception_in_a_script_of_ones_own_is_told_with_the_call_that_goes_on(
    tmp_path: Path,
) -> None:
    script = textwrap.dedent("""
        import sys
        import tiny
        from transformers import Trainer, TrainerCallback, TrainingArguments
        from watched import collate, encoded
        import heldout

        class Boom(TrainerCallback):
            def on_step_begin(self, args, state, control, **kwargs):
                if state.global_step == 3:
                    raise RuntimeError("out of memory\\nand more")

        tokenizer = tiny.tokenizer()
        arguments = TrainingArguments(
            output_dir="out", max_steps=6, save_steps=2, report_to="none", use_cpu=True
        )
        monitor = heldout.Monitor(run="r")
        Trainer(
            model=tiny.lora_model(), args=arguments, train_dataset=encoded(tokenizer),
            data_collator=collate, processing_class=tokenizer, callbacks=[monitor, Boom()],
        ).train()
    """)
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, "PYTHONPATH": paths}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 1
    found = History.of(read(tmp_path / "runs" / "r" / "journal.jsonl")[0])
    assert found.decision is not None
    assert found.decision.action == "resume"
    assert found.decision.reason == (
        "interrupted at step 3 of 6 (RuntimeError: out of memory); checkpoint-2 is the last saved; "
        'go on with trainer.train(resume_from_checkpoint="out/checkpoint-2")'
    )
    assert exit_code(found) == 2


BEGUN: list[AnyRecord] = [
    run(total_steps=60, resume="heldout train c.yaml"),
    *evaluation(0, score(10)),
    sample(1),
    *evaluation(10, score(18)),
    checkpoint(10),
    sample(17),
]


def judged(*facts: AnyRecord) -> History:
    judge = Judge()
    for fact in facts:
        judge.feed(fact)
    return judge.history


def silent(state: str) -> Verdict:
    level, said = ("error", "it is gone") if state == "died" else ("warning", "no new record")
    evidence = {"state": state, "reason": "process 7 on gpu1 is gone"}
    return Verdict(
        step=17,
        time=2_000.0,
        rule=HEARTBEAT,
        state="open",
        level=level,  # type: ignore[arg-type]
        message=said,
        action="See what it waits for.",
        evidence=evidence,
    )


def test_what_was_never_evaluated_is_not_called_worthless() -> None:
    flat = [fact for i in range(4) for fact in evaluation(10 * i, score(180, 200))]
    found = judged(run(), *flat, checkpoint(10), sample(37), note(37, "finished"))
    assert found.decision is not None
    assert "7 steps since step 30 not evaluated" in found.decision.reason
    assert found.decision.evidence["steps_unknown"] == 7
    assert found.decision.evidence["steps_wasted"] == 30 - found.decision.evidence["best_step"]


@pytest.mark.parametrize("ending", ["KeyboardInterrupt: ", "OSError: disk full", "killed"])
def test_a_run_cut_short_is_never_done_and_never_healthy(ending: str) -> None:
    end = silent("died") if ending == "killed" else note(17, "failed", ending)
    found = judged(*BEGUN, end)
    if ending == "killed":  # nobody was there to judge it
        found.add(end)
    text = "\n".join(verdict_lines(found))
    assert "Done" not in text
    assert "brought nothing" not in text
    assert "interrupted at step 17 of 60" in text.lower()
    assert "checkpoint-10 is the last scored" in text
    assert "go on with heldout train c.yaml" in text
    assert exit_code(found) == 2


def test_a_stalled_trainer_is_not_told_to_continue() -> None:
    found = judged(*BEGUN)
    assert found.decision is not None
    assert found.decision.action == "continue"
    found.add(silent("stalled"))
    now = standing(found)
    assert now is not None
    assert (now.action, now.checkpoint) == ("look", "checkpoint-10")
    assert "no new record: See what it waits for." in now.reason
    assert "Go on training" not in "\n".join(verdict_lines(found))
    assert exit_code(found) == 1


def flat_since_5() -> list[AnyRecord]:
    looks = [fact for i in range(1, 10) for fact in evaluation(5 * i, score(1_800, 2_000))]
    start = evaluation(0, score(600, 2_000), ce=1.5)
    return [run(learning_rate="constant"), *start, *looks, checkpoint(45)]


def test_a_run_that_was_flat_when_it_was_cut_short_need_not_go_on() -> None:
    found = judged(*flat_since_5(), note(45, "failed", "KeyboardInterrupt"))
    assert found.decision is not None
    assert found.decision.action == "stop"
    assert found.decision.reason.startswith("interrupted at step 45 of 100 (Ctrl-C)")
    assert "plateau" in found.decision.reason
    assert "go on with" not in found.decision.reason


def test_a_stop_that_was_wanted_is_no_interruption() -> None:
    stop = note(45, "stop", "the training is stopped, as decided")
    found = judged(*flat_since_5(), stop, note(45, "finished"))
    assert "plateau" in {verdict.rule for verdict in found.verdicts if verdict.state == "open"}
    assert "Done." in "\n".join(verdict_lines(found))
    assert exit_code(found) == 0


def test_headline_and_alert_of_a_nan_run_name_the_same_checkpoint() -> None:
    looks = [[*evaluation(10 * i, score(50 + i)), checkpoint(10 * i)] for i in range(1, 4)]
    facts = [fact for look in looks for fact in look]
    found = judged(run(), sample(1), *facts, sample(31, float("nan")))
    assert found.decision is not None
    best = found.decision.checkpoint
    assert best in found.decision.reason
    text = "\n".join(verdict_lines(found))
    used = re.findall(r"(?:Use|Resume from) (checkpoint-\d+)", text)
    assert set(used) == {best}
    assert len(used) == 2
    (alert,) = [x for x in snapshot(found)["alerts"] if x["rule"] == "loss-not-finite"]
    assert f"Resume from {best} " in alert["action"]
    assert "the recommended checkpoint" not in text


def test_history_of_a_resumed_run_is_not_cut_short_any_more() -> None:
    again = run(step=10, time=3_000.0, total_steps=60)
    found = history(*BEGUN, note(17, "failed", "KeyboardInterrupt"), again)
    assert found.state == "running"
    assert exit_code(found) == 0
