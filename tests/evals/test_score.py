from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, Gemma2Config, GPT2Config, Qwen3Config

from heldout.evals import score as module
from heldout.evals.fixed_set import Example, Row
from heldout.evals.score import batches, head_rows, output_head, score

ROW = Row(
    line=1, messages=({"role": "user", "content": "q"}, {"role": "assistant", "content": "a"})
)


def example(prompt: list[int], response: list[int]) -> Example:
    return Example(id="x", row=ROW, prompt_ids=tuple(prompt), response_ids=tuple(response))


def random_examples(n: int, vocab: int, seed: int = 0, longest: int = 12) -> list[Example]:
    draw = random.Random(seed)

    def ids(most: int) -> list[int]:
        return [draw.randrange(2, vocab) for _ in range(draw.randint(1, most))]

    return [example(ids(20), ids(longest)) for _ in range(n)]


def generate(model: Any, prompt: tuple[int, ...], length: int) -> list[int]:
    with torch.no_grad():
        out = model.generate(
            input_ids=torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            do_sample=False,
            max_new_tokens=length,
            pad_token_id=0,
        )
    return out[0, len(prompt) :].tolist()


def own_answers(model: Any, prompts: list[tuple[int, ...]], length: int) -> list[Example]:
    """The model's own greedy answers, every second one with one token changed."""
    draw, found = random.Random(1), []
    for i, prompt in enumerate(prompts):
        answer = generate(model, prompt, length)
        if i % 2:
            at = draw.randrange(len(answer))
            answer[at] = (answer[at] + 1) % model.config.vocab_size
        found.append(example(list(prompt), answer))
    return found


def test_the_one_pass_agrees_with_generate_token_by_token() -> None:
    model = tiny.model().eval()
    prompts = [e.prompt_ids for e in random_examples(60, 400)]
    examples = own_answers(model, prompts, 10)
    scores = score(model, examples, [0])
    for i, each in enumerate(examples):
        greedy = generate(model, each.prompt_ids, len(each.response_ids))
        assert scores.correct[i] == (greedy == list(each.response_ids))
    assert 0.3 < scores.correct.mean() < 0.7


@pytest.mark.slow
def test_the_one_pass_agrees_with_generate_on_a_pretrained_model(smollm2: Any) -> None:
    model, tokenizer = smollm2
    questions = [f"What is {a} plus {b}?" for a in (2, 3) for b in (2, 4, 6)]
    prompts = [
        tuple(
            tokenizer.apply_chat_template(
                [{"role": "user", "content": q}], add_generation_prompt=True, return_dict=False
            )
        )
        for q in questions
    ]
    examples = own_answers(model.eval(), prompts, 6)
    scores = score(model, examples, [tokenizer.eos_token_id])
    greedy = [generate(model, e.prompt_ids, len(e.response_ids)) for e in examples]
    expected = [g == list(e.response_ids) for g, e in zip(greedy, examples, strict=True)]
    assert scores.correct.tolist() == expected
    assert 0 < sum(expected) < len(expected)


def models() -> list[Any]:
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 90}
    kv = {"num_key_value_heads": 1, "head_dim": 16, "intermediate_size": 48}
    gpt2 = GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=90, bos_token_id=0, eos_token_id=0)
    return [
        Qwen3Config(**small, **kv),
        Gemma2Config(**small, **kv, final_logit_softcapping=5.0, query_pre_attn_scalar=16),
        gpt2,
    ]


@pytest.mark.parametrize("config", models(), ids=lambda config: config.model_type)
def test_every_statistic_equals_the_slow_computation_from_full_logits(config: Any) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    examples = random_examples(30, 90)
    scores = score(model, examples)
    for i, each in enumerate(examples):
        ids = torch.tensor([each.prompt_ids + each.response_ids])
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, len(each.prompt_ids) - 1 : -1].double()
        gold = torch.tensor(each.response_ids)
        log_p = torch.log_softmax(logits, -1)
        ce = functional.nll_loss(log_p, gold, reduction="sum")
        hits = logits.argmax(-1) == gold
        assert scores.ce_sum[i] == pytest.approx(ce.item(), rel=1e-4)
        assert scores.entropy_sum[i] == pytest.approx(-(log_p.exp() * log_p).sum().item(), rel=1e-4)
        assert scores.hits[i] == hits.sum()
        assert scores.bins[i, :, 1].sum() == pytest.approx(
            log_p.max(-1).values.exp().sum().item(), rel=1e-4
        )


def test_only_response_rows_reach_the_output_head() -> None:
    model, seen = tiny.model(), []
    head = output_head(model)
    assert head is not None
    head.register_forward_hook(lambda module, args, out: seen.append(args[0].shape[1]))
    examples = random_examples(40, 400)
    score(model, examples)
    assert sum(seen) == sum(len(e.response_ids) for e in examples)


def test_a_model_without_a_head_to_hook_gives_the_same_scores() -> None:
    model, examples = tiny.model(), random_examples(20, 400)
    expected = score(model, examples)
    model.get_output_embeddings = lambda: None
    found = score(model, examples)
    np.testing.assert_allclose(found.ce_sum, expected.ce_sum, rtol=1e-5)
    assert found.divergence.tolist() == expected.divergence.tolist()


def test_batching_changes_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    model, examples = tiny.model(), random_examples(40, 400)
    together = score(model, examples)
    monkeypatch.setattr(module, "TOKEN_BUDGET", 1)
    alone = score(model, examples)
    np.testing.assert_allclose(alone.ce_sum, together.ce_sum, rtol=1e-5)
    assert alone.divergence.tolist() == together.divergence.tolist()


def test_batches_hold_every_example_once_longest_first_within_both_budgets() -> None:
    examples = random_examples(200, 400, longest=60)
    found = list(batches(examples, vocabulary=2**18))
    lengths = [len(e.prompt_ids) + len(e.response_ids) for e in examples]
    assert sorted(i for batch in found for i in batch) == list(range(200))
    assert [lengths[b[0]] for b in found] == sorted((lengths[b[0]] for b in found), reverse=True)
    for batch in found:
        rows = sum(len(examples[i].response_ids) for i in batch)
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= 4096
        assert len(batch) == 1 or rows * 2**18 <= module.LOGIT_BUDGET


def test_little_of_the_work_is_padding_when_lengths_differ() -> None:
    draw = random.Random(0)
    lengths = [draw.choice([20, 30, 50, 80, 200, 400]) for _ in range(300)]
    examples = [example([1] * (n - 5), [1] * 5) for n in lengths]
    padded = sum(len(b) * lengths[b[0]] for b in batches(examples, vocabulary=400))
    assert padded < 1.15 * sum(lengths)


def test_any_end_token_may_end_a_response_that_ends_with_one_but_counts_nowhere_else() -> None:
    model = tiny.model().eval()
    prompt = random_examples(1, 400)[0].prompt_ids
    answer = generate(model, prompt, 3)
    other = (answer[-1] + 1) % 400
    ended = example(list(prompt), [*answer[:-1], other])
    assert not score(model, [ended]).correct[0]
    assert score(model, [ended], [answer[-1], other]).correct[0]
    assert not score(model, [ended], [answer[-1]]).correct[0], "the golden answer goes on"
    first = example(list(prompt), [(answer[0] + 1) % 400, *answer[1:]])
    assert not score(model, [first], [answer[0], (answer[0] + 1) % 400]).correct[0]


def test_poisoned_weights_make_every_example_wrong_and_not_finite() -> None:
    model = tiny.model()
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] = float("nan")
    scores = score(model, random_examples(10, 400))
    assert not scores.finite.any()
    assert not scores.correct.any()
    assert np.isnan(scores.ce_sum).all()


def test_scoring_restores_modes_and_random_states_also_when_it_fails() -> None:
    model = tiny.lora_model(lora_dropout=0.1).train()
    model.base_model.model.model.layers[0].eval()
    flags = [m.training for m in model.modules()]
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    score(model, random_examples(5, 400))
    with pytest.raises(IndexError):
        score(model, [example([1], [10_000])])
    assert [m.training for m in model.modules()] == flags
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert (np.random.get_state()[1] == before[2]).all()  # noqa: NPY002
    head = output_head(model)
    assert head is not None
    assert not head._forward_pre_hooks


def test_the_hook_leaves_other_calls_of_the_head_alone() -> None:
    model = tiny.model().eval()
    ids = torch.tensor([[5, 6, 7]])
    with head_rows(model, torch.ones(2, 9, dtype=torch.bool)), torch.no_grad():
        assert model(input_ids=ids).logits.shape == (1, 3, 400)
