"""From what a foreign log says to heldout's own records."""

from __future__ import annotations

import itertools
import math
import statistics
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

from heldout.names import EVAL_LOSS, LOSS, RATE, first_of, metric, named
from heldout.records import AnyRecord, Checkpoint, Metric, Note, Run, Sample
from heldout.store.reader import Log, Row
from heldout.store.timeline import Timeline
from heldout.store.totals import with_totals


def records_of(log: Log, source: str) -> list[AnyRecord]:
    """Return the run's records in journal order; `source` is the kind of log.

    Time is the log's own, or the step where it tells none: either way it never falls.
    """
    timeline = Timeline()
    for row in log.rows:
        timeline.add(row)
    rows, totals = with_totals(list(timeline.rows()))
    theirs = list(dict.fromkeys(name for row in rows for name in row.values))
    ours = named(theirs)
    start = rows[0].time or 0.0
    schedule, training = _settings(log, rows, theirs)
    run = Run(
        id=log.id,
        time=start,
        model=log.model,
        total_steps=log.total_steps,
        learning_rate=schedule,
        training=training,
        source=source,
        environment=dict(log.environment),
    )
    remarks = [
        *log.remarks,
        *_runs(timeline, rows),
        *_resumes(timeline),
        *_strays(log, rows),
        *totals,
        *_no_loss(theirs),
    ]
    notes = [Note(step=0, time=start, topic="data", text=text) for text in remarks]
    facts: list[Sample | Checkpoint] = [*_samples(rows, ours, start), *_saved(log, rows, start)]
    facts.sort(key=lambda fact: fact.step)
    return [run, *_metrics(ours), *notes, *facts, *_end(log, rows, start)]


def _samples(rows: Sequence[Row], ours: dict[str, tuple[str, ...]], start: float) -> list[Sample]:
    return [
        Sample(
            step=row.step,
            time=_time(row, start),
            values={name: value for theirs, value in row.values.items() for name in ours[theirs]},
        )
        for row in rows
    ]


def _saved(log: Log, rows: Sequence[Row], start: float) -> Iterator[Checkpoint]:
    """Checkpoints of this run, each at the time of the last row before it."""
    steps = [row.step for row in rows]
    for step, path in log.checkpoints.items():
        if step <= _last(log, rows):
            before = bisect_right(steps, step)
            time = _time(rows[before - 1], start) if before else start
            yield Checkpoint(step=step, time=time, path=path)


def _strays(log: Log, rows: Sequence[Row]) -> list[str]:
    last = _last(log, rows)
    beyond = sorted(step for step in log.checkpoints if step > last)
    if not beyond:
        return []
    names = ", ".join(log.checkpoints[step] for step in beyond[:3])
    return [f"{names}: of another run, as this log ends at step {last:,}; left out"]


def _last(log: Log, rows: Sequence[Row]) -> int:
    return max(log.last_step, rows[-1].step)


def _end(log: Log, rows: Sequence[Row], start: float) -> Iterator[Note]:
    step, time = _last(log, rows), _time(rows[-1], start)
    if log.failure:
        yield Note(step=step, time=time, topic="failed", text=log.failure)
    elif log.finished:
        yield Note(step=step, time=time, topic="finished", text="")


def _metrics(ours: dict[str, tuple[str, ...]]) -> list[Metric]:
    return [metric(name, theirs) for theirs, names in ours.items() for name in names]


def _runs(timeline: Timeline, rows: Sequence[Row]) -> list[str]:
    if timeline.runs == 1:
        return []
    return [
        f"it holds {timeline.runs} runs, one behind the other (the steps begin again at "
        f"{rows[0].step:,}): the last one is judged, {len(rows):,} rows"
    ]


def _resumes(timeline: Timeline) -> list[str]:
    if not timeline.resumes:
        return []
    last, first = timeline.resumes[0]
    more = len(timeline.resumes) - 1
    others = f", and {more} times more" if more else ""
    return [
        f"the steps go back from {last:,} to {first:,}{others}: read as a resume, the later rows stand"
    ]


def _no_loss(theirs: Sequence[str]) -> list[str]:
    if first_of(LOSS, theirs) or first_of(EVAL_LOSS, theirs):
        return []
    names = ", ".join(theirs[:5]) + (", ..." if len(theirs) > 5 else "")
    return [f"no number is known as a loss ({', '.join(LOSS[1:4])}, ...); found {names}"]


def _settings(log: Log, rows: Sequence[Row], theirs: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The schedule and the settings, with what the curves say of those the log does not tell."""
    training = dict(log.training)
    logged = [row.step for row in rows if first_of(LOSS, row.values)]
    gaps = [after - before for before, after in itertools.pairwise(logged)]
    if gaps:
        training.setdefault("logging_steps", statistics.median_low(gaps))
    name = first_of(RATE, theirs)
    pairs = [(row.step, row.values[name]) for row in rows if name in row.values] if name else []
    rates = [(step, rate) for step, rate in pairs if math.isfinite(rate)]
    if not rates:
        return log.schedule, training
    peak = max(rate for _, rate in rates)
    training.setdefault("learning_rate", peak)
    first = next(step for step, rate in rates if rate == peak)
    if rates[0][1] < peak and first < rates[-1][0]:
        training.setdefault("warmup_steps", first)
    constant = len(rates) > 1 and all(rate == peak for _, rate in rates)
    return log.schedule or ("constant" if constant else ""), training


def _time(row: Row, start: float) -> float:
    return start + row.step if row.time is None else row.time
