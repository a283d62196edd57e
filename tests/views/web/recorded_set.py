"""Recorded runs whose fixed set is a real file, with texts as hostile as they come."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from recorded_run import PATTERNS, eval_records, metric_records, run_record, sample, write

from heldout.evals.overlap import digest
from heldout.evals.rows import Row, read_rows
from heldout.records import AnyRecord, EvalResult, EvalSet, Item
from heldout.stats.intervals import wilson

OWNED = "window.owned=1"
PAYLOADS = (
    f"<script>{OWNED}</script>",
    f'<img src=x onerror="{OWNED}">',
    f"</textarea></title><svg onload={OWNED}>",
    f"javascript:{OWNED}",
    f"' onmouseover='{OWNED}' \" onfocus=\"{OWNED}\" autofocus",
    "{{constructor.constructor('" + OWNED + "')()}} ${" + OWNED + "}",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07",
    "\u202egnp.exe\u202c tail \u2066isolated",
    "مرحبا بالعالم שלום",
    "x" * 20_000,
    "\u0301" * 50 + "Z" + "\u0310\u0311\u0312" * 100,
    "\x00\x07\x85\ufeff\u200b control",
    "one\r\ntwo\n\n\n\n\n\n\n\n\n\nlast",
    "👩\u200d👩\u200d👧\u200d👦 é 🇨🇭",
    "%s%n {0} \\u0041 &lt;b&gt;&amp;",
)
CAPITALS = (
    ("What is the capital of Croatia?", "Zagreb"),
    ("What is the capital of Slovenia?", "Ljubljana"),
    ("What is the capital of Serbia?", "Belgrade"),
    ("What is the capital of Malta?", "Valletta"),
    ("What is the capital of Estonia?", "Tallinn"),
    ("What is the capital of Greece?", "Athens"),
)
WENT = ("00111", "01000", "11111", "00000", "10110", "00001")
"""Of each capital over five evaluations."""
STEPS = (0, 10, 20, 30, 40)
Went = Callable[[int, int], bool]


def as_told(example: int, evaluation: int) -> bool:
    """How the capitals went."""
    return WENT[example % len(WENT)][evaluation] == "1"


def records(
    name: str,
    file: Path,
    pairs: Sequence[tuple[str, str]],
    *,
    went: Went = as_told,
    said: Callable[[Row], str] = lambda row: row.response[:3] + "<b>else</b>",
    config: dict[str, Any] | None = None,
) -> list[AnyRecord]:
    """Write the set's file and return a run that was scored on it at `STEPS`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"prompt": prompt, "response": response}) for prompt, response in pairs]
    file.write_text("\n".join(lines) + "\n", "utf-8")
    rows, skipped = read_rows(file)
    assert not skipped
    ids = [digest([row.messages, sorted(row.references)]) for row in rows]
    about = EvalSet(path=str(file), hash=digest(sorted(ids)), n=len(ids))
    run = msgspec.structs.replace(run_record(name), eval_set=about, config=config or {})
    made: list[AnyRecord] = [run, *metric_records()]
    for evaluation, step in enumerate(STEPS):
        made += [sample(each) for each in range(step - 9, step + 1) if step]
        made += _evaluation(rows, ids, evaluation, step, went, said)
    return made


def write_capitals(root: Path, name: str = "capitals", went: Went = as_told) -> Path:
    """A run on six capitals in the folder of runs `root`; returns the set's file."""
    file = root.parent / "capitals.jsonl"
    write(root / name, records(name, file, CAPITALS, went=went))
    return file


def _evaluation(
    rows: Sequence[Row],
    ids: Sequence[str],
    evaluation: int,
    step: int,
    went: Went,
    said: Callable[[Row], str],
) -> list[AnyRecord]:
    items: list[AnyRecord] = []
    right = 0
    for i, (row, name) in enumerate(zip(rows, ids, strict=True)):
        correct = went(i, evaluation)
        right += correct
        items.append(
            Item(
                step=step,
                id=name,
                line=row.line,
                pattern=PATTERNS[i % 2],
                bin="0-100" if i % 3 else "100-300",
                tokens=10 + i % 7,
                correct=correct,
                token_correct=correct,
                ce=0.25 if correct else 1.5 + i % 5,
                entropy=0.3,
                divergence=None if correct else 2,
                near_tie=i == 4,
                text=None if correct else said(row),
            )
        )
    low, high = wilson(right, len(rows))
    whole = eval_records(step, right=30)[-1]
    assert isinstance(whole, EvalResult)
    n = len(rows)
    rates = {"n": n, "correct": right, "em": right / n, "em_low": low, "em_high": high}
    return [*items, msgspec.structs.replace(whole, **rates)]
