"""Recorded runs in which every text is hostile, the folders' names included.

What a journal holds many of (metrics, notes, alerts, patterns, ...) holds every payload; what it holds one
of (the model's name, the reason of a decision) holds another payload in each run.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from recorded_run import STARTED, layer_record, sample, write
from recorded_set import OWNED, PAYLOADS, records

from heldout.records import (
    Advice,
    AnyRecord,
    Checkpoint,
    Data,
    Decision,
    EvalSet,
    Item,
    Layers,
    Metric,
    Note,
    Rows,
    Run,
    Verdict,
)
from heldout.store.annotations import MOST_NOTE, MOST_TAG, annotate

FOLDERS = (
    f"<img src=x onerror={OWNED}>",
    f"'\"><svg onload={OWNED}>",
    f"javascript:{OWNED}",
    "\x1b[31mred\x1b]0;title\x07\x1b[2J",
    "\u202egnp.exe \u2066",
    "one\ntwo\ttab",
    "a&run=b#c?d=%2e%2e+e",
    "👩\u200d👩\u200d👧 é 漢字",
    "n" * 200,
    os.fsdecode(b"half \xff\xfe text"),
)


def hostile(number: int, file: Path) -> list[AnyRecord]:
    """The records of a run on the payloads themselves, whose set is written to `file`."""
    pairs = [(f"{text} ?", text) for text in PAYLOADS]
    others = iter(PAYLOADS[1:] * len(PAYLOADS))
    scored = records("r", file, pairs, said=lambda row: row.response[:4] + next(others))
    run, *rest = scored
    assert isinstance(run, Run)
    assert run.eval_set is not None
    one = PAYLOADS[number % len(PAYLOADS)]
    patterns = [
        msgspec.structs.replace(record, pattern=PAYLOADS[i % len(PAYLOADS)])
        if isinstance(record, Item)
        else record
        for i, record in enumerate(rest)
    ]
    return [_run(run, run.eval_set, one), *_metrics(), *patterns, *_told(one)]


def write_hostile(root: Path) -> list[str]:
    """A run in each of `FOLDERS`, with hostile tags and notes; returns the names as they are shown."""
    for number, folder in enumerate(FOLDERS):
        write(root / folder, hostile(number, root.parent / f"set-{number}.jsonl"))
        tags = [text[:MOST_TAG] for text in PAYLOADS[number : number + 5]]
        annotate(root / folder, tags, PAYLOADS[number][:MOST_NOTE])
    return [folder.encode("utf-8", "replace").decode() for folder in FOLDERS]


def _run(run: Run, held_out: EvalSet, one: str) -> Run:
    every = list(PAYLOADS)
    keyed = {text: text for text in every}
    return msgspec.structs.replace(
        run,
        id=one,
        model=one,
        learning_rate=one,
        training={"lr_scheduler_type": one, **keyed},
        train_patterns=dict.fromkeys(every, 3),
        config={"nested": {"deep": every, **keyed}, **keyed},
        environment=keyed,
        host=one,
        process=keyed,
        eval_set=msgspec.structs.replace(held_out, skipped=every, remarks=every, overlap=every),
    )


def _metrics() -> list[AnyRecord]:
    """A metric called as each payload, with values."""
    named: list[AnyRecord] = [
        Metric(
            name=text, title=text, unit=text, direction="none", help=text, source=text, cost=text
        )
        for text in PAYLOADS
    ]
    return [*named, *(sample(step, **dict.fromkeys(PAYLOADS, float(step))) for step in (1, 2, 3))]


def _told(one: str) -> list[AnyRecord]:
    told: list[AnyRecord] = []
    for i, text in enumerate(PAYLOADS):
        when = {"step": 30 + i % 10, "time": STARTED + 30 + i % 10}
        told += [
            Verdict(
                **when,
                rule=text,
                scope=text,
                state=("open", "no-data", "resolved")[i % 3],
                level=("info", "warning", "error", "critical")[i % 4],
                message=text,
                action=text,
                evidence={text: text, "nested": [{text: [text]}]},
            ),
            Note(**when, topic=("resume", "failure", "remark", text)[i % 4], text=text),
            Checkpoint(**when, path=text),
        ]
    layers = layer_record(40)
    renamed = [msgspec.structs.replace(layer, stack=one) for layer in layers.layers]
    told.append(
        msgspec.structs.replace(
            layers,
            layers=[*layers.layers, *renamed],
            note=one,
            troubles=dict.fromkeys(PAYLOADS, "stalled"),
        )
    )
    rows = Rows(n=3, rows=[1, 2, 3])
    told.append(
        Data(
            time=STARTED,
            path=one,
            rows=100,
            looked_at=100,
            tokens=1000,
            label_tokens=500,
            found={"duplicate": rows, "foreign_marks": rows, **dict.fromkeys(PAYLOADS, rows)},
            strange=one,
            remarks=list(PAYLOADS),
        )
    )
    told.append(
        Decision(
            step=40,
            time=STARTED + 40,
            action="stop",
            checkpoint=one,
            tied=[one, *PAYLOADS],
            reason=one,
            evidence={one: one},
            advice=[Advice(topic=text, message=text, evidence={text: text}) for text in PAYLOADS],
        )
    )
    assert isinstance(told[-3], Layers)
    return told
