from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch
from examples import example, random_examples

from heldout.errors import ModelError
from heldout.evals.greedy import Greedy
from heldout.evals.neutral import neutral
from heldout.evals.score import Scorer

SETTINGS: list[dict[str, Any]] = [
    {},
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.8, "no_repeat_ngram_size": 2},
    {"no_repeat_ngram_size": 1},
    {"min_new_tokens": 5},
    {"min_length": 9},
    {"suppress_tokens": list(range(2, 200))},
    {"begin_suppress_tokens": list(range(2, 300))},
    {"bad_words_ids": [[i] for i in range(2, 100)] + [[0]]},
    {"bad_words_ids": [[i, i] for i in range(1, 400)] + [[300, 301, 302]]},
]


def model_with(settings: dict[str, Any]) -> Any:
    model = tiny.model().eval()
    with torch.no_grad():
        model.lm_head.weight[0] *= 4  # answers do end
    for name, value in settings.items():
        setattr(model.generation_config, name, value)
    return model


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: ", ".join(s) or "none")
def test_one_pass_says_what_generate_says_under_a_models_own_settings(
    settings: dict[str, Any],
) -> None:
    model = model_with(settings)
    greedy = Greedy.of(model)
    prompts = [e.prompt_ids for e in random_examples(40, 400)]
    said = [tiny.generate(model, prompt, 8) for prompt in prompts]
    examples = [example(p, s) for p, s in zip(prompts, said, strict=True)]
    plain = [example(p, tiny.generate(model_with({}), p, 8)) for p in prompts]
    with neutral(model):
        scores = Scorer().score(model, examples, greedy)
        others = Scorer().score(model, plain, greedy)
    assert all(score.correct for score in scores)
    for each, score, own in zip(plain, others, said, strict=True):
        expected = own[: len(each.response_ids)] == list(each.response_ids)
        assert score.correct == expected
    assert (all(s.correct for s in others)) == (greedy.plain)


def test_cross_entropy_is_of_the_models_own_distribution_whatever_the_settings() -> None:
    examples = random_examples(10, 400)
    plain, changed = model_with({}), model_with({"repetition_penalty": 1.5})
    with neutral(plain), neutral(changed):
        a = Scorer().score(plain, examples, Greedy.of(plain))
        b = Scorer().score(changed, examples, Greedy.of(changed))
    for x, y in zip(a, b, strict=True):
        assert x.ce == pytest.approx(y.ce)
        assert x.hit.tolist() == y.hit.tolist()


def test_every_token_that_ends_a_generation_is_found() -> None:
    model, tokenizer = tiny.model(), tiny.tokenizer()
    model.generation_config.eos_token_id = [7, 5]
    assert Greedy.of(model, tokenizer).eos == (0, 5, 7)
    model.generation_config.eos_token_id = None
    assert Greedy.of(model).eos == ()


def test_a_setting_that_cannot_be_followed_is_refused_by_name() -> None:
    model = tiny.model()
    model.generation_config.sequence_bias = {(5,): 2.0}
    with pytest.raises(ModelError, match=r"generation_config.sequence_bias = .* = None"):
        Greedy.of(model)


def test_a_model_without_a_generation_config_decodes_plainly() -> None:
    assert Greedy.of(torch.nn.Linear(1, 1)).plain
