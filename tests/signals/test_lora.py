from __future__ import annotations

import math
from typing import Any

import pytest
import tiny
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, GPT2Config

from heldout.derive.depth import top_layers
from heldout.records import Layers
from heldout.signals.lora import (
    capture_lora_initial_state,
    compute_lora_deltas,
    kind_of,
    read_layers,
    unreadable,
)


def shake(model: Any, size: float = 0.1) -> None:
    """Move every adapter weight, as training would."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.add_(torch.randn_like(parameter) * size)


def updates(model: Any) -> dict[str, torch.Tensor]:
    """PEFT's own materialised update of every adapted module, in float64."""
    found = {}
    for name, module in model.named_modules():
        if hasattr(module, "lora_A"):
            double = (
                module.lora_B["default"].weight.double() @ module.lora_A["default"].weight.double()
            )
            found[name] = double * module.scaling["default"]
            shape = module.get_delta_weight("default").shape
            assert found[name].shape in (shape, shape[::-1])
    return found


def norms_by_layer(changes: dict[str, torch.Tensor]) -> dict[int, dict[str, float]]:
    squares: dict[int, dict[str, float]] = {}
    for name, change in changes.items():
        layer = int(name.split(".layers.")[1].split(".")[0])
        kind = kind_of(name)
        squares.setdefault(layer, {}).setdefault(kind, 0.0)
        squares[layer][kind] += change.square().sum().item()
    return {k: {kind: math.sqrt(s) for kind, s in v.items()} for k, v in squares.items()}


@pytest.mark.parametrize("start", [True, "pissa", "olora"])
@pytest.mark.parametrize("size", [1e-1, 1e-4])
def test_norms_equal_the_materialised_update_from_any_start(start: Any, size: float) -> None:
    model = tiny.lora_model(init_lora_weights=start, lora_alpha=10)
    initial, before = capture_lora_initial_state(model), updates(model)
    shake(model, size)
    after = updates(model)
    expected = norms_by_layer({name: after[name] - before[name] for name in after})
    layers = read_layers(model, initial)
    assert [layer.layer for layer in layers] == [0, 1, 2]
    for layer in layers:
        kinds = expected[layer.layer]
        assert layer.qkv == pytest.approx(kinds["qkv"], rel=1e-5)
        assert layer.o == pytest.approx(kinds["o"], rel=1e-5)
        assert layer.mlp == pytest.approx(kinds["mlp"], rel=1e-5)
        assert layer.other is None
        assert layer.delta_norm == pytest.approx(math.hypot(*kinds.values()), rel=1e-5)


def test_movement_is_relative_to_the_frozen_weights() -> None:
    model = tiny.lora_model()
    initial = capture_lora_initial_state(model)
    shake(model)
    layer = read_layers(model, initial)[1]
    base = sum(
        module.get_base_layer().weight.double().square().sum().item()
        for name, module in model.named_modules()
        if hasattr(module, "lora_A") and ".layers.1." in name
    )
    assert layer.relative == pytest.approx(layer.delta_norm / math.sqrt(base), rel=1e-6)


def test_an_untrained_adapter_has_not_moved_and_needs_no_copy() -> None:
    model = tiny.lora_model()
    initial = capture_lora_initial_state(model)
    assert initial.factors == {}
    assert all(layer.delta_norm == 0 for layer in read_layers(model, initial))


def test_kinds_that_are_not_adapted_are_none_not_zero() -> None:
    model = tiny.lora_model(target_modules=["q_proj", "v_proj"])
    shake(model)
    for entry in compute_lora_deltas(model, capture_lora_initial_state(tiny.lora_model())):
        assert entry["qkv"] > 0
        assert (entry["o"], entry["mlp"], entry["other"]) == (None, None, None)
        assert entry["delta_norm"] == entry["qkv"]


def test_a_model_without_lora_has_no_layers() -> None:
    model = tiny.model()
    assert compute_lora_deltas(model, capture_lora_initial_state(model)) == []
    assert unreadable(model) == []


def test_a_variant_that_is_more_than_ba_is_left_out_by_name() -> None:
    model = tiny.lora_model(use_dora=True, target_modules=["q_proj"])
    assert compute_lora_deltas(model, capture_lora_initial_state(model)) == []
    assert len(unreadable(model)) == 3
    assert unreadable(model)[0].endswith("layers.0.self_attn.q_proj")


def test_layers_are_found_in_gpt2_too() -> None:
    torch.manual_seed(0)
    config = GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=90)
    base = AutoModelForCausalLM.from_config(config)
    model = get_peft_model(
        base, LoraConfig(r=2, target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True)
    )
    initial = capture_lora_initial_state(model)
    shake(model)
    layers = read_layers(model, initial)
    assert [layer.layer for layer in layers] == [0, 1]
    assert all(layer.qkv and layer.o and layer.mlp for layer in layers)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("base_model.model.model.layers.3.self_attn.q_proj", "qkv"),
        ("transformer.h.0.attn.c_attn", "qkv"),
        ("transformer.h.0.attn.c_proj", "o"),
        ("transformer.h.0.mlp.c_proj", "mlp"),
        ("gpt_neox.layers.1.attention.query_key_value", "qkv"),
        ("gpt_neox.layers.1.attention.dense", "o"),
        ("gpt_neox.layers.1.mlp.dense_h_to_4h", "mlp"),
        ("model.layers.0.self_attn.qkv_proj", "qkv"),
        ("model.layers.0.self_attn.o_proj.base_layer", "o"),
        ("model.layers.0.mlp.gate_up_proj", "mlp"),
        ("model.layers.0.mlp.experts.7.w1", "mlp"),
        ("encoder.block.0.layer.0.SelfAttention.q", "qkv"),
        ("encoder.block.0.layer.0.SelfAttention.o", "o"),
        ("encoder.block.0.layer.1.DenseReluDense.wo", "mlp"),
        ("lm_head", "other"),
        ("model.embed_tokens", "other"),
    ],
)
def test_kinds_are_told_by_leaf_and_parents(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_the_top_five_are_the_largest_in_order() -> None:
    model = tiny.lora_model()
    initial = capture_lora_initial_state(model)
    shake(model)
    layers = read_layers(model, initial)
    top = top_layers(Layers(step=1, time=0.0, layers=layers), n=2)
    assert [x.delta_norm for x in top] == sorted((x.delta_norm for x in layers), reverse=True)[:2]
