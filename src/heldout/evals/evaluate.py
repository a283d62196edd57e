"""Evaluate models on a fixed set: from scores and answers to the records of one evaluation."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np
from torch import nn

from heldout.errors import ModelError
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
from heldout.evals.embeddings import embeddings_in, without_embedding
from heldout.evals.fixed_set import MAX_SAMPLES, Example, FixedSet, most_tokens
from heldout.evals.greedy import Greedy
from heldout.evals.logits import unwrapped
from heldout.evals.neutral import neutral
from heldout.evals.options import EvalOptions
from heldout.evals.ranks import Ranks, together
from heldout.evals.recheck import recheck, served
from heldout.evals.rows import Source
from heldout.evals.score import Score, Scorer, rope_limit
from heldout.kinds import kind_of
from heldout.records import Direction, EvalResult, Item, Metric
from heldout.stats.groups import group_sums, independent_share, number_groups
from heldout.stats.intervals import ratio_interval, wilson
from heldout.stats.keep import choose
from heldout.stats.progress import progress

Cell = tuple[str, str]
MOST_TEXT = 400
"""Characters of a wrong answer that are kept in the journal."""


def _metric(name: str, title: str, unit: str, direction: Direction, text: str) -> Metric:
    return Metric(
        name=name,
        title=title,
        unit=unit,
        direction=direction,
        help=text,
        source="one forward pass over the fixed held-out set",
        cost="one pass for all of them, 1.06 times the bare one"
        + (", and 3 to 5 % of it for decoding" if name == "eval/em" else ""),
    )


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


@dataclasses.dataclass(frozen=True, slots=True)
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
        self._fitted = False
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
        model = unwrapped(model)  # compiled code would be compiled for each shape
        if not (kind := kind_of(model)).scored:
            raise ModelError(
                f"{kind.what}, and a fixed set is scored with causal language models only: there one "
                "pass says what the model would answer"
            )
        with neutral(model):
            mine = self._share(model, progress)
            examples = self.fixed.examples
            found = together(self.ranks, mine, len(examples))
            self._agree()
            checked = self._recheck(model, found) if check and self.ranks.main else (0, [])
        items = [
            _item(example, each, self._decoding, step, self.cell(example))
            for example, each in zip(examples, found, strict=True)
        ]
        seconds = time.perf_counter() - began
        return items, self._result(items, found, step, seconds, checked)

    def _share(self, model: nn.Module, progress: Callable[[int], None]) -> dict[int, Found] | str:
        """What this process found for its share; the reason if it failed while others did not."""
        try:
            greedy = Greedy.of(model, self._decoding.tokenizer)
            self._fit(model, greedy)
            mine = self.ranks.share([example.length for example in self.fixed.examples])
            examples = [self.fixed.examples[i] for i in mine]
            scores = self._scorer.score(model, examples, greedy, progress)
            with self._scorer.arithmetic(model):
                said = answers(model, examples, scores, greedy, self._decoding, self._budget)
        except Exception as error:
            if self.ranks.count == 1:
                raise
            return f"{type(error).__name__}: {error}"
        return {i: Found(s, a) for i, s, a in zip(mine, scores, said, strict=True)}

    def _recheck(self, model: nn.Module, found: Sequence[Found]) -> tuple[int, list[str]]:
        """How many examples `generate` answered again and which otherwise; (0, []) if it fails."""
        scores, said = [each.score for each in found], [each.answer for each in found]
        try:
            greedy = Greedy.of(model, self._decoding.tokenizer)
            with self._scorer.arithmetic(model):
                asked = partial(served, tokenizer=self._decoding.tokenizer)
                return recheck(model, self.fixed.examples, scores, said, greedy, asked)
        except Exception as error:  # what was scored still holds
            self.remarks.append(
                f"the check against generate failed: {type(error).__name__}: {error}"
            )
            return 0, []

    def _fit(self, model: nn.Module, greedy: Greedy) -> None:
        """Before the first evaluation: look at the set with the eyes of this model.

        Raises `ModelError` for an example longer than the model's positions.
        """
        if self._fitted:
            return
        positions = most_tokens(getattr(model, "config", None))
        self._decoding = dataclasses.replace(self._decoding, positions=positions)
        for example in self.fixed.examples:
            if positions is not None and example.length > positions:
                raise ModelError(
                    f"{example.row.place}: {example.length} tokens, the model takes {positions}. "
                    f"Leave out long ones: eval.max_tokens = {positions}"
                )
        self.fixed = self._embedded(model)
        cut = [_cut(example, greedy.eos) for example in self.fixed.examples]
        self.fixed = dataclasses.replace(self.fixed, examples=tuple(cut))
        self.remarks += _remarks(self.fixed.examples, self._decoding.tokenizer, model, greedy)
        self._fitted = True

    def _embedded(self, model: nn.Module) -> FixedSet:
        """The set without the examples that this model has no embedding for; `ModelError` if most."""
        size, tokenizer, kept, lacking = embeddings_in(model), self._decoding.tokenizer, [], []
        for example in self.fixed.examples:
            ids = (*example.prompt_ids, *example.response_ids)
            why = without_embedding(ids, size, tokenizer)
            lacking += [f"{example.row.place}: {why}"] if why else []
            kept += [] if why else [example]
        if not lacking:
            return self.fixed
        said = f"{len(lacking)} of {len(self.fixed.examples)} examples: {lacking[0]}"
        if len(lacking) > len(kept):
            raise ModelError(said)
        self.remarks.append(f"left out {said}")
        return dataclasses.replace(self.fixed, examples=tuple(kept))

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
        log_p = np.array([each.answer.log_p for each in found])
        if not self._decoding.full or np.isnan(log_p).any():
            return None
        confidence = np.exp(np.minimum(0.0, log_p))
        right = np.array([each.answer.correct for each in found])
        return ece(bin_sums(confidence, right, self._options.bins))


class FixedEvalSet:
    """A fixed held-out set for hand-written loops: load once, evaluate at any step.

    `source` is a file (JSONL, JSON, CSV, TSV, Parquet), a list of dicts, a `datasets.Dataset` or a dict
    of columns. `margin` is the change in exact match that does not matter; None is what the set can show.

    Raises what `fixed_set.load` raises. Inside a watched run `heldout.Monitor` does this.
    """

    def __init__(
        self,
        source: Source,
        tokenizer: Any,
        max_samples: int = MAX_SAMPLES,
        margin: float | None = None,
        options: EvalOptions | None = None,
    ) -> None:
        options = options or EvalOptions()
        self.margin = margin
        self.results: list[EvalResult] = []
        fixed = options.load(source, tokenizer, max_samples=max_samples)
        self._evaluator = Evaluator(fixed, tokenizer, options=options)
        self._correct: list[list[bool]] = []
        self._ce: list[list[float]] = []

    @property
    def fixed(self) -> FixedSet:
        """The examples and what is known of the set."""
        return self._evaluator.fixed

    def __len__(self) -> int:
        return len(self.fixed.examples)

    def evaluate(self, model: nn.Module, step: int) -> dict[str, Any]:
        """Score the set with `model` and compare with the evaluations before.

        Returns `{em, ce, ece, best_ckpt, em_trend, ece_rise}` and more: the fields of
        `EvalResult`, the paired change, and `items`. `best_ckpt` is `checkpoint-<step>` of the best
        evaluation (`heldout.stats.keep`) whose numbers were finite, else None; it takes every evaluated
        step to have been saved. Rates are fractions, cross-entropy is in nats.
        """
        items, result = self._evaluator.evaluate(model, step, check=not self.results)
        self.results.append(result)
        self._correct.append([item.correct for item in items])
        self._ce.append([item.ce for item in items])
        steps = [each.step for each in self.results]
        found = progress(
            np.array(self._correct, dtype=bool),
            np.array(self._ce, dtype=np.float64),
            np.array(
                [[each.ece, each.ece_low, each.ece_high, each.ece_null] for each in self.results]
            ),
            self.margin,
            groups_N=number_groups([item.group for item in items]),
        )
        finite = [i for i, each in enumerate(self.results) if not each.non_finite]
        best = choose(found.merit, finite)
        tied = sorted({i for i in [*found.tied, best] if i in finite})
        facts: dict[str, Any] = msgspec.to_builtins(result)
        del facts["type"]
        return {
            **facts,
            **found.facts(steps),
            "best_ckpt": None if best is None else f"checkpoint-{steps[best]}",
            "tied": [f"checkpoint-{steps[i]}" for i in tied],
            "items": [
                _plain(item, example)
                for item, example in zip(items, self.fixed.examples, strict=True)
            ],
        }


def _remarks(
    examples: Sequence[Example], tokenizer: Any, model: nn.Module, greedy: Greedy
) -> list[str]:
    """What a user should know of a set with this model, one sentence each."""
    ends = {example.response_ids[-1] for example in examples}
    special = set(getattr(tokenizer, "all_special_ids", ()))
    found = [
        f"answers end with {tokenizer.decode([token])!r}, at which generation does not stop: their "
        "text goes on and is wrong. Add the token to model.generation_config.eos_token_id."
        for token in sorted(ends & special - set(greedy.eos))
    ]
    limit = rope_limit(model)
    astride = [e for e in examples if len(e.prompt_ids) < limit < e.length]
    if astride:
        found.append(
            f"{len(astride)} of {len(examples)} answers cross the {limit} tokens at which this model "
            "changes its positions: there one pass is not what generate does, and exact match is "
            "only near"
        )
    return found


def _cut(example: Example, eos: Sequence[int]) -> Example:
    """The example with its golden answer cut at the first token that ends a generation."""
    ids = example.response_ids
    end = next((i for i, token in enumerate(ids) if token in eos), len(ids) - 1)
    kept = ids[: end + 1]
    return example if kept == ids else dataclasses.replace(example, response_ids=kept)


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
