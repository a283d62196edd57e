"""Evaluate models on a fixed set: from scores and answers to the records of one evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from torch import nn

from heldout.evals.budget import Budget
from heldout.evals.calibration import (
    bin_sums,
    brier,
    confidence_gap,
    ece,
    ece_equal_mass,
    ece_interval,
    ece_null,
    reliability,
)
from heldout.evals.decode import Answer, Decoding, answers
from heldout.evals.fixed_set import MAX_SAMPLES, Example, FixedSet
from heldout.evals.greedy import Greedy
from heldout.evals.neutral import neutral
from heldout.evals.options import EvalOptions
from heldout.evals.ranks import Ranks, together
from heldout.evals.recheck import recheck
from heldout.evals.score import Score, Scorer
from heldout.records import Direction, EvalResult, Item, Metric
from heldout.stats.groups import group_sums, independent_share, number_groups
from heldout.stats.intervals import ratio_interval, wilson
from heldout.stats.progress import MARGIN, progress

Cell = tuple[str, str]
MOST_TEXT = 400
"""Characters of a wrong answer that are kept in the journal."""


def _metric(name: str, title: str, unit: str, direction: Direction, text: str) -> Metric:
    source = "one forward pass over the fixed held-out set"
    return Metric(name=name, title=title, unit=unit, direction=direction, help=text, source=source)


METRICS = (
    _metric(
        "eval/em",
        "Exact match",
        "fraction",
        "higher",
        "Share of examples that greedy decoding answers with an accepted text, after normalisation.",
    ),
    _metric(
        "eval/token_em",
        "Token exact match",
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


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of one example after an evaluation."""

    score: Score
    answer: Answer


class Evaluator:
    """Evaluates one fixed set with a model, again and again.

    `cell` gives each example's (pattern, length bin); `options` say how answers are decoded and
    compared. With several `ranks` every process must call `evaluate` at the same steps; each gets
    the whole result.

    `remarks` collects what a user should know and has not been told: memory that ran out, a model
    whose logits had to be reached another way.
    """

    def __init__(
        self,
        fixed: FixedSet,
        tokenizer: Any,
        cell: Callable[[Example], Cell] = lambda _: ("", ""),
        options: EvalOptions | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        self._options = options = options or EvalOptions()
        self.fixed = fixed
        self.cell = cell
        self.ranks = ranks or Ranks()
        self.remarks: list[str] = []
        self._started = False
        self._budget = Budget()
        self._scorer = Scorer(self._budget)
        self._decoding = Decoding(
            tokenizer=tokenizer,
            match=options.match,
            max_new_tokens=options.max_new_tokens,
            full=options.full_text,
        )

    def evaluate(
        self,
        model: nn.Module,
        step: int,
        check: bool = False,
        progress: Callable[[int], None] = lambda _: None,
    ) -> tuple[list[Item], EvalResult]:
        """Evaluate `model`, leaving it and all random states as they were.

        Returns one `Item` an example, in the set's order, and their summary. Non-finite examples
        count as wrong and make CE and entropy NaN, so that poison is seen and not averaged away.
        `check` also compares 32 examples with the model's own `generate`. `progress` is told the
        number of examples scored so far. Raises `ModelError` if the model cannot be scored.
        """
        began = time.perf_counter()
        model = getattr(model, "_orig_mod", model)  # compiled code would be compiled for each shape
        examples = self.fixed.examples
        with neutral(model):
            found = together(self.ranks, self._share(model, progress), len(examples))
            self._agree()
            checked: tuple[int, list[str]] = (0, [])
            if check and self.ranks.main:
                greedy = Greedy.of(model, self._decoding.tokenizer)
                checked = recheck(model, examples, [each.score for each in found], greedy)
        items = [
            _item(example, each, self._decoding, step, self.cell(example))
            for example, each in zip(examples, found, strict=True)
        ]
        seconds = time.perf_counter() - began
        return items, self._result(items, found, step, seconds, checked)

    def _share(self, model: nn.Module, progress: Callable[[int], None]) -> dict[int, Found] | str:
        """What this process found for its share; the reason if it failed while others did not."""
        lengths = [len(e.prompt_ids) + len(e.response_ids) for e in self.fixed.examples]
        mine = self.ranks.share(lengths)
        try:
            greedy = Greedy.of(model, self._decoding.tokenizer)
            if not self._started:
                self._started = True
                self._remark_on_ends(greedy)
            examples = [self.fixed.examples[i] for i in mine]
            scores = self._scorer.score(model, examples, greedy, progress)
            said = answers(model, examples, scores, greedy, self._decoding, self._budget)
        except Exception as error:
            if self.ranks.count == 1:
                raise
            return f"{type(error).__name__}: {error}"
        return {i: Found(s, a) for i, s, a in zip(mine, scores, said, strict=True)}

    def _remark_on_ends(self, greedy: Greedy) -> None:
        """Say where answers end with a token at which generation does not stop."""
        ends = {example.response_ids[-1] for example in self.fixed.examples}
        special = set(getattr(self._decoding.tokenizer, "all_special_ids", ()))
        for token in sorted(ends & special - set(greedy.eos)):
            self.remarks.append(
                f"answers end with {self._decoding.tokenizer.decode([token])!r}, at which generation "
                "does not stop: their text goes on and is wrong. Add the token to "
                "model.generation_config.eos_token_id."
            )

    def _agree(self) -> None:
        """Take the smallest batches and the remarks of all processes, so that the next goes alike."""
        parts = self.ranks.gather((self._budget.tokens, self._budget.remarks))
        self._budget.tokens = min(tokens for tokens, _ in parts)
        for remark in dict.fromkeys(remark for _, remarks in parts for remark in remarks):
            if remark not in self.remarks:
                self.remarks.append(remark)

    def _result(
        self,
        items: Sequence[Item],
        found: Sequence[Found],
        step: int,
        seconds: float,
        checked: tuple[int, list[str]],
    ) -> EvalResult:
        scores = [each.score for each in found]
        n, correct = len(items), sum(item.correct for item in items)
        groups_N = number_groups([item.group for item in items])
        confidence = np.concatenate([score.confidence for score in scores])
        hit = np.concatenate([score.hit for score in scores])
        counts = np.array([item.tokens for item in items])
        ce_sums = np.array([score.ce.sum() for score in scores])
        bins = self._options.bins
        sums_N = np.stack([bin_sums(score.confidence, score.hit, bins) for score in scores])
        sums = sums_N.sum(axis=0)
        tokens = int(counts.sum())
        share = independent_share(np.array([item.correct for item in items], float), groups_N)
        low, high = wilson(share * correct, share * n)
        ce_low, ce_high = ratio_interval(
            group_sums(ce_sums, groups_N), group_sums(counts, groups_N)
        )
        ece_low, ece_high = ece_interval(group_sums(sums_N.T, groups_N).T)
        return EvalResult(
            step=step,
            time=time.time(),
            n=n,
            correct=correct,
            em=correct / n,
            em_low=low,
            em_high=high,
            token_em=sum(item.token_correct for item in items) / n,
            near_ties=sum(item.near_tie for item in items),
            decoded=sum(each.answer.decoded for each in found),
            ce=float(ce_sums.sum() / tokens),
            ce_low=ce_low,
            ce_high=ce_high,
            ce_by_example=float(np.mean([item.ce for item in items])),
            entropy=float(sum(score.entropy.sum() for score in scores) / tokens),
            token_accuracy=float(hit.mean()),
            ece=ece(sums),
            ece_low=ece_low,
            ece_high=ece_high,
            ece_null=ece_null(sums),
            ece_equal_mass=ece_equal_mass(confidence, hit),
            confidence_gap=confidence_gap(sums),
            brier=brier(confidence, hit),
            sequence_ece=self._sequence_ece(found),
            tokens=tokens,
            non_finite=sum(not score.finite for score in scores),
            seconds=seconds,
            bins=reliability(sums),
            rechecked=checked[0],
            mismatched=checked[1],
        )

    def _sequence_ece(self, found: Sequence[Found]) -> float | None:
        """ECE of whole answers, confidence being their probability; None unless all were decoded."""
        if not all(each.answer.ended for each in found):
            return None
        confidence = np.exp([min(0.0, each.answer.log_p) for each in found])
        right = np.array([each.answer.correct for each in found])
        return ece(bin_sums(confidence, right, self._options.bins))


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
        options: EvalOptions | None = None,
    ) -> None:
        options = options or EvalOptions()
        self.margin = margin
        self.fixed = options.load(path, tokenizer, max_samples=max_samples)
        self.results: list[EvalResult] = []
        self._evaluator = Evaluator(self.fixed, tokenizer, options=options)
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
        items, result = self._evaluator.evaluate(model, step, check=not self.results)
        self.results.append(result)
        self._correct.append([item.correct for item in items])
        steps = [each.step for each in self.results]
        found = progress(
            np.array(self._correct, dtype=bool),
            np.array([each.ece for each in self.results]),
            np.array([each.ece_null for each in self.results]),
            self.margin,
            steps=steps,
            groups_N=number_groups([item.group for item in items]),
        )
        facts: dict[str, Any] = msgspec.to_builtins(result)
        del facts["type"]
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


def _item(example: Example, found: Found, how: Decoding, step: int, cell: Cell) -> Item:
    score, answer = found.score, found.answer
    return Item(
        step=step,
        id=example.id,
        line=example.row.line,
        pattern=cell[0],
        bin=cell[1],
        tokens=len(example.response_ids),
        correct=answer.correct,
        token_correct=how.token_correct(example, score),
        ce=float(score.ce.mean()),
        entropy=float(score.entropy.mean()),
        divergence=score.divergence,
        near_tie=score.near_tie,
        text=_shown(answer.text),
        group=example.row.group,
    )


def _shown(text: str | None) -> str | None:
    """The end of a text, where it went another way than the golden answer."""
    return text if text is None or len(text) <= MOST_TEXT else "…" + text[-MOST_TEXT:]


def _plain(item: Item, example: Example) -> Mapping[str, Any]:
    return {
        "id": item.id,
        "prompt": example.row.prompt,
        "tokens": item.tokens,
        "correct": item.correct,
        "token_correct": item.token_correct,
        "ce": item.ce,
        "divergence": item.divergence,
        "text": item.text,
    }
