"""`heldout judge` and `heldout report` on runs that heldout never saw, run as users run them."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from facts import checkpoint, evaluation, losses, note, run, score, strict_json
from typer.testing import CliRunner, Result

from heldout.cli import app
from heldout.errors import HeldoutError
from heldout.store.journal import Journal
from heldout.verdicts.judge import Judge

RULE = '''
from dataclasses import dataclass
from heldout.verdicts.rule import Finding, Rule

@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds."""
    most: float = 5.0

def check(history, limits):
    last = history.columns.get(history.loss)
    if len(last) and not last.last <= limits.most:
        return [Finding(level="LEVEL", message=f"loss {last.last:g} is high", action="Look at it.")]
    return []

RULE = Rule(name="loss-high", check=check, limits=Limits())
'''


def heldout(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


def log(path: Path, losses: list[float], max_steps: int = 100, **more: Any) -> Path:
    rows = [{"step": 10 * (i + 1), "loss": value, **more} for i, value in enumerate(losses)]
    content = {"global_step": 10 * len(rows), "max_steps": max_steps, "log_history": rows}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def rule(tmp_path: Path, level: str = "warning") -> Path:
    path = tmp_path / "rules.py"
    path.write_text(RULE.replace("LEVEL", level))
    return path


def test_a_log_is_judged_in_words_that_fit_it(tmp_path: Path) -> None:
    done = heldout("judge", log(tmp_path / "mine.json", [2.0, 1.0, 1.5]))
    assert done.exit_code == 0
    first, second = done.output.splitlines()[:2]
    assert first == "mine (trainer_state log): the log ends at step 30 of 100"
    assert second == "loss 2 at step 10 -> 1.5 at step 30, lowest 1 at step 20"
    for stranger in ("EM", "LoRA", "Go on training"):
        assert stranger not in done.output
    assert "not checked: plateau" in done.output or "plateau: needs" in done.output
    assert "ACTION: No fixed set and no held-out number" in done.output


def test_a_run_that_ended_after_its_last_row_is_said_to_have_ended_there(tmp_path: Path) -> None:
    content = {"global_step": 34, "max_steps": 34, "log_history": [{"step": 30, "loss": 1.0}]}
    (tmp_path / "mine.json").write_text(json.dumps(content))
    done = heldout("judge", tmp_path / "mine.json")
    assert "finished at step 34 of 34" in done.output
    assert "loss 1 at step 30, the only value" in done.output


def test_what_was_evaluated_is_told_with_the_best_step_and_its_checkpoint(tmp_path: Path) -> None:
    rows: list[dict[str, float]] = []
    for i, loss in enumerate([1.0, 0.5, 0.8], 1):
        rows.append({"step": 10 * i, "loss": loss})
        rows.append({"step": 10 * i, "eval_loss": loss + 0.1, "eval_accuracy": i / 10})
        (tmp_path / "out" / f"checkpoint-{10 * i}").mkdir(parents=True)
    content = {"global_step": 30, "max_steps": 30, "log_history": rows}
    (tmp_path / "out" / "checkpoint-30" / "trainer_state.json").write_text(json.dumps(content))
    done = heldout("report", tmp_path / "out")
    assert "out (trainer_state log): finished at step 30 of 30" in done.output
    assert "eval loss 1.1 at step 10 -> 0.9 at step 30, lowest 0.6 at step 20 (checkpoint-20)" in (
        done.output
    )
    assert "eval/accuracy 0.1 at step 10 -> 0.3 at step 30, highest 0.3 at step 30" in done.output


@pytest.mark.parametrize(("level", "code"), [("info", 0), ("warning", 1), ("error", 2)])
def test_the_exit_code_tells_what_is_open_at_the_end(tmp_path: Path, level: str, code: int) -> None:
    path = log(tmp_path / "mine.json", [2.0, 9.0], max_steps=20)
    done = heldout("judge", path, "--rules", rule(tmp_path, level))
    assert done.exit_code == code
    assert f"{level.upper()} loss 9 is high (step 20)" in done.output
    assert "Look at it." in done.output


@pytest.mark.parametrize("max_steps", [30, 100])
def test_an_alert_that_is_over_is_listed_and_not_counted(tmp_path: Path, max_steps: int) -> None:
    path = log(tmp_path / "mine.json", [2.0, 9.0, 2.0], max_steps=max_steps)
    done = heldout("judge", path, "--rules", rule(tmp_path, "error"))
    assert done.exit_code == 0
    assert "was open: ERROR loss 9 is high (step 20 to 30)" in done.output
    found = strict_json(heldout("judge", path, "--json", "--rules", rule(tmp_path)).output)
    (alert,) = (each for each in found["alerts"] if each["rule"] == "loss-high")
    assert alert["state"] in ("resolved", "closed")


def test_json_keeps_the_contract_for_a_foreign_log(tmp_path: Path) -> None:
    path = log(tmp_path / "mine.json", [2.0, math.nan], text="x")
    for command in ("judge", "report"):
        done = heldout(command, path, "--json")
        found = strict_json(done.output)
        contract = {"schema", "run", "metrics", "alerts", "decision", "advice", "not_checked"}
        assert set(found) == contract
        assert found["metrics"]["loss/logged"] == {"value": "NaN", "step": 20, "unit": "nats"}
        assert found["run"]["source"] == "trainer_state"
        assert "'text' holds no number 2 times" in found["run"]["remarks"][0]


def test_several_runs_make_a_table_with_the_worst_exit_code(tmp_path: Path) -> None:
    good = log(tmp_path / "good.json", [2.0, 1.0])
    bad = log(tmp_path / "bad.json", [2.0, 9.0])
    mine = rule(tmp_path, "error")
    done = heldout("judge", good, bad, "--rules", mine)
    assert done.exit_code == 2
    lines = {line.split()[0]: line for line in done.output.splitlines() if line.strip()}
    assert "healthy" in lines["good.json"]
    assert "errors" in lines["bad.json"]
    assert "loss-high (error)" in lines["bad.json"]
    missing = heldout("judge", good, tmp_path / "none")
    assert missing.exit_code == 3
    assert "unreadable" in missing.output
    assert f"error: {tmp_path / 'none'}: no such file or folder" in missing.output
    done = heldout("judge", good, tmp_path / "none", bad, "--rules", mine, "--json")
    assert done.exit_code == 3
    runs = strict_json(done.output)["runs"]
    assert [each["exit_code"] for each in runs] == [0, 3, 2]
    assert "no such file" in runs[1]["error"]
    assert runs[2]["alerts"][0]["rule"] == "loss-high"


def test_a_log_that_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"log_history": []}')
    for command in ("judge", "report"):
        done = heldout(command, path)
        assert isinstance(done.exception, HeldoutError)  # main() makes it a message and a 3
        assert str(path) in str(done.exception)


def test_a_log_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    name = "\x1b[31m[red]evil[/]\u202e"
    path = log(tmp_path / "a\x1b[2Jb\n-> Stop..json", [2.0, 1.0], **{name: "\x1b]0;x\x07"})
    for arguments in ((path,), (path, path)):
        done = heldout("judge", *arguments)
        assert done.exit_code == 0
        assert not [line for line in done.output.splitlines() if line.startswith("ACTION: Stop")]
        assert "\x1b" not in done.output
        assert "\x07" not in done.output
        assert "\u202e" not in done.output


def test_a_journal_is_judged_again_and_left_as_it_is(tmp_path: Path) -> None:
    journal, watching = Journal(tmp_path / "r" / "journal.jsonl"), Judge()
    facts = [
        run(),
        *evaluation(0, score(10)),
        *losses([1.0, 9.0]),
        *evaluation(10, score(80)),
        checkpoint(10),
        note(10, "finished"),
    ]
    for fact in facts:
        journal.append([fact, *watching.feed(fact)])
    journal.close()
    before = journal.path.read_bytes()
    ours, again = heldout("report", tmp_path / "r"), heldout("judge", tmp_path / "r")
    assert ours.output == again.output
    assert "ACTION: Done. Use checkpoint-10." in again.output
    assert heldout("judge", tmp_path / "r", "--rules", rule(tmp_path)).exit_code == 1
    assert journal.path.read_bytes() == before


def evaluated(folder: Path, saved: Sequence[int], **more: Sequence[float]) -> Path:
    """An output folder: a training loss that falls, evaluations every 100 steps, checkpoints at some."""
    rows: list[dict[str, float]] = []
    for i, values in enumerate(zip(*more.values(), strict=True), start=1):
        rows += [{"step": 100 * i - 50, "loss": 1 / i}, {"step": 100 * i, "loss": 0.9 / i}]
        rows.append({"step": 100 * i, **dict(zip(more, values, strict=True))})
    steps = 100 * len(rows) // 3
    for name in [".", *(f"checkpoint-{step}" for step in saved)]:
        (folder / name).mkdir(parents=True, exist_ok=True)
    content = {"global_step": steps, "max_steps": steps, "log_history": rows}
    (folder / "trainer_state.json").write_text(json.dumps(content))
    return folder


def names(folder: Path, **best: Any) -> None:
    """Write into the state what the Trainer writes of its best checkpoint."""
    path = folder / "trainer_state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | best))


def test_a_word_error_rate_decides_and_the_trainers_best_checkpoint_is_kept(tmp_path: Path) -> None:
    folder = evaluated(
        tmp_path / "asr",
        [100, 200, 300, 400, 500],
        eval_loss=[0.32, 0.36, 0.39, 0.41, 0.42],
        eval_wer=[0.79, 0.751, 0.741, 0.743, 0.744],
    )
    for best in (
        {},
        {"best_metric": 0.741, "best_model_checkpoint": "out/checkpoint-300"},
        {"best_metric": 0.79, "best_model_checkpoint": "C:\\out\\checkpoint-100"},
    ):
        names(folder, **best)
        done = heldout("judge", folder)
        assert done.exit_code == 1  # the loss rises
        assert "ACTION: Done. Use checkpoint-300." in done.output, best
        assert "Keep checkpoint-300. Eval wer decides, not the loss." in done.output
        assert "brought nothing" not in done.output
        assert "none of the 2 evaluations since step 300 was better" in done.output
        assert "checkpoint-100" not in done.output.partition("WARNING")[2], best
    assert "set greater_is_better=False" in done.output


def test_the_decision_and_the_alert_name_one_checkpoint(tmp_path: Path) -> None:
    folder = evaluated(
        tmp_path / "cls",
        [100, 200, 300, 400, 500, 600],
        eval_loss=[0.41, 0.36, 0.39, 0.45, 0.52, 0.58],
        eval_accuracy=[0.80, 0.83, 0.845, 0.861, 0.864, 0.865],
    )
    names(folder, best_metric=0.865, best_global_step=600)
    found = strict_json(heldout("report", folder, "--json").output)
    (alert,) = [each for each in found["alerts"] if each["rule"] == "eval-loss-rise"]
    assert found["decision"]["checkpoint"] == "checkpoint-600"
    assert set(re.findall(r"checkpoint-\d+", alert["action"])) == {"checkpoint-600"}


def test_each_evaluation_set_is_judged_under_its_name(tmp_path: Path) -> None:
    folder = evaluated(
        tmp_path / "sets",
        [],
        eval_easy_loss=[1.0, 0.8, 0.7, 0.6],
        eval_hard_loss=[1.0, 1.2, 1.5, 1.9],
    )
    found = strict_json(heldout("judge", folder, "--json").output)
    (alert,) = [each for each in found["alerts"] if each["rule"] == "eval-loss-rise"]
    assert (alert["scope"], alert["level"]) == ("hard", "warning")
    assert "Held-out loss on hard rises: 1.5, was 1 at step 100" in alert["message"]
    assert "the first of 2 evaluation sets by name: easy, hard" in found["decision"]["reason"]


def test_a_held_out_loss_of_a_table_is_judged_without_knowing_the_steps_planned(
    tmp_path: Path,
) -> None:
    def judged(*held_out: float) -> Result:
        rows = [f"{i},{1 / (i + 1)},{loss}" for i, loss in enumerate(held_out)]
        path = tmp_path / "log.csv"
        path.write_text("\n".join(["step,loss,val_loss", *rows]))
        return heldout("judge", path)

    rising = judged(1.0, 0.8, 0.7, 0.8, 0.9, 1.0)
    assert rising.exit_code == 1
    assert "Held-out loss rises: 0.9, was 0.7 at step 2 (5 evaluations)" in rising.output
    flat = judged(1.0, 0.8, 0.7, 0.7, 0.701, 0.7, 0.7, 0.7)
    assert flat.exit_code == 0
    assert "INFO Eval loss is flat at 0.7" in flat.output
    assert "how many are planned is not known" in flat.output
    still = judged(0.7, 0.7001, 0.7, 0.7, 0.7001)
    assert still.exit_code == 1
    assert "Nothing is learned: the held-out loss is 0.7 and moved by 0.01%" in still.output


def test_nothing_checked_is_not_healthy(tmp_path: Path) -> None:
    for rows, found in (
        (
            [{"step": 1, "kl": 0.1, "grad_norm": 2.0}],
            "it holds no loss and no evaluation; found kl",
        ),
        (
            [{"step": 1, "eval_oddity": 0.1}],
            "it holds no loss, and nothing says which way is better for eval/oddity",
        ),
    ):
        path = tmp_path / "mine.json"
        path.write_text(json.dumps({"log_history": rows}))
        for command in ("judge", "report"):
            done = heldout(command, path)
            assert done.exit_code == 3
            assert f"ACTION: Nothing could be checked: {found}" in done.output
            done = heldout(command, path, "--json")
            assert done.exit_code == 3
            reason = strict_json(done.output)["decision"]["reason"]
            assert reason.startswith(f"Nothing could be checked: {found}")
        assert "**Nothing could be checked:**" in heldout("report", path, "--md").output
    good = log(tmp_path / "good.json", [2.0, 1.0])
    done = heldout("judge", good, path)
    assert done.exit_code == 3
    assert "nothing checked" in done.output
    assert "unreadable" not in done.output
    assert heldout("judge", log(tmp_path / "one.json", [2.0])).exit_code == 0


def test_what_is_not_read_yet_is_said_in_a_sentence(tmp_path: Path) -> None:
    lines = '{"loss": 2.0, "step": 1}\n{"loss": 1.0, "step": 2}\n'
    for name, content, said in (
        ("log.jsonl", lines.encode(), "one JSON object a line (JSON Lines)"),
        ("one.jsonl", lines.splitlines()[0].encode(), "no 'log_history' list in it; found loss"),
        ("log.csv.gz", gzip.compress(b"step,loss\n1,2\n"), "packed by gzip: unpack it first"),
        (
            "mega.log",
            b" [2024-07-15 15:26:21] iteration 1/ 10 | lm loss: 1.1E+01 |\n",
            "no log that",
        ),
        ("console.log", b"Loading: 100%|####| 2/2\n{'loss': 2.1, 'epoch': 0.1}\n", "no log that"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        done = heldout("judge", path)
        assert isinstance(done.exception, HeldoutError), name  # main() makes it a message and a 3
        assert said in str(done.exception), name
        assert "None" not in str(done.exception)


def test_a_set_whose_loss_is_not_finite_is_named(tmp_path: Path) -> None:
    folder = evaluated(
        tmp_path / "sets", [], eval_easy_loss=[1.0, 0.8], eval_hard_loss=[1.0, math.nan]
    )
    done = heldout("judge", folder)
    assert done.exit_code == 2
    assert "CRITICAL The Trainer's evaluation loss on hard is NaN/Inf at step 200" in done.output
