from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from heldout.signals.places import KINDS, Place, kind_of, locate, stacks

PEFT = "base_model.model."


@pytest.mark.parametrize(
    ("name", "kind", "leaf"),
    [
        ("model.layers.3.self_attn.q_proj", "qkv", "q_proj"),
        ("model.layers.3.self_attn.o_proj.base_layer", "o", "o_proj"),
        ("model.layers.3.mlp.down_proj", "mlp", "down_proj"),
        # Fused projections, and GPT-2's names that mean two things.
        ("transformer.h.0.attn.c_attn", "qkv", "c_attn"),
        ("transformer.h.0.attn.c_proj", "o", "attn.c_proj"),
        ("transformer.h.0.mlp.c_fc", "mlp", "c_fc"),
        ("transformer.h.0.mlp.c_proj", "mlp", "mlp.c_proj"),
        ("model.layers.0.self_attn.qkv_proj", "qkv", "qkv_proj"),  # Phi-3
        ("model.layers.0.mlp.gate_up_proj", "mlp", "gate_up_proj"),
        ("transformer.h.1.self_attention.query_key_value", "qkv", "query_key_value"),  # Falcon
        ("transformer.h.1.self_attention.dense", "o", "self_attention.dense"),
        ("transformer.h.1.mlp.dense_4h_to_h", "mlp", "dense_4h_to_h"),
        ("gpt_neox.layers.1.attention.dense", "o", "attention.dense"),
        ("gpt_neox.layers.1.mlp.dense_h_to_4h", "mlp", "dense_h_to_4h"),
        ("transformer.blocks.0.attn.Wqkv", "qkv", "Wqkv"),  # MPT
        ("transformer.blocks.0.norm_attn_norm.attn.Wqkv", "qkv", "Wqkv"),  # DBRX
        ("transformer.blocks.0.norm_attn_norm.attn.out_proj", "o", "out_proj"),
        ("transformer.blocks.0.ffn.experts.mlp.w1", "mlp", "w1"),
        ("transformer.blocks.0.ffn.experts.mlp.v1", "mlp", "v1"),
        ("transformer.blocks.0.ffn.router.layer", "other", "router.layer"),
        # Experts, routers and shared experts.
        ("model.layers.0.mlp.experts.7.gate_proj", "mlp", "experts.gate_proj"),
        ("model.layers.0.block_sparse_moe.experts.7.w1", "mlp", "experts.w1"),
        ("model.layers.0.mlp.experts.gate_up_proj", "mlp", "experts.gate_up_proj"),
        ("model.layers.0.mlp.shared_expert.up_proj", "mlp", "shared_expert.up_proj"),
        ("model.layers.0.mlp.shared_expert_gate", "other", "shared_expert_gate"),
        ("model.layers.0.mlp.gate", "other", "gate"),
        ("model.layers.0.block_sparse_moe.input_linear", "mlp", "input_linear"),
        # Low-rank projections of multi-head latent attention.
        ("model.layers.0.self_attn.q_a_proj", "qkv", "q_a_proj"),
        ("model.layers.0.self_attn.kv_a_proj_with_mqa", "qkv", "kv_a_proj_with_mqa"),
        ("model.layers.0.self_attn.kv_b_proj", "qkv", "kv_b_proj"),
        # Encoders.
        ("encoder.block.0.layer.0.SelfAttention.k", "qkv", "k"),  # T5
        ("encoder.block.0.layer.0.SelfAttention.o", "o", "o"),
        ("decoder.block.0.layer.1.EncDecAttention.q", "qkv", "EncDecAttention.q"),
        ("decoder.block.0.layer.2.DenseReluDense.wo", "mlp", "DenseReluDense.wo"),
        ("encoder.block.0.layer.1.DenseReluDense.wi_0", "mlp", "wi_0"),
        ("model.decoder.layers.0.encoder_attn.q_proj", "qkv", "encoder_attn.q_proj"),  # BART
        ("bert.encoder.layer.0.attention.self.key", "qkv", "key"),
        ("bert.encoder.layer.0.attention.output.dense", "o", "output.dense"),
        ("bert.encoder.layer.0.intermediate.dense", "mlp", "intermediate.dense"),
        ("bert.encoder.layer.0.output.dense", "mlp", "output.dense"),
        ("bert.pooler.dense", "other", "pooler.dense"),
        ("vit.encoder.layer.0.attention.attention.value", "qkv", "value"),
        ("vit.encoder.layer.0.attention.output.dense", "o", "output.dense"),
        ("distilbert.transformer.layer.0.attention.out_lin", "o", "out_lin"),
        ("distilbert.transformer.layer.0.ffn.lin2", "mlp", "lin2"),
        ("layers.0.attn.Wo", "o", "Wo"),  # ModernBERT
        ("layers.0.mlp.Wo", "mlp", "Wo"),
        ("visual.blocks.0.attn.proj", "o", "attn.proj"),
        ("visual.patch_embed.proj", "other", "patch_embed.proj"),
        ("visual.merger.mlp.0", "mlp", "mlp.0"),
        ("resampler.attn.in_proj_weight", "qkv", "in_proj"),
        # State-space and recurrent mixers.
        ("backbone.layers.0.mixer.in_proj", "other", "in_proj"),
        ("backbone.layers.0.mixer.out_proj", "other", "out_proj"),
        ("model.layers.0.linear_attn.in_proj_qkvz", "qkv", "in_proj_qkvz"),  # Qwen3-Next
        ("model.layers.0.linear_attn.out_proj", "o", "out_proj"),
        ("rwkv.blocks.0.attention.key", "qkv", "key"),
        ("rwkv.blocks.0.attention.receptance", "qkv", "receptance"),
        ("rwkv.blocks.0.attention.output", "o", "attention.output"),
        ("rwkv.blocks.0.feed_forward.key", "mlp", "key"),
        ("rwkv.blocks.0.feed_forward.receptance", "mlp", "receptance"),
        # The rest.
        ("model.embed_tokens", "other", "embed_tokens"),
        ("lm_head", "other", "lm_head"),
    ],
)
def test_kind_and_leaf_are_told_by_the_last_names(name: str, kind: str, leaf: str) -> None:
    assert kind in KINDS
    assert kind_of(name) == kind_of(PEFT + name) == kind
    assert locate(name, set()) == Place("", -1, kind, leaf)


@pytest.mark.parametrize(
    ("name", "stack", "layer"),
    [
        ("model.layers.12.mlp.experts.7.w1", "model.layers", 12),
        ("base_model.model.model.layers.12.mlp.up_proj", "model.model.layers", 12),
        ("module._orig_mod.model.layers.12.mlp.up_proj.base_layer", "model.layers", 12),
        ("model.layers.12._fsdp_wrapped_module.mlp.up_proj", "model.layers", 12),
        ("visual.blocks.12.attn.qkv", "visual.blocks", 12),
        ("encoder.block.2.layer.1.DenseReluDense.wo", "encoder.block", 2),
        ("h.0.attn.c_attn", "h", 0),
        ("visual.merger.mlp.0", "", -1),
        ("model.layers", "", -1),
        ("lm_head", "", -1),
    ],
)
def test_the_index_is_the_one_in_the_outermost_list(name: str, stack: str, layer: int) -> None:
    known = {"model.layers", "model.model.layers", "visual.blocks", "encoder.block", "h"}
    found = locate(name, known)
    assert (found.stack, found.layer) == (stack, layer)


def built(kind: str, make: Any = AutoModelForCausalLM, **changes: Any) -> nn.Module:
    """A real architecture without weights."""
    with torch.device("meta"):
        model: nn.Module = make.from_config(AutoConfig.for_model(kind, **changes))
    return model


def counted(model: nn.Module) -> dict[str, list[int]]:
    """How many matrices of each kind every stack has in each of its layers."""
    lists = stacks(model)
    found: dict[str, list[int]] = {}
    for path, parameter in model.named_parameters():
        name = path.removesuffix(".weight")
        place = locate(name, lists)
        if parameter.dim() < 2 or place.layer < 0:
            continue
        counts = found.setdefault(f"{place.stack} {place.kind}", [0] * 2)
        counts[place.layer] += 1
    return found


TWO = {"num_hidden_layers": 2}


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        (
            "qwen3",
            TWO,
            {"model.layers qkv": [3, 3], "model.layers o": [1, 1], "model.layers mlp": [3, 3]},
        ),
        (
            "gpt2",
            {"n_layer": 2},
            {"transformer.h qkv": [1, 1], "transformer.h o": [1, 1], "transformer.h mlp": [2, 2]},
        ),
        (
            "phi3",
            TWO,
            {"model.layers qkv": [1, 1], "model.layers o": [1, 1], "model.layers mlp": [2, 2]},
        ),
        (
            "falcon",
            TWO,
            {"transformer.h qkv": [1, 1], "transformer.h o": [1, 1], "transformer.h mlp": [2, 2]},
        ),
        (
            "gpt_neox",
            TWO,
            {"gpt_neox.layers qkv": [1, 1], "gpt_neox.layers o": [1, 1]}
            | {"gpt_neox.layers mlp": [2, 2]},
        ),
        (
            "bert",
            TWO,
            {"bert.encoder.layer qkv": [3, 3], "bert.encoder.layer o": [1, 1]}
            | {"bert.encoder.layer mlp": [2, 2]},
        ),
        ("mamba", TWO, {"backbone.layers other": [6, 6]}),
        (
            "mixtral",
            TWO,
            {"model.layers qkv": [3, 3], "model.layers o": [1, 1]}
            | {"model.layers mlp": [2, 2], "model.layers other": [1, 1]},
        ),
        (
            "deepseek_v3",
            TWO | {"first_k_dense_replace": 1},
            {"model.layers qkv": [4, 4], "model.layers o": [1, 1]}
            | {"model.layers mlp": [3, 5], "model.layers other": [0, 1]},
        ),
    ],
)
def test_every_matrix_of_a_real_architecture_has_its_layer_and_kind(
    kind: str, changes: dict[str, Any], expected: dict[str, list[int]]
) -> None:
    assert counted(built(kind, **changes)) == expected


def test_encoder_and_decoder_are_two_stacks() -> None:
    model = built("t5", AutoModel, num_layers=2, num_decoder_layers=2)
    assert stacks(model) == {"encoder.block", "decoder.block"}
    found = counted(model)
    assert (found["encoder.block qkv"], found["decoder.block qkv"]) == ([3, 3], [6, 6])
    assert (found["encoder.block mlp"], found["decoder.block mlp"]) == ([2, 2], [2, 2])


def test_a_vision_tower_and_its_language_model_are_two_stacks() -> None:
    model = built("qwen2_vl", AutoModel, text_config=TWO, vision_config={"depth": 2})
    assert stacks(model) == {"visual.blocks", "language_model.layers"}
    found = counted(model)
    assert (found["visual.blocks qkv"], found["language_model.layers qkv"]) == ([1, 1], [3, 3])
    assert locate("visual.merger.mlp.0", stacks(model)).layer == -1


def test_lists_of_experts_and_of_one_are_no_stacks() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.experts = nn.ModuleList(nn.Linear(2, 2) for _ in range(4))
            self.parts = nn.ModuleList(nn.Linear(2, 2) for _ in range(2))

    model = nn.Module()
    model.layers = nn.ModuleList(Block() for _ in range(2))
    model.heads = nn.ModuleList([nn.Linear(2, 2)])
    assert stacks(model) == {"layers"}
    assert stacks(Block()) == {"parts"}


def test_wrappers_change_no_place() -> None:
    model = tiny.lora_model()
    known = stacks(model)
    assert known == {"model.model.layers"}
    for wrapped in (nn.DataParallel(model), torch.compile(model, backend="eager")):
        assert stacks(wrapped) == known
        places = {locate(name, known) for name, _ in wrapped.named_modules()}
        assert {place.layer for place in places} == {-1, 0, 1, 2}
