from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import transformers
from examples import random_examples
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from torch.nn import functional
from transformers import AutoModelForCausalLM

from heldout.evals.greedy import Greedy
from heldout.evals.logits import CHUNK_LOGITS, Inputs, choose, output_head, read
from heldout.evals.neutral import neutral
from heldout.evals.score import Score, Scorer

SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "intermediate_size": 48,
    "vocab_size": 90,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "Llama": {},
    "Qwen3": {"tie_word_embeddings": True},
    "Qwen3Moe": {**EXPERTS, "moe_intermediate_size": 24, "decoder_sparse_step": 1},
    "Gemma2": {"final_logit_softcapping": 5.0, "query_pre_attn_scalar": 16},
    "Gemma3Text": {"query_pre_attn_scalar": 16, "layer_types": ["full_attention"] * 2},
    "Mistral": {"sliding_window": 8},
    "Mixtral": EXPERTS,
    "Phi3": {},
    "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 2},
    "GPTNeoX": {"tie_word_embeddings": False},
    "Falcon": {"multi_query": True, "head_dim": None, "num_key_value_heads": None},
    "Cohere": {"logit_scale": 0.0625},
    "Granite": {"logits_scaling": 8.0},
}


def build(name: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    fields = {**SHAPE, **ARCHITECTURES[name], **changes}
    given = {key: value for key, value in fields.items() if value is not None}
    config = getattr(transformers, f"{name}Config")(**given)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():  # logits of a size at which a cap or a scale shows
        model.get_output_embeddings().weight *= 20
    return model


def scores(model: Any, scorer: Scorer | None = None) -> list[Score]:
    with neutral(model):
        return (scorer or Scorer()).score(model, random_examples(12, 90), Greedy())


def assert_from_own_logits(found: list[Score], model: Any, rel: float = 1e-4) -> None:
    """Each number against the slow computation from the model's own logits, one by one."""
    for each, score in zip(random_examples(12, 90), found, strict=True):
        ids = torch.tensor([each.prompt_ids + each.response_ids])
        with neutral(model):
            logits = model(input_ids=ids).logits[0, -len(each.response_ids) - 1 : -1].double()
        gold = torch.tensor(each.response_ids)
        log_p = torch.log_softmax(logits, -1)
        ce = functional.nll_loss(log_p, gold, reduction="none")
        assert score.ce == pytest.approx(ce.numpy(), rel=rel, abs=rel)
        entropy = -(log_p.exp() * log_p).sum(-1)
        assert score.entropy == pytest.approx(entropy.numpy(), rel=rel, abs=rel)
        assert score.confidence == pytest.approx(log_p.max(-1).values.exp().numpy(), rel=rel)
        assert score.said.tolist() == logits.argmax(-1).tolist()
        assert score.hit.tolist() == (logits.argmax(-1) == gold).tolist()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_number_is_that_of_the_models_own_logits(name: str) -> None:
    model = build(name)
    scorer = Scorer()
    assert_from_own_logits(scores(model, scorer), model)
    assert (scorer.way, scorer.budget.remarks) == ("chunks", [])


def test_a_cap_that_only_the_models_code_knows_is_found_out_and_left_to_the_model() -> None:
    model = build("Gemma2")
    own = type(model).forward

    def forward(self: Any, **kwargs: Any) -> Any:
        out = own(self, **kwargs)
        out.logits = out.logits / 3
        return out

    model.__class__ = type("Odd", (type(model),), {"forward": forward})
    scorer = Scorer()
    assert_from_own_logits(scores(model, scorer), model)
    assert scorer.way == "rows"
    assert "cannot be asked in chunks (logits off by" in scorer.budget.remarks[0]


def test_a_model_that_names_no_head_gives_the_same_numbers_in_small_batches() -> None:
    model = build("Llama")
    model.get_output_embeddings = lambda: None
    scorer = Scorer()
    assert_from_own_logits(scores(model, scorer), model)
    assert scorer.way == "all"
    assert "it names no output head" in scorer.budget.remarks[0]


def test_a_model_that_calls_no_head_module_gives_the_same_numbers() -> None:
    model = build("Llama")
    stray = torch.nn.Linear(32, 90)
    model.get_output_embeddings = lambda: stray
    scorer = Scorer()
    assert_from_own_logits(scores(model, scorer), model)
    assert scorer.way == "all"


@pytest.mark.parametrize("way", ["chunks", "rows", "all"])
def test_each_way_gives_the_same_logits_in_the_same_order(way: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(CHUNK_LOGITS, "cpu", 3 * 90)
    model = build("Llama")
    ids_BT = torch.randint(2, 90, (3, 11))
    keep_BT = torch.rand(3, 11) < 0.5
    inputs = Inputs(ids_BT=ids_BT, mask_BT=torch.ones_like(ids_BT), keep_BT=keep_BT)
    with neutral(model):
        own_RV = model(input_ids=ids_BT).logits[keep_BT]
        seen: list[slice] = []

        def reduce(logits_CV: torch.Tensor, chunk: slice) -> torch.Tensor:
            seen.append(chunk)
            return logits_CV.clone()

        found_RV = read(model, inputs, reduce, way)
    torch.testing.assert_close(found_RV, own_RV, rtol=1e-5, atol=1e-5)
    assert len(seen) == -(-int(keep_BT.sum()) // 3)


def wrapped(kind: str) -> Any:
    settings: dict[str, Any] = {"r": 4, "task_type": "CAUSAL_LM", "init_lora_weights": False}
    model = build("Llama")
    match kind:
        case "lora everywhere, the head too":
            return get_peft_model(
                model, LoraConfig(**settings, target_modules=["q_proj", "lm_head"])
            )
        case "lora with a trained copy of the head":
            return get_peft_model(
                model,
                LoraConfig(**settings, target_modules="all-linear", modules_to_save=["lm_head"]),
            )
        case "gradient checkpointing":
            model.activation_checkpointing_enable()
            model.enable_input_require_grads()
            return model.train()
        case _:
            return model.to(torch.bfloat16)


@pytest.mark.parametrize(
    "kind",
    [
        "lora everywhere, the head too",
        "lora with a trained copy of the head",
        "gradient checkpointing",
    ],
)
def test_wrappers_keep_the_numbers(kind: str) -> None:
    model = wrapped(kind)
    scorer = Scorer()
    assert_from_own_logits(scores(model, scorer), model)
    assert scorer.way == "chunks"


def test_virtual_tokens_of_prompt_tuning_are_skipped() -> None:
    settings = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5)
    model = get_peft_model(build("Llama"), settings)
    scorer = Scorer()
    assert_from_own_logits(scores(model, scorer), model)
    assert scorer.way == "chunks"


def test_bfloat16_weights_give_the_numbers_up_to_their_rounding() -> None:
    model = build("Llama").to(torch.bfloat16)
    found, scorer = scores(model, scorer := Scorer()), scorer
    exact = scores(copy.deepcopy(model).float())
    for a, b in zip(found, exact, strict=True):
        assert a.ce == pytest.approx(b.ce, rel=0.05, abs=0.05)
    assert scorer.way == "chunks"


def test_autocast_reaches_the_head_as_in_the_models_own_pass() -> None:
    model, seen = build("Llama"), []
    head = output_head(model)
    assert head is not None
    head.register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    own = model.forward
    model.forward = torch.autocast("cpu", torch.bfloat16)(own)
    scorer = Scorer()
    assert all(score.finite for score in scores(model, scorer))
    assert set(seen) == {torch.bfloat16}
    assert scorer.way == "chunks"


def test_the_self_test_compares_with_the_models_own_logits() -> None:
    model = build("Gemma2")
    ids_BT = torch.tensor([[5, 6, 7, 8]])
    inputs = Inputs(
        ids_BT=ids_BT,
        mask_BT=torch.ones_like(ids_BT),
        keep_BT=torch.tensor([[False, True, True, False]]),
    )
    with neutral(model):
        assert choose(model, inputs) == ("chunks", "")
        model.config.final_logit_softcapping = None  # the model's code reads the same field
        assert choose(model, inputs) == ("chunks", "")


def test_hooks_are_gone_after_a_failure() -> None:
    model = build("Llama")
    head = output_head(model)
    assert head is not None
    ids_BT = torch.tensor([[5, 6, 7]])
    inputs = Inputs(ids_BT=ids_BT, mask_BT=torch.ones_like(ids_BT), keep_BT=ids_BT > 5)

    def fail(logits_CV: torch.Tensor, chunk: slice) -> torch.Tensor:
        raise ZeroDivisionError

    with neutral(model), pytest.raises(ZeroDivisionError):
        read(model, inputs, fail)
    assert not head._forward_pre_hooks
