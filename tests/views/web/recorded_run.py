"""A recorded run, written through the records, and the journal it makes."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec

from heldout.records import (
    Advice,
    AnyRecord,
    Bin,
    Checkpoint,
    Decision,
    EvalResult,
    EvalSet,
    Item,
    Layer,
    Layers,
    LayerState,
    Metric,
    Note,
    Part,
    Run,
    Sample,
    Verdict,
    encode,
)
from heldout.stats.intervals import wilson

STARTED = 1_760_000_000.0
NAN_STEP = 33
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><b>bold</b>"
METRICS = {
    "loss/step": ("Step loss", "nats"),
    "loss/streaming": ("Streaming CE", "nats"),
    "entropy/train": ("Token entropy", "nats"),
    "throughput/tokens_per_second": ("Tokens per second", "tokens/s"),
    "throughput/tokens_per_step": ("Tokens per step", "tokens"),
    "throughput/total_tokens": ("Total tokens", "tokens"),
    "throughput/padding": ("Padding", ""),
    "time/step": ("Time per step", "s"),
    "time/data": ("Waiting for data", "s"),
    "time/forward_backward": ("Forward and backward", "s"),
    "time/evaluation": ("Evaluation", "s"),
    "time/remaining": ("Time remaining", "s"),
    "memory/host": ("Host memory", "bytes"),
    "grad/norm": ("Gradient norm", ""),
    "mine/new": ("A metric of tomorrow", "apples"),
}
DRAWN = (
    "loss/step",
    "loss/streaming",
    "entropy/train",
    "grad/norm",
    "throughput/tokens_per_second",
    "time/step",
    "memory/host",
)
"""The metrics whose curves a panel of its own draws."""
STALLED = "base_model.model.model.layers.2.mlp.down_proj"
PATTERNS = ("coding", "factual", "reasoning")


def run_record(run_id: str = "first") -> Run:
    return Run(
        id=run_id,
        time=STARTED,
        model="tiny-model",
        total_steps=80,
        eval_set=EvalSet(path="fixed_eval.jsonl", hash="abc123", n=60, skipped=["line 7: empty"]),
        learning_rate="cosine",
        config={"lr": 2e-4, "prompt": HOSTILE},
        environment={"torch": "2.13"},
        host="host",
        pid=7,
    )


def metric_records() -> list[AnyRecord]:
    return [
        Metric(name=name, title=title, unit=unit, direction="none", help=f"{title}.", source="test")
        for name, (title, unit) in METRICS.items()
    ]


def sample(step: int, **override: float) -> Sample:
    values = {
        "loss/step": 2.0 * math.exp(-step / 40) + 0.2 * math.sin(step),
        "loss/streaming": 2.0 * math.exp(-step / 40),
        "entropy/train": 1.0 + math.exp(-step / 30),
        "throughput/tokens_per_second": 900.0 + step % 7,
        "throughput/tokens_per_step": 512.0,
        "throughput/total_tokens": 512.0 * step,
        "throughput/padding": 0.25,
        "time/step": 0.57,
        "time/data": 0.057,
        "time/forward_backward": 0.456,
        "time/remaining": 0.57 * (80 - step),
        "memory/host": 3.5 * 2**30,
        "grad/norm": 1.0,
        "mine/new": float(step),
    }
    if step % 20 == 1 and step > 1:
        values["time/evaluation"] = 0.57
    return Sample(step=step, time=STARTED + step, values=values | override)


def eval_records(step: int, right: int) -> list[AnyRecord]:
    """60 examples, the first `right` of them correct; 'reasoning' has too few to know."""
    items: list[AnyRecord] = []
    for i in range(60):
        pattern = PATTERNS[2] if i >= 54 else PATTERNS[i % 2]
        items.append(
            Item(
                step=step,
                id=f"item-{i}",
                pattern=pattern,
                bin="0-100" if i < 40 else "100-300",
                tokens=20,
                correct=i < right,
                token_correct=i < right,
                ce=0.5,
                entropy=0.4,
                divergence=None if i < right else 3,
            )
        )
    low, high = wilson(right, 60)
    result = EvalResult(
        step=step,
        time=STARTED + step,
        n=60,
        correct=right,
        em=right / 60,
        em_low=low,
        em_high=high,
        token_em=right / 60,
        near_ties=0,
        decoded=4,
        ce=1.5 - step / 100,
        ce_by_example=1.6 - step / 100,
        entropy=0.6,
        token_accuracy=0.8,
        ece=0.08,
        ece_null=0.02,
        ece_equal_mass=0.07,
        confidence_gap=0.08,
        brier=0.15,
        ece_low=0.03,
        ece_high=0.15,
        ce_low=0.5,
        ce_high=2.5,
        tokens=1200,
        non_finite=0,
        seconds=1.5,
        bins=[Bin(n=1200, confidence=0.8, accuracy=0.72)],
    )
    return [*items, result]


def layer_record(step: int) -> Layers:
    """Eight layers: the last moved most, the loss depends most on the first, layer 2 has stalled."""
    layers = [_layer(i, impact=0.036 * (8 - i), stalled=i == 2) for i in range(8)]
    troubles: dict[str, LayerState] = {STALLED: "stalled"}
    return Layers(step=step, time=STARTED + step, layers=layers, troubles=troubles)


def _layer(i: int, impact: float, stalled: bool) -> Layer:
    """Four fifths of its movement and three quarters of its impact are in the MLP."""
    state: LayerState = "stalled" if stalled else "ok"
    share = impact / 1.296

    def part(norm: float, of_impact: float, state: LayerState = "ok") -> Part:
        return Part(
            norm=norm,
            relative=0.001 * (i + 1),
            spectral=norm / 2,
            rank=3.2,
            rank_of=16.0,
            speed=2e-6,
            impact=of_impact * impact,
            impact_share=of_impact * share,
            grad=0.5,
            state=state,
        )

    return Layer(
        stack="",
        layer=i,
        qkv=0.15 * (i + 1),
        mlp=0.2 * (i + 1),
        delta_norm=0.25 * (i + 1),
        relative=0.001 * (i + 1),
        spectral=0.1 * (i + 1),
        rank=3.2,
        rank_of=16.0,
        speed=2e-6,
        impact=impact,
        impact_share=share,
        grad=0.7,
        state=state,
        parts={
            "qkv": part(0.15 * (i + 1), 0.25),
            "mlp": part(0.2 * (i + 1), 0.75, state),
        },
    )


def recorded(run_id: str = "first") -> list[AnyRecord]:
    """A run of 60 steps so far: a NaN at step 33, three evaluations, one alert, a decision."""
    records: list[AnyRecord] = [run_record(run_id), *metric_records()]
    for step in range(1, 61):
        poisoned = {"loss/step": math.nan} if step == NAN_STEP else {}
        records.append(sample(step, **poisoned))
        if step % 20 == 0:
            records += eval_records(step, right=20 + step // 3)
            records.append(layer_record(step))
            path = f"checkpoint-{step}"
            records.append(Checkpoint(step=step, time=STARTED + step, path=path))
    records += [
        Verdict(
            step=NAN_STEP,
            time=STARTED + NAN_STEP,
            rule="loss-not-finite",
            state="open",
            level="critical",
            message=f"step loss is NaN at step {NAN_STEP} {HOSTILE}",
            action="Stop; check masking, learning rate and dtype.",
            evidence={"loss": math.nan, "step": NAN_STEP},
        ),
        Verdict(
            step=60,
            time=STARTED + 60,
            rule="plateau",
            state="no-data",
            level="info",
            message="needs 4 evaluations, has 3",
            action="",
        ),
        Decision(
            step=60,
            time=STARTED + 60,
            action="stop",
            checkpoint="checkpoint-20",
            tied=["checkpoint-20"],
            reason="The loss is not finite.",
            advice=[Advice(topic="data", message="need more 'reasoning' examples")],
        ),
    ]
    return records


def write(folder: Path, records: list[AnyRecord]) -> Path:
    """Append `records` to the journal in `folder`; returns the journal."""
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / "journal.jsonl"
    with journal.open("ab") as file:
        file.write(b"".join(encode(record) + b"\n" for record in records))
    return journal


def resumed(step: int) -> Run:
    """A second process goes on from the checkpoint of `step`."""
    return msgspec.structs.replace(run_record(), step=step, time=STARTED + 200)


def open_alert() -> list[AnyRecord]:
    """Return an alert that is still open at the end of `recorded`, and a note behind it."""
    alert = Verdict(
        step=50,
        time=STARTED + 50,
        rule="loss-spike",
        state="open",
        level="warning",
        message="loss is 3 x its median",
        action="Look at the batch.",
        evidence={"factor": 3.0},
    )
    return [alert, Note(step=60, time=STARTED + 60, topic="data", text="cut")]
