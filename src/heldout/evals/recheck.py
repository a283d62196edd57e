"""Check the one pass against the model's own `generate`, on a few examples at the start of a run."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence

from torch import nn

from heldout.evals.decode import generate
from heldout.evals.fixed_set import Example
from heldout.evals.greedy import Greedy
from heldout.evals.score import Score

NUM_EXAMPLES = 32
MOST_TOKENS = 64
"""Tokens compared of each answer: answers of hundreds of tokens would cost minutes."""


def recheck(
    model: nn.Module,
    examples: Sequence[Example],
    scores: Sequence[Score],
    greedy: Greedy,
    most: int = NUM_EXAMPLES,
) -> tuple[int, list[str]]:
    """Answer up to `most` random examples again with `generate`, one at a time.

    Uses the model's generation config as it is, so that a setting read wrongly shows too. Returns how
    many were compared and the ids of those whose first difference from the golden answer is not where
    the one pass says, near-ties left out: there two runs of `generate` itself may disagree.
    """
    chosen = [i for i, score in enumerate(scores) if score.finite]
    random.Random(len(scores)).shuffle(chosen)
    chosen = sorted(chosen[:most])
    wrong = [i for i in chosen if not _agrees(model, examples[i], scores[i], greedy)]
    return len(chosen), [examples[i].id for i in wrong]


def _agrees(model: nn.Module, example: Example, score: Score, greedy: Greedy) -> bool:
    divergence = score.divergence
    expected = len(example.response_ids) if divergence is None else divergence
    length = min(expected + 1, len(example.response_ids), MOST_TOKENS)
    settings = copy.deepcopy(getattr(model, "generation_config", None))
    said = generate(model, [example.prompt_ids], length, greedy, settings=settings)[0]
    golden = example.response_ids[:length]
    same = next(
        (i for i, (a, b) in enumerate(zip(said, golden, strict=False)) if a != b), len(said)
    )
    ends = set(greedy.eos)
    if (
        same == len(golden) - 1 == len(example.response_ids) - 1
        and {said[same], golden[same]} <= ends
    ):
        same += 1
    if same == min(expected, length):
        return True
    at = min(same, expected)
    return bool(abs(float(score.gap[at])) <= score.noise)
