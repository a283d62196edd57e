from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch
from examples import example, own_answers, random_examples

from heldout.evals import recheck as module
from heldout.evals.decode import Answer
from heldout.evals.fixed_set import Example
from heldout.evals.greedy import Greedy
from heldout.evals.neutral import neutral
from heldout.evals.score import Score, Scorer


def found(example: Example, score: Score) -> Answer:
    """What is known of an answer before anything is decoded."""
    at = score.divergence
    golden = list(example.response_ids)
    return Answer(ids=golden if at is None else [*golden[:at], int(score.said[at])], limit=50)


def recheck(
    model: Any, examples: list[Example], scores: list[Score], greedy: Greedy, most: int = 32
) -> tuple[int, list[str]]:
    said = [found(e, s) for e, s in zip(examples, scores, strict=True)]
    return module.recheck(model, examples, scores, said, greedy, lambda e: e.prompt_ids, most)


def check(model: Any, greedy: Greedy, most: int = 32) -> tuple[int, list[str]]:
    examples = own_answers(model, [e.prompt_ids for e in random_examples(40, 400)], 8)
    with neutral(model):
        scores = Scorer().score(model, examples, greedy)
        return recheck(model, examples, scores, greedy, most)


def test_the_one_pass_and_generate_agree_on_random_examples() -> None:
    model = tiny.model().eval()
    assert check(model, Greedy.of(model)) == (32, [])


def test_a_setting_that_the_one_pass_does_not_know_of_is_found_out() -> None:
    model = tiny.model().eval()
    greedy = Greedy.of(model)
    plain = own_answers(model, [e.prompt_ids for e in random_examples(40, 400)], 8)
    model.generation_config.repetition_penalty = 3.0
    with neutral(model):
        scores = Scorer().score(model, plain, greedy)
        num, wrong = recheck(model, plain, scores, greedy)
    assert num == 32
    assert len(wrong) > 5
    assert set(wrong) <= {each.id for each in plain}


def test_long_answers_are_compared_over_their_first_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    model, lengths = tiny.model().eval(), []
    own = module.generate

    def spy(model: Any, prefixes: Any, length: int, *args: Any, **kwargs: Any) -> Any:
        lengths.append(length)
        return own(model, prefixes, length, *args, **kwargs)

    monkeypatch.setattr(module, "generate", spy)
    monkeypatch.setattr(module, "MOST_TOKENS", 3)
    assert check(model, Greedy.of(model)) == (32, [])
    assert max(lengths) == 3


def test_another_end_token_than_the_golden_one_is_no_mismatch() -> None:
    model = tiny.model().eval()
    prompt = random_examples(1, 400)[0].prompt_ids
    answer = tiny.generate(model, prompt, 4)
    other = (answer[-1] + 1) % 400
    model.generation_config.eos_token_id = [answer[-1], other]
    examples = [example(prompt, [*answer[:-1], other])]
    greedy = Greedy.of(model)
    with neutral(model):
        scores = Scorer().score(model, examples, greedy)
        assert scores[0].correct
        assert recheck(model, examples, scores, greedy) == (1, [])


def test_a_near_tie_is_no_mismatch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.model().eval()
    prompt = random_examples(1, 400)[0].prompt_ids
    top = tiny.generate(model, prompt, 1)[0]
    twin = 399 if top != 399 else 398
    with torch.no_grad():
        model.lm_head.weight[twin] = model.lm_head.weight[top]
    first, second = sorted((top, twin))
    monkeypatch.setattr(module, "generate", lambda *args, **kwargs: [[second]])
    examples = [example(prompt, [first])]
    with neutral(model):
        scores = Scorer().score(model, examples)
        assert scores[0].correct
        assert recheck(model, examples, scores, Greedy()) == (1, [])


def test_what_was_decoded_is_compared_too() -> None:
    model = tiny.model().eval()
    prompt = random_examples(1, 400)[0].prompt_ids
    answer = tiny.generate(model, prompt, 6)
    each = example(prompt, [(answer[0] + 1) % 400, 5])
    wrong = [*answer[:5], (answer[5] + 1) % 400]
    with neutral(model):
        scores = Scorer().score(model, [each])
        for ids, ill in ((answer, []), (wrong, [each.id])):
            said = [Answer(ids=ids, limit=50, decoded=True)]
            assert module.recheck(
                model, [each], scores, said, Greedy(), lambda e: e.prompt_ids
            ) == (1, ill)
