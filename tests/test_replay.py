"""A stored run judged again: the same as live, and nothing is written."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from facts import checkpoint, evaluation, losses, note, run, score

from heldout.records import AnyRecord, Decision, Verdict, encode
from heldout.replay import as_recorded, rejudge
from heldout.store.journal import Journal, read
from heldout.verdicts.judge import Judge


def lines(records: Any) -> list[bytes]:
    return [encode(record) for record in records]


def answers(records: Any) -> list[AnyRecord]:
    return [record for record in records if isinstance(record, Verdict | Decision)]


def recorded(folder: Path) -> Path:
    """A journal with an alert that opened and one that older rules gave."""
    journal, watching = Journal(folder / "journal.jsonl"), Judge()
    facts = [
        run(),
        *evaluation(0, score(50)),
        *losses([1.0, math.nan, 0.5]),
        *evaluation(3, score(20)),
        checkpoint(3),
        note(3, "finished"),
    ]
    for fact in facts:
        journal.append([fact, *watching.feed(fact)])
    journal.close()
    return journal.path


def test_a_replay_says_what_the_journal_says(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    found = rejudge(path)
    assert lines(found.records) == path.read_bytes().splitlines()
    assert lines(as_recorded(path).records) == path.read_bytes().splitlines()
    assert found.history.alerts == as_recorded(path).history.alerts


def test_a_replay_writes_nothing(tmp_path: Path) -> None:
    path = recorded(tmp_path / "r")
    before, when = path.read_bytes(), path.stat().st_mtime_ns
    rejudge(path)
    assert path.read_bytes() == before
    assert path.stat().st_mtime_ns == when
    assert sorted(each.name for each in path.parent.iterdir()) == ["journal.jsonl"]


def test_what_older_rules_said_is_left_alone_and_not_believed(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    older = Verdict(
        step=3, time=2000.0, rule="older", state="open", level="error", message="m", action="a"
    )
    with path.open("ab") as file:
        file.write(encode(older) + b"\n")
    assert ("older", "") in as_recorded(path).history.alerts
    assert ("older", "") not in rejudge(path).history.alerts


def test_a_real_training_run_is_judged_the_same_live_and_again(
    tmp_path: Path, tokenizer: Any
) -> None:
    import tiny
    import watched
    from transformers import Trainer, TrainingArguments

    import heldout

    arguments = TrainingArguments(
        output_dir=str(tmp_path / "out"),
        max_steps=12,
        per_device_train_batch_size=2,
        learning_rate=0.05,
        logging_steps=1,
        save_steps=4,
        report_to=["tensorboard"],
        use_cpu=True,
        disable_tqdm=True,
    )
    monitor = heldout.Monitor(
        tiny.write_jsonl(tmp_path / "set.jsonl", tiny.rows(6)),
        tokenizer=tokenizer,
        every=4,
        runs=tmp_path / "runs",
        run="live",
    )
    Trainer(
        model=tiny.model(),
        args=arguments,
        train_dataset=watched.encoded(tokenizer),
        data_collator=watched.collate,
        callbacks=[monitor],
    ).train()
    path = tmp_path / "runs" / "live" / "journal.jsonl"
    stored = read(path)[0]
    live = answers(stored)
    assert len(live) > 10
    assert lines(answers(rejudge(path).records)) == lines(live)
    foreign = rejudge(tmp_path / "out")
    assert foreign.history.step == 12
    assert foreign.history.ended == "finished"
    assert [each.path for each in foreign.history.checkpoints] == [
        "checkpoint-4",
        "checkpoint-8",
        "checkpoint-12",
    ]
    events = rejudge(tmp_path / "out" / "runs").history
    assert events.run is not None
    assert (events.run.source, events.run.total_steps, events.ended) == (
        "tensorboard",
        12,
        "finished",
    )
    seen = events.columns.get("loss/logged").values
    ours = as_recorded(path).history.columns.get("loss/logged").values
    assert foreign.history.columns.get("loss/logged").values.tolist() == ours.tolist()
    assert seen == pytest.approx(ours, rel=1e-6)
