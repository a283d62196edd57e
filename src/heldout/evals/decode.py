"""Exact match of texts: decode on from where the one pass leaves the golden answer.

Up to its first difference the greedy answer is the golden one, so decoding starts there, with the
golden prefix and the first other token, and only for examples whose text could still be accepted. It
stops as soon as the text no longer can. The decoding is the model's own `generate`, in rounds of
growing length; between rounds the examples that are done leave the batch.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from heldout.evals.budget import Budget
from heldout.evals.fixed_set import Example
from heldout.evals.greedy import Greedy
from heldout.evals.logits import input_device
from heldout.evals.match import Accepted, Match
from heldout.evals.score import NO_LIMIT, Score, rope_limit

FIRST_ROUND = 4
"""Tokens of the first round; each next one doubles. Most texts are settled within a few tokens."""
SLACK = 32
"""Without a limit an answer may take twice the golden answer's tokens and this many more."""


@dataclass(slots=True, kw_only=True)
class Answer:
    """What greedy decoding answers to one example, as far as it had to be decoded."""

    ids: list[int]
    """Response tokens; from the start, an end token included."""
    limit: int
    """Tokens after which `generate(max_new_tokens=limit)` would stop."""
    ended: bool = False
    """Whether decoding stopped by itself (an end token, the limit) and not because nobody asked on."""
    decoded: bool = False
    correct: bool = False
    text: str | None = None
    log_p: float = 0.0
    """Log-probability of `ids`, where they were decoded to their end; NaN where settings changed them."""
    accepted: Accepted = field(default_factory=Accepted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How answers are decoded and compared."""

    tokenizer: Any
    match: Match = field(default_factory=Match)
    max_new_tokens: int | None = None
    full: bool = False
    """Decode every wrong answer to its end."""
    positions: int | None = None
    """The most tokens of prompt and answer together that the model takes; None where any."""

    def limit(self, example: Example) -> int:
        """The most tokens an answer to this example may have."""
        wanted = self.max_new_tokens or 2 * len(example.response_ids) + SLACK
        room = wanted if self.positions is None else self.positions - len(example.prompt_ids)
        return min(wanted, room)

    def token_correct(self, example: Example, score: Score) -> bool:
        """Whether the golden tokens are reproduced within the limit."""
        return score.correct and len(example.response_ids) <= self.limit(example)

    def accepted(self, example: Example, eos: Sequence[int]) -> Accepted:
        """The answers that count: the golden text, its tokens' text, and further references."""
        golden = self.text(example.response_ids, example, eos)
        texts = [golden, example.row.response, *example.row.references]
        return self.match.accepted([example.thinking.off(text) for text in texts])

    def text(self, ids: Sequence[int], example: Example, eos: Sequence[int]) -> str:
        """The text of response tokens without those that end or pad it; label tokens are text."""
        ends = {*eos, example.end, getattr(self.tokenizer, "pad_token_id", None)}
        kept = [token for token in ids if token not in ends]
        options = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
        return str(self.tokenizer.decode(kept, **options))

    def right(self, example: Example, answer: Answer) -> bool:
        """Whether the text of a finished answer is accepted, thoughts taken off on both sides."""
        return self.match.right(example.thinking.off(answer.text or ""), answer.accepted)

    def possible(self, example: Example, answer: Answer) -> bool:
        """Whether the text of an unfinished answer can still become an accepted one."""
        text, thinking = answer.text or "", example.thinking
        return thinking.running(text) or self.match.possible(thinking.off(text), answer.accepted)


def answers(
    model: nn.Module,
    examples: Sequence[Example],
    scores: Sequence[Score],
    greedy: Greedy,
    how: Decoding,
    budget: Budget | None = None,
) -> list[Answer]:
    """Return greedy decoding's answer to each example, decoded only where the one pass cannot tell.

    It can where the golden tokens are reproduced, end token included, or no longer can be.

    The model must be in eval mode and without gradients. An example whose logits are not finite is
    wrong and not decoded. `budget` is in tokens of a batch when a round begins.
    """
    budget = budget or Budget()
    budget.begin(input_device(model))
    found = [_start(e, s, greedy, how) for e, s in zip(examples, scores, strict=True)]
    open_ = [i for i, score in enumerate(scores) if score.finite and not found[i].correct]
    for i in open_:
        found[i].accepted = how.accepted(examples[i], greedy.eos)

    def settle(example: Example, answer: Answer) -> bool:
        """Judge an answer where it stands; True when nothing more needs to be decoded."""
        answer.ended = answer.ids[-1] in greedy.eos or len(answer.ids) >= answer.limit
        if not answer.ended and (how.full or how.match.extract is not None):
            return False  # nothing before the end can settle it
        answer.text = how.text(answer.ids, example, greedy.eos)
        answer.correct = answer.ended and how.right(example, answer)
        return answer.ended or not how.possible(example, answer)

    alone = rope_limit(model) != NO_LIMIT  # there the length of a neighbour changes an answer
    length = FIRST_ROUND
    while open_ := [i for i in open_ if not settle(examples[i], found[i])]:
        todo = list(open_)
        while todo:
            batch = _longest(todo, examples, found, 1 if alone else budget.tokens)
            todo = [i for i in todo if i not in batch]
            some = [found[i] for i in batch]
            for answer in some:
                answer.decoded = True
            try:
                _round(model, [examples[i] for i in batch], some, length, greedy, how, settle)
            except Exception as error:
                budget.shrink([_length(examples[i], found[i]) for i in batch], error)
                todo += [i for i in batch if not settle(examples[i], found[i])]
        length *= 2
    return found


def generate(
    model: Any,
    prefixes: Sequence[Sequence[int]],
    length: int,
    greedy: Greedy,
    processors: Sequence[Callable[[Tensor, Tensor], Tensor]] = (),
    stopping: Sequence[Callable[..., Tensor]] = (),
    settings: Any = None,
) -> list[list[int]]:
    """Return at most `length` greedy tokens after each prefix, by the model's own `generate`.

    `settings` is a generation config to follow; without one decoding is the plain argmax.
    """
    config = settings if settings is not None else type(model.generation_config)()
    config.do_sample, config.num_beams, config.use_cache = False, 1, True
    config.temperature = config.top_p = config.top_k = None
    config.max_length, config.max_new_tokens, config.max_time = None, length, None
    config.num_return_sequences, config.return_dict_in_generate = 1, False
    config.cache_implementation, config.token_healing = None, False
    config.eos_token_id = list(greedy.eos) or None
    config.pad_token_id = greedy.eos[0] if greedy.eos else 0
    width = max(map(len, prefixes))
    device = input_device(model)
    ids_BT = torch.full((len(prefixes), width), config.pad_token_id, dtype=torch.long)
    mask_BT = torch.zeros_like(ids_BT)
    for row, prefix in enumerate(prefixes):
        ids_BT[row, width - len(prefix) :] = torch.tensor(prefix)
        mask_BT[row, width - len(prefix) :] = 1
    with _following(model, config):
        out_BT = model.generate(
            input_ids=ids_BT.to(device),
            attention_mask=mask_BT.to(device),
            generation_config=config,
            logits_processor=list(processors),
            stopping_criteria=list(stopping),
        )
    return [_until_end(row, greedy.eos) for row in out_BT[:, width:].tolist()]


@contextmanager
def _following(model: Any, config: Any) -> Iterator[None]:
    """Let `generate` follow `config` alone: it fills what is unset from the model's own config."""
    getter = getattr(model, "get_base_model", None)
    base = getter() if callable(getter) else model
    own, outer = base.generation_config, vars(model).get("generation_config")
    base.generation_config = model.generation_config = config
    try:
        with warnings.catch_warnings(action="ignore"):  # about lengths that are meant as they are
            yield
    finally:
        if outer is None:
            del model.generation_config
        else:
            model.generation_config = outer
        base.generation_config = own


def _start(example: Example, score: Score, greedy: Greedy, how: Decoding) -> Answer:
    limit, divergence = how.limit(example), score.divergence
    size, last = len(example.response_ids), example.response_ids[-1]
    if how.token_correct(example, score) and (last in greedy.eos or size == limit):
        log_p = -float(score.ce.sum())
        return Answer(
            ids=list(example.response_ids), limit=limit, ended=True, correct=True, log_p=log_p
        )
    if divergence is None:  # right but longer than the limit, or without an end; or not finite
        ids = list(example.response_ids[:limit])
    else:
        ids = [*example.response_ids[:divergence], int(score.said[divergence])][:limit]
    log_p = -float(score.ce[: len(ids) - 1].sum()) + float(np.log(score.confidence[len(ids) - 1]))
    log_p = log_p if greedy.plain else math.nan  # the confidence is of another token than was said
    return Answer(ids=ids, limit=limit, log_p=log_p)


def _round(
    model: nn.Module,
    examples: Sequence[Example],
    found: Sequence[Answer],
    length: int,
    greedy: Greedy,
    how: Decoding,
    settle: Callable[[Example, Answer], bool],
) -> None:
    """Decode at most `length` more tokens of each answer, and stop when all are settled."""
    prefixes = [[*e.prompt_ids, *a.ids] for e, a in zip(examples, found, strict=True)]
    most = max(answer.limit - len(answer.ids) for answer in found)
    if how.positions is not None:  # also those that are done go on, as padding
        most = min(most, how.positions - max(map(len, prefixes)))
    done = [False] * len(found)

    def follow(ids_BT: Tensor, logits_BV: Tensor) -> Tensor:
        changed_BV = logits_BV
        if not greedy.plain:
            prompts = [example.prompt_ids for example in examples]
            changed_BV = greedy.apply(logits_BV, prompts, [answer.ids for answer in found])
        if how.full:
            log_p_BV = logits_BV.float().log_softmax(dim=-1)
            log_p_B = log_p_BV.gather(1, changed_BV.argmax(dim=1, keepdim=True)).squeeze(1)
            for row, log_p in enumerate(log_p_B.tolist()):
                found[row].log_p += 0.0 if done[row] else log_p
        return changed_BV

    def stop(ids_BT: Tensor, logits: Any, **_: Any) -> Tensor:
        for row, last in enumerate(ids_BT[:, -1].tolist()):
            if not done[row]:
                found[row].ids.append(last)
                done[row] = settle(examples[row], found[row])
        return torch.tensor(done, device=ids_BT.device)

    needed = [] if greedy.plain and not how.full else [follow]
    generate(model, prefixes, min(length, most), greedy, needed, [stop])


def _longest(
    todo: Sequence[int], examples: Sequence[Example], found: Sequence[Answer], tokens: int
) -> list[int]:
    """Return the longest of `todo` that fit into a batch of so many padded tokens; at least one."""
    order = sorted(todo, key=lambda i: (-_length(examples[i], found[i]), i))
    return order[: max(1, tokens // _length(examples[order[0]], found[order[0]]))]


def _length(example: Example, answer: Answer) -> int:
    return len(example.prompt_ids) + len(answer.ids)


def _until_end(ids: list[int], eos: Sequence[int]) -> list[int]:
    end = next((i for i, token in enumerate(ids) if token in eos), len(ids))
    return ids[: end + 1]
