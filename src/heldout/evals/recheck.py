"""Check what was found against the model's own `generate`, on a few examples at the start of a run."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from heldout.evals.decode import Answer, generate
from heldout.evals.fixed_set import Example
from heldout.evals.greedy import Greedy
from heldout.evals.score import NOISE, Score

NUM_EXAMPLES = 32
MOST_TOKENS = 64
"""Tokens compared of each answer: answers of hundreds of tokens would cost minutes."""


def recheck(
    model: nn.Module,
    examples: Sequence[Example],
    scores: Sequence[Score],
    answers: Sequence[Answer],
    greedy: Greedy,
    asked: Callable[[Example], Sequence[int]],
    most: int = NUM_EXAMPLES,
) -> tuple[int, list[str]]:
    """Answer up to `most` random examples again with `generate`, one at a time.

    `asked` gives the prompt that a served model gets for an example (see `served`).

    Uses the model's generation config, so that a setting read wrongly shows too. Returns how many were
    compared and the ids of those it answers otherwise: it leaves the golden answer elsewhere than the
    one pass says, or goes on there otherwise than was decoded. Near-ties are left out, and in coarse
    arithmetic what comes behind the first difference: there two runs of `generate` may disagree.
    """
    chosen = [i for i, score in enumerate(scores) if score.finite]
    random.Random(len(scores)).shuffle(chosen)
    chosen = sorted(chosen[:most])
    wrong = [
        i
        for i in chosen
        if not _agrees(model, asked(examples[i]), examples[i], scores[i], answers[i].ids, greedy)
    ]
    return len(chosen), [examples[i].id for i in wrong]


def served(example: Example, tokenizer: Any) -> Sequence[int]:
    """The prompt that a served model gets, made anew by the tokenizer, so that a wrong one is found out.

    Where the set says that training has another prompt than serving, the one that is scored.
    """
    row = example.row
    if example.unlike:
        return example.prompt_ids
    if not getattr(tokenizer, "chat_template", None):
        return list(tokenizer(row.messages[0]["content"])["input_ids"])
    options = {"tools": list(row.tools) or None, **row.template_kwargs}
    said = tokenizer.apply_chat_template(
        list(row.messages[:-1]), add_generation_prompt=True, return_dict=True, **options
    )
    return list(said["input_ids"])


def _agrees(
    model: nn.Module,
    prompt_ids: Sequence[int],
    example: Example,
    score: Score,
    expected: Sequence[int],
    greedy: Greedy,
) -> bool:
    length = min(len(expected), MOST_TOKENS)
    settings = copy.deepcopy(getattr(model, "generation_config", None))
    said = generate(model, [prompt_ids], length, greedy, settings=settings)[0]
    at = next((i for i in range(length) if said[i : i + 1] != [expected[i]]), None)
    if at is None:
        return True
    if at < len(said) and {said[at], expected[at]} <= set(greedy.eos):
        return True  # another end token
    divergence = len(example.response_ids) if score.divergence is None else score.divergence
    if at < divergence:
        return bool(abs(float(score.gap[at])) <= score.noise)
    if at == divergence and at < len(example.response_ids):
        other = said[at : at + 1] != [example.response_ids[at]]  # wrong too, only otherwise
        return other or bool(abs(float(score.gap[at])) <= score.noise)
    return score.noise > NOISE[torch.float32]
