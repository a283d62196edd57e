"""The only place where the benchmark touches heldout's engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from subject import Answer, Subject
from torch import nn

from heldout.evals.budget import TOKENS
from heldout.evals.calibration import bin_sums, ece
from heldout.evals.decode import Decoding, answers
from heldout.evals.fixed_set import Example, load
from heldout.evals.greedy import Greedy
from heldout.evals.neutral import neutral
from heldout.evals.rows import Row
from heldout.evals.score import Score, Scorer, batches

Run = Callable[[], Answer]


def token_match(subject: Subject) -> Run:
    """Token EM, CE, entropy and ECE by one pass. How to reach the logits is found out before."""
    scorer, greedy = _ready(subject)

    def run() -> Answer:
        with neutral(subject.model):
            return _answer(scorer.score(subject.model, subject.examples, greedy))

    return run


def string_match(subject: Subject) -> Run:
    """The same, and string EM: decodes what could still become the golden text."""
    scorer, greedy = _ready(subject)

    def run() -> Answer:
        model, examples = subject.model, subject.examples
        with neutral(model):
            scores = scorer.score(model, examples, greedy)
            found = answers(model, examples, scores, greedy, _decoding(subject))
        return _answer(scores, tuple(each.correct for each in found))

    return run


def string_limit(subject: Subject, example: Example) -> int:
    """The most tokens that string EM lets an answer have."""
    return _decoding(subject).limit(example)


def string_hit(subject: Subject, example: Example, ids: Sequence[int]) -> bool:
    """Tell whether a whole answer counts as the golden one by the engine's comparison of texts."""
    decoding = _decoding(subject)
    accepted = decoding.accepted(example, subject.eos_ids)
    return decoding.match.right(decoding.text(ids, subject.eos_ids), accepted)


def plan(subject: Subject) -> list[list[int]]:
    """Return the batches the engine makes, as index lists; the floor runs on the same ones."""
    tokens = TOKENS[subject.model.device.type]
    return list(batches(subject.examples, range(len(subject.examples)), tokens, tokens))


def end_tokens(model: nn.Module, tokenizer: Any) -> tuple[int, ...]:
    """Return the ids that end an answer."""
    return Greedy.of(model, tokenizer).eos


def read_examples(path: Path, tokenizer: Any, num: int) -> tuple[Example, ...]:
    """Load `num` examples spread evenly over the file."""
    return load(path, tokenizer, num).examples


def example(prompt_ids: Sequence[int], response_ids: Sequence[int], text: str = "") -> Example:
    """Wrap token ids as an example whose golden response is `text`."""
    row = Row(line=0, messages=({"role": "assistant", "content": text},))
    return Example(id="", row=row, prompt_ids=tuple(prompt_ids), response_ids=tuple(response_ids))


def _ready(subject: Subject) -> tuple[Scorer, Greedy]:
    scorer, greedy = Scorer(), Greedy.of(subject.model, subject.tokenizer)
    shortest = min(subject.examples, key=lambda e: len(e.prompt_ids) + len(e.response_ids))
    with neutral(subject.model):
        scorer.score(subject.model, [shortest], greedy)
    return scorer, greedy


def _decoding(subject: Subject) -> Decoding:
    return Decoding(tokenizer=subject.tokenizer, max_new_tokens=subject.max_new_tokens)


def _answer(scores: Sequence[Score], hits: tuple[bool, ...] | None = None) -> Answer:
    sums = np.sum([bin_sums(score.confidence, score.hit) for score in scores], axis=0)
    return Answer(
        hits=tuple(score.correct for score in scores) if hits is None else hits,
        ce=float(np.concatenate([score.ce for score in scores]).mean()),
        entropy=float(np.concatenate([score.entropy for score in scores]).mean()),
        ece=ece(sums),
    )
