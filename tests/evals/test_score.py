from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from examples import example, own_answers, random_examples

from heldout.errors import ModelError
from heldout.evals.fixed_set import Example
from heldout.evals.greedy import Greedy
from heldout.evals.logits import output_head
from heldout.evals.neutral import neutral
from heldout.evals.score import Score, Scorer, batches, rope_limit


def score(model: Any, examples: Sequence[Example], eos: Sequence[int] = ()) -> list[Score]:
    with neutral(model):
        return Scorer().score(model, examples, Greedy(eos=tuple(eos)))


def test_the_one_pass_agrees_with_generate_token_by_token() -> None:
    model = tiny.model().eval()
    prompts = [e.prompt_ids for e in random_examples(60, 400)]
    examples = own_answers(model, prompts, 10)
    scores = score(model, examples, [0])
    for each, found in zip(examples, scores, strict=True):
        greedy = tiny.generate(model, each.prompt_ids, len(each.response_ids))
        assert found.correct == (greedy == list(each.response_ids))
        until = len(greedy) if found.divergence is None else found.divergence + 1
        golden = [*each.response_ids[: until - 1], int(found.said[until - 1])]
        assert greedy[:until] == golden
    assert 0.3 < np.mean([found.correct for found in scores]) < 0.7


def test_only_response_rows_reach_the_output_head() -> None:
    model, seen = tiny.model(), []
    head = output_head(model)
    assert head is not None
    examples = random_examples(40, 400)
    scorer = Scorer()
    scorer.way = "chunks"
    head.register_forward_hook(lambda module, args, out: seen.append(args[0].shape[1]))
    with neutral(model):
        scorer.score(model, examples)
    rows = [n for n in seen if n > 1]  # after its chunks each pass goes on with one row
    assert sum(rows) == sum(len(e.response_ids) for e in examples)
    assert sum(seen) - sum(rows) == len(rows)


def test_batching_changes_no_score() -> None:
    model, examples = tiny.model(), random_examples(40, 400)
    together, alone = Scorer(), Scorer()
    alone.budget.tokens = 1
    with neutral(model):
        pairs = zip(together.score(model, examples), alone.score(model, examples), strict=True)
        for a, b in pairs:
            np.testing.assert_allclose(a.ce, b.ce, rtol=1e-4, atol=1e-5)
            assert a.divergence == b.divergence


def test_batches_hold_every_example_once_longest_first_within_both_budgets() -> None:
    examples = random_examples(200, 400, longest=60)
    found = list(batches(examples, range(200), most_tokens=500, most_rows=200))
    lengths = [len(e.prompt_ids) + len(e.response_ids) for e in examples]
    assert sorted(i for batch in found for i in batch) == list(range(200))
    assert [lengths[b[0]] for b in found] == sorted((lengths[b[0]] for b in found), reverse=True)
    for batch in found:
        rows = sum(len(examples[i].response_ids) for i in batch)
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= 500
        assert len(batch) == 1 or rows <= 200


def test_little_of_the_work_is_padding_when_lengths_differ() -> None:
    draw = random.Random(0)
    lengths = [draw.choice([20, 30, 50, 80, 200, 400]) for _ in range(300)]
    examples = [example([1] * (n - 5), [1] * 5) for n in lengths]
    found = batches(examples, range(300), most_tokens=4096, most_rows=4096)
    assert sum(len(b) * lengths[b[0]] for b in found) < 1.15 * sum(lengths)


def test_any_end_token_may_end_a_response_that_ends_with_one_but_counts_nowhere_else() -> None:
    model = tiny.model().eval()
    prompt = random_examples(1, 400)[0].prompt_ids
    answer = tiny.generate(model, prompt, 3)
    other = (answer[-1] + 1) % 400
    ended = example(prompt, [*answer[:-1], other])
    assert not score(model, [ended])[0].correct
    assert score(model, [ended], [answer[-1], other])[0].correct
    assert not score(model, [ended], [answer[-1]])[0].correct, "the golden answer goes on"
    first = example(prompt, [(answer[0] + 1) % 400, *answer[1:]])
    assert not score(model, [first], [answer[0], (answer[0] + 1) % 400])[0].correct


def test_poisoned_weights_make_every_example_wrong_and_not_finite() -> None:
    model = tiny.model()
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] = float("nan")
    for found in score(model, random_examples(10, 400)):
        assert not found.finite
        assert not found.correct
        assert np.isnan(found.ce).all()


def test_of_equal_logits_the_first_is_said_as_generate_does_and_it_is_a_near_tie() -> None:
    model = tiny.model().eval()
    prompt = random_examples(1, 400)[0].prompt_ids
    top = tiny.generate(model, prompt, 1)[0]
    twin = 399 if top != 399 else 398
    with torch.no_grad():
        model.lm_head.weight[twin] = model.lm_head.weight[top]
    first, second = sorted((top, twin))
    a, b = score(model, [example(prompt, [first]), example(prompt, [second])])
    assert (a.correct, b.correct) == (True, False)
    assert (a.near_tie, b.near_tie) == (True, True)
    assert tiny.generate(model, prompt, 1) == [first]


def test_a_clear_answer_is_no_near_tie() -> None:
    model = tiny.model().eval()
    prompt = random_examples(1, 400)[0].prompt_ids
    answer = tiny.generate(model, prompt, 1)
    with torch.no_grad():
        model.lm_head.weight *= 10
    assert not score(model, [example(prompt, answer)])[0].near_tie


def test_scoring_restores_modes_and_random_states_also_when_it_fails() -> None:
    model = tiny.lora_model(lora_dropout=0.1).train()
    model.base_model.model.model.layers[0].eval()
    flags = [m.training for m in model.modules()]
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    score(model, random_examples(5, 400))
    with pytest.raises(IndexError):
        score(model, [example([1], [5]), example([1, 1], [10_000, 1])])
    assert [m.training for m in model.modules()] == flags
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert (np.random.get_state()[1] == before[2]).all()  # noqa: NPY002
    head = output_head(model)
    assert head is not None
    assert not head._forward_pre_hooks


class Memory:
    """Makes a model's forward pass refuse batches of more than `most` padded tokens."""

    def __init__(self, model: Any, most: int) -> None:
        self.most, self.seen = most, []
        model.register_forward_pre_hook(self, with_kwargs=True)

    def __call__(self, model: Any, args: Any, kwargs: Any) -> None:
        size = kwargs["input_ids"].numel()
        if size > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        self.seen.append(size)


def test_when_memory_runs_out_batches_shrink_and_it_says_so_and_remembers() -> None:
    model, examples, scorer = tiny.model(), random_examples(60, 400), Scorer()
    with neutral(model):
        expected = scorer.score(model, examples)
        memory = Memory(model, 100)
        found = scorer.score(model, examples)
        shrunk = scorer.budget.tokens
        scorer.score(model, examples)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.ce, b.ce, rtol=1e-4, atol=1e-5)
    assert max(memory.seen) <= 100
    assert "memory ran out" in scorer.budget.remarks[0]
    assert scorer.budget.tokens == shrunk <= 100


def test_an_example_too_large_for_the_memory_is_a_clear_error() -> None:
    model = tiny.model()
    Memory(model, 10)
    scorer = Scorer()
    scorer.way = "chunks"
    with neutral(model), pytest.raises(ModelError, match="12 tokens does not fit into memory"):
        scorer.score(model, [example([1] * 6, [1] * 6)])


def rope_model(kind: str) -> Any:
    rope: dict[str, Any] = {"rope_type": kind, "rope_theta": 10_000.0, "factor": 4.0}
    if kind == "longrope":
        rope |= {"short_factor": [1.0] * 8, "long_factor": [4.0] * 8}
        rope["original_max_position_embeddings"] = 16
    return tiny.model(
        rope_parameters=rope, max_position_embeddings=64 if kind == "longrope" else 16
    )


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_a_long_neighbour_or_an_earlier_one_does_not_change_a_short_answer(kind: str) -> None:
    model = rope_model(kind)
    assert rope_limit(model) == 16
    short, long = example([5, 6, 7], [8, 9]), example([5] * 20, [6] * 10)
    alone = score(model, [short])[0]
    beside = score(model, [long, short])[1]
    np.testing.assert_allclose(beside.ce, alone.ce, rtol=1e-5)


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_positions_that_adapt_to_long_batches_are_as_before_for_training(kind: str) -> None:
    model = rope_model(kind).train()
    ids = torch.arange(2, 12)[None]
    before = model(input_ids=ids).logits
    score(model, [example([5] * 20, [6] * 10)])
    assert torch.equal(model(input_ids=ids).logits, before)


def test_an_ordinary_model_has_no_limit_of_positions() -> None:
    assert rope_limit(tiny.model()) > 10**9


def test_the_noise_is_that_of_the_coarsest_number_type_on_the_way() -> None:
    model = tiny.model().eval()
    examples = random_examples(2, 400)
    exact = score(model, examples)[0].noise
    model.model.to(torch.bfloat16)
    model.lm_head.to(torch.float32)
    head = output_head(model)
    assert head is not None
    head.register_forward_pre_hook(lambda module, args: (args[0].float(),))
    assert score(model, examples)[0].noise > 100 * exact


def test_what_a_module_does_on_train_and_eval_is_not_called_for() -> None:
    calls = []

    class Merging(torch.nn.Linear):
        def train(self, mode: bool = True) -> Any:
            calls.append(mode)
            return super().train(mode)

    model = tiny.model().train()
    model.extra = Merging(2, 2)
    score(model, random_examples(2, 400))
    assert calls == []
    assert model.extra.training
