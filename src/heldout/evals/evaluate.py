"""Evaluate a model on a fixed set: from scores to the records of one evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from torch import nn

from heldout.evals.calibration import ece, ece_interval, ece_null, reliability
from heldout.evals.fixed_set import MAX_SAMPLES, Example, FixedSet, load
from heldout.evals.score import Scores, score
from heldout.records import Direction, EvalResult, Item, Metric
from heldout.stats.intervals import ratio_interval, wilson
from heldout.stats.progress import MARGIN, progress

Cell = tuple[str, str]


def _metric(name: str, title: str, unit: str, direction: Direction, text: str) -> Metric:
    source = "one forward pass over the fixed held-out set"
    return Metric(name=name, title=title, unit=unit, direction=direction, help=text, source=source)


METRICS = (
    _metric(
        "eval/em",
        "Exact match",
        "fraction",
        "higher",
        "Share of examples whose golden response greedy decoding gives token by token.",
    ),
    _metric(
        "eval/ce",
        "Held-out CE",
        "nats",
        "lower",
        "Cross-entropy per response token, EOS included, without label smoothing.",
    ),
    _metric(
        "eval/ece",
        "Calibration error",
        "fraction",
        "lower",
        "Expected gap between confidence and accuracy of response tokens, in 10 bins.",
    ),
    _metric(
        "eval/entropy",
        "Held-out entropy",
        "nats",
        "none",
        "Mean entropy of the predicted distribution at response tokens.",
    ),
    _metric(
        "eval/token_accuracy",
        "Token accuracy",
        "fraction",
        "higher",
        "Share of response tokens that are the most likely one.",
    ),
)


def evaluate(
    model: nn.Module,
    fixed: FixedSet,
    step: int,
    cell: Callable[[Example], Cell],
    eos_ids: Sequence[int] = (),
) -> tuple[list[Item], EvalResult]:
    """Score `fixed` with `model` at `step`; `cell` gives each example's (pattern, length bin).

    Returns one `Item` an example, in the set's order, and their summary. Non-finite examples count
    as wrong and make CE and entropy NaN, so that poison is seen and not averaged away.
    """
    began = time.perf_counter()
    scores = score(model, fixed.examples, eos_ids)
    seconds = time.perf_counter() - began
    items = [
        _item(i, example, scores, step, cell(example)) for i, example in enumerate(fixed.examples)
    ]
    return items, _result(scores, step, seconds)


def end_tokens(model: nn.Module, tokenizer: Any) -> list[int]:
    """Return the ids that end a generation: those of the generation config and the tokenizer."""
    config = getattr(model, "generation_config", None)
    ids = getattr(config, "eos_token_id", None)
    found = set(ids if isinstance(ids, list) else [] if ids is None else [ids])
    if tokenizer.eos_token_id is not None:
        found.add(tokenizer.eos_token_id)
    return sorted(found)


class FixedEvalSet:
    """A fixed held-out set for hand-written loops: load once, evaluate at any step.

    Raises what `fixed_set.load` raises. Inside a watched run `heldout.Monitor` does this.
    """

    def __init__(
        self,
        path: str | Path,
        tokenizer: Any,
        max_samples: int = MAX_SAMPLES,
        margin: float = MARGIN,
    ) -> None:
        self.tokenizer = tokenizer
        self.margin = margin
        self.fixed = load(path, tokenizer, max_samples)
        self.results: list[EvalResult] = []
        self._correct: list[list[bool]] = []

    def __len__(self) -> int:
        return len(self.fixed.examples)

    def evaluate(self, model: nn.Module, step: int) -> dict[str, Any]:
        """Score the set with `model` and compare with the evaluations before.

        Returns `{em, ce, ece, best_ckpt, em_trend, ece_rise}` and more: the fields of
        `EvalResult`, the paired change, and `items`. `best_ckpt` is `checkpoint-<step>` of the
        earliest evaluation that no other beats by more than chance; it takes every evaluated step
        to have been saved. Rates are fractions, cross-entropy is in nats.
        """
        items, result = evaluate(
            model, self.fixed, step, lambda _: ("", ""), end_tokens(model, self.tokenizer)
        )
        self.results.append(result)
        self._correct.append([item.correct for item in items])
        found = progress(
            np.array(self._correct, dtype=bool),
            np.array([each.ece for each in self.results]),
            np.array([each.ece_null for each in self.results]),
            self.margin,
        )
        facts: dict[str, Any] = msgspec.to_builtins(result)
        del facts["type"]
        steps = [each.step for each in self.results]
        return {
            **facts,
            **found.facts(steps),
            "best_ckpt": f"checkpoint-{steps[found.tied[0]]}",
            "tied": [f"checkpoint-{steps[i]}" for i in found.tied],
            "items": [
                _plain(item, example)
                for item, example in zip(items, self.fixed.examples, strict=True)
            ],
        }


def _item(i: int, example: Example, scores: Scores, step: int, cell: Cell) -> Item:
    tokens = int(scores.tokens[i])
    return Item(
        step=step,
        id=example.id,
        pattern=cell[0],
        bin=cell[1],
        tokens=tokens,
        correct=bool(scores.correct[i]),
        ce=float(scores.ce_sum[i] / tokens),
        entropy=float(scores.entropy_sum[i] / tokens),
        divergence=int(scores.divergence[i]) if scores.divergence[i] >= 0 else None,
    )


def _result(scores: Scores, step: int, seconds: float) -> EvalResult:
    n, correct = len(scores.tokens), int(scores.correct.sum())
    tokens, bins = int(scores.tokens.sum()), scores.bins.sum(axis=0)
    low, high = wilson(correct, n)
    ce_low, ce_high = ratio_interval(scores.ce_sum, scores.tokens)
    ece_low, ece_high = ece_interval(scores.bins)
    return EvalResult(
        step=step,
        time=time.time(),
        n=n,
        correct=correct,
        em=correct / n,
        em_low=low,
        em_high=high,
        ce=float(scores.ce_sum.sum() / tokens),
        ce_low=ce_low,
        ce_high=ce_high,
        entropy=float(scores.entropy_sum.sum() / tokens),
        token_accuracy=float(scores.hits.sum() / tokens),
        ece=ece(bins),
        ece_low=ece_low,
        ece_high=ece_high,
        ece_null=ece_null(bins),
        tokens=tokens,
        non_finite=int((~scores.finite).sum()),
        seconds=seconds,
        bins=reliability(bins),
    )


def _plain(item: Item, example: Example) -> Mapping[str, Any]:
    return {
        "id": item.id,
        "prompt": example.row.prompt,
        "tokens": item.tokens,
        "correct": item.correct,
        "ce": item.ce,
        "divergence": item.divergence,
    }
