"""Examples as token ids, for models whose vocabulary means nothing."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import tiny

from heldout.evals.fixed_set import Example, Row

ROW = Row(
    line=1, messages=({"role": "user", "content": "q"}, {"role": "assistant", "content": "a"})
)


def example(prompt: Sequence[int], response: Sequence[int], name: str = "x") -> Example:
    return Example(id=name, row=ROW, prompt_ids=tuple(prompt), response_ids=tuple(response))


def random_examples(n: int, vocab: int, seed: int = 0, longest: int = 12) -> list[Example]:
    draw = random.Random(seed)

    def ids(most: int) -> list[int]:
        return [draw.randrange(2, vocab) for _ in range(draw.randint(1, most))]

    return [example(ids(20), ids(longest), str(i)) for i in range(n)]


def own_answers(model: Any, prompts: Sequence[Sequence[int]], length: int) -> list[Example]:
    """The model's own greedy answers, every second one with one token changed."""
    draw, found = random.Random(1), []
    for i, prompt in enumerate(prompts):
        answer = tiny.generate(model, prompt, length)
        if i % 2:
            at = draw.randrange(len(answer))
            answer[at] = (answer[at] + 1) % model.config.vocab_size
        found.append(example(prompt, answer, str(i)))
    return found
