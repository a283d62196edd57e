from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
import tiny
import torch
from examples import random_examples

from heldout.evals import decode as module
from heldout.evals.budget import Budget
from heldout.evals.decode import Answer, Decoding, answers
from heldout.evals.fixed_set import Example, Row
from heldout.evals.greedy import Greedy
from heldout.evals.match import LAST_NUMBER, Match
from heldout.evals.neutral import neutral
from heldout.evals.score import Score, Scorer

MATCHES = [
    Match(),
    Match(case=True, whitespace=True),
    Match(extract=r"([a-z]+)"),
    Match(extract=LAST_NUMBER),
]
LIMIT = 9


def talkative(**settings: Any) -> Any:
    """A random model whose answers end now and then, after a few tokens."""
    model = tiny.model().eval()
    with torch.no_grad():
        model.lm_head.weight[0] *= 3.5
    for name, value in settings.items():
        setattr(model.generation_config, name, value)
    return model


def near_misses(model: Any, tokenizer: Any, n: int = 80) -> list[Example]:
    """Golden answers that are the model's own text in other tokens, case or space, or cut, or other."""
    draw, found = random.Random(3), []
    for i, each in enumerate(random_examples(n, 400, seed=5)):
        text = tokenizer.decode(
            tiny.generate(model, each.prompt_ids, LIMIT), skip_special_tokens=True
        )
        text = draw.choice([text, text, text.upper(), f"{text} ", text[: len(text) // 2], "no 7"])
        text = text if text.strip() else "x"
        ids = (*tokenizer(text)["input_ids"], tokenizer.eos_token_id)
        turns = ({"role": "user", "content": "q"}, {"role": "assistant", "content": text})
        row = Row(line=i, messages=turns)
        found.append(
            Example(id=str(i), row=row, prompt_ids=each.prompt_ids, response_ids=tuple(ids))
        )
    return found


def decoded(
    model: Any, examples: Sequence[Example], how: Decoding
) -> tuple[list[Score], list[Answer]]:
    greedy = Greedy.of(model, how.tokenizer)
    with neutral(model):
        scores = Scorer().score(model, examples, greedy)
        return scores, answers(model, examples, scores, greedy, how)


def full_text(model: Any, each: Example, how: Decoding) -> str:
    """The slow way: the whole answer by `generate`, one example alone."""
    ids = tiny.generate(model, each.prompt_ids, how.limit(each))
    return how.text(ids, each, Greedy.of(model, how.tokenizer).eos)


@pytest.mark.parametrize("match", MATCHES, ids=repr)
def test_string_exact_match_is_that_of_full_generation(match: Match, tokenizer: Any) -> None:
    model = talkative()
    how = Decoding(tokenizer=tokenizer, match=match, max_new_tokens=LIMIT)
    examples = near_misses(model, tokenizer)
    scores, found = decoded(model, examples, how)
    expected = [
        match.right(full_text(model, each, how), how.accepted(each, [0])) for each in examples
    ]
    assert [answer.correct for answer in found] == expected
    tokens = [how.token_correct(e, s) for e, s in zip(examples, scores, strict=True)]
    assert sum(tokens) < sum(expected) < len(expected), "the cases tell the two apart"
    assert all(string for string, token in zip(expected, tokens, strict=True) if token)


@pytest.mark.parametrize(
    "settings",
    [
        {"repetition_penalty": 1.4},
        {"min_new_tokens": 6, "no_repeat_ngram_size": 2},
        {
            "begin_suppress_tokens": list(range(1, 200)),
            "bad_words_ids": [[i, i] for i in range(400)],
        },
    ],
    ids=lambda s: ", ".join(s),
)
def test_decoding_on_follows_the_models_generation_settings(
    settings: dict[str, Any], tokenizer: Any
) -> None:
    model = talkative(**settings)
    how = Decoding(tokenizer=tokenizer, max_new_tokens=LIMIT, full=True)
    examples = near_misses(model, tokenizer, 40)
    _, found = decoded(model, examples, how)
    for each, answer in zip(examples, found, strict=True):
        assert answer.ids == tiny.generate(model, each.prompt_ids, LIMIT)


def test_full_decoding_gives_the_whole_text_and_its_probability(tokenizer: Any) -> None:
    model = talkative()
    how = Decoding(tokenizer=tokenizer, max_new_tokens=LIMIT, full=True)
    examples = near_misses(model, tokenizer, 30)
    _, found = decoded(model, examples, how)
    for each, answer in zip(examples, found, strict=True):
        ids = tiny.generate(model, each.prompt_ids, LIMIT)
        assert answer.ended
        assert answer.ids == ids
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*each.prompt_ids, *ids]])).logits[0]
        log_p = logits[len(each.prompt_ids) - 1 : -1].log_softmax(-1)
        expected = log_p.gather(1, torch.tensor(ids)[:, None]).sum().item()
        assert answer.log_p == pytest.approx(expected, rel=1e-3)


def test_few_tokens_are_decoded_where_the_text_went_another_way(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, lengths = talkative(), []
    own = module.generate

    def spy(model: Any, prefixes: Any, *args: Any, **kwargs: Any) -> Any:
        lengths.append(len(prefixes))
        return own(model, prefixes, *args, **kwargs)

    monkeypatch.setattr(module, "generate", spy)
    examples = near_misses(model, tokenizer)
    scores, found = decoded(model, examples, Decoding(tokenizer=tokenizer, max_new_tokens=LIMIT))
    failures = sum(not score.correct for score in scores)
    assert 0 < sum(answer.decoded for answer in found) < failures
    wrong = [a for a in found if not a.correct]
    assert all(answer.text is not None for answer in wrong)
    pruned = [answer for answer in wrong if not answer.ended]
    assert pruned
    assert not any(answer.correct for answer in pruned)


def test_an_answer_longer_than_the_limit_fails_by_token_as_in_generate(tokenizer: Any) -> None:
    model = tiny.model().eval()
    prompt = random_examples(1, 400)[0].prompt_ids
    ids = tiny.generate(model, prompt, 6)
    text = tokenizer.decode(ids)
    turns = ({"role": "user", "content": "q"}, {"role": "assistant", "content": text})
    each = Example(
        id="x", row=Row(line=1, messages=turns), prompt_ids=prompt, response_ids=tuple(ids)
    )
    for limit, by_token, by_text in ((6, True, True), (5, False, False), (None, True, False)):
        how = Decoding(tokenizer=tokenizer, max_new_tokens=limit)
        scores, found = decoded(model, [each], how)
        assert how.token_correct(each, scores[0]) is by_token
        assert found[0].correct is by_text, "without an end token the answer goes on"


def test_a_poisoned_model_is_wrong_and_not_decoded(tokenizer: Any) -> None:
    model = talkative()
    examples = near_misses(model, tokenizer, 5)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] = float("nan")
    _, found = decoded(model, examples, Decoding(tokenizer=tokenizer))
    assert [(a.correct, a.decoded) for a in found] == [(False, False)] * 5


@pytest.mark.parametrize("late", [False, True], ids=["at once", "when tokens were said"])
def test_when_memory_runs_out_while_decoding_batches_shrink_and_no_answer_changes(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    model, sizes, own = talkative(), [], module.generate
    how = Decoding(tokenizer=tokenizer, max_new_tokens=LIMIT, full=True)
    examples = near_misses(model, tokenizer, 30)
    greedy, budget = Greedy.of(model, tokenizer), Budget()

    def small(model: Any, prefixes: Any, *args: Any, **kwargs: Any) -> Any:
        if len(prefixes) <= 5:
            sizes.append(len(prefixes))
            return own(model, prefixes, *args, **kwargs)
        if late:
            own(model, prefixes, *args, **kwargs)
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with neutral(model):
        scores = Scorer().score(model, examples, greedy)
        expected = answers(model, examples, scores, greedy, how)
        monkeypatch.setattr(module, "generate", small)
        found = answers(model, examples, scores, greedy, how, budget)
    assert [answer.ids for answer in found] == [answer.ids for answer in expected]
    assert [answer.correct for answer in found] == [answer.correct for answer in expected]
    assert late or sizes
    assert "memory ran out" in budget.remarks[0]


def test_both_exact_matches_are_those_of_generate_on_a_pretrained_model(smollm2: Any) -> None:
    model, tokenizer = smollm2
    examples, said = [], []
    for i, question in enumerate(f"What is {a} plus {b}?" for a in (2, 3) for b in (2, 4, 6)):
        asked = [{"role": "user", "content": question}]
        prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=False)
        ids = tiny.generate(model.eval(), prompt, LIMIT)
        text = tokenizer.decode(ids, skip_special_tokens=True)
        golden = [text, f" {text.upper()}", text[:4]][i % 3]
        tokens = ids if i % 3 == 0 else tokenizer(golden)["input_ids"]
        row = Row(line=i, messages=(*asked, {"role": "assistant", "content": golden}))
        examples.append(
            Example(id=str(i), row=row, prompt_ids=tuple(prompt), response_ids=tuple(tokens))
        )
        said.append(ids)
    how = Decoding(tokenizer=tokenizer, match=Match(case=True), max_new_tokens=LIMIT)
    eos = Greedy.of(model, tokenizer).eos
    scores, found = decoded(model, examples, how)
    for each, score, answer, ids in zip(examples, scores, found, said, strict=True):
        length = len(each.response_ids)
        assert score.correct == (ids[:length] == list(each.response_ids))
        assert answer.correct == how.match.right(how.text(ids, each, eos), how.accepted(each, eos))
    assert 0 < sum(answer.correct for answer in found) < len(found)
