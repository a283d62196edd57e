"""Every layout against PEFT's own merge: the merged weight minus the base weight."""

from __future__ import annotations

import copy
import math
from typing import Any

import peft
import pytest
import tiny
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, GPT2Config, Qwen2Config, Qwen3MoeConfig

from heldout.signals.adapters import Adapted, Direct, LowRank, adapted, base_square, left_out


class Toy(nn.Module):
    """Layers that language models do not have."""

    def __init__(self) -> None:
        super().__init__()
        self.flat = nn.Conv1d(6, 8, 3)
        self.image = nn.Conv2d(3, 8, 3)
        self.point = nn.Conv2d(8, 4, 1)
        self.grouped = nn.Conv2d(8, 8, 3, groups=2)
        self.attn = nn.MultiheadAttention(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        return x


def toy(*targets: str, **changes: Any) -> nn.Module:
    torch.manual_seed(0)
    return get_peft_model(Toy(), LoraConfig(**{"r": 2, "target_modules": list(targets), **changes}))


def gpt2(**changes: Any) -> nn.Module:
    torch.manual_seed(0)
    config = GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=90)
    settings = {"r": 2, "target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True}
    model = AutoModelForCausalLM.from_config(config)
    return get_peft_model(model, LoraConfig(**{**settings, **changes}))


def moe(**changes: Any) -> nn.Module:
    torch.manual_seed(0)
    shape = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8}
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12}
    config = Qwen3MoeConfig(**shape, **heads, **experts)
    base = AutoModelForCausalLM.from_config(config, experts_implementation="eager")
    settings = {
        "r": 2,
        "target_modules": ["q_proj"],
        "target_parameters": ["experts.gate_up_proj", "experts.down_proj"],
    }
    return get_peft_model(base, LoraConfig(**{**settings, **changes}))


def lora(**changes: Any) -> Any:
    return tiny.lora_model(layers=2, **changes)


def shake(model: nn.Module, size: float = 0.1) -> nn.Module:
    """Move every trained parameter, as training would."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * size)
    return model


def weight(each: Adapted) -> Tensor:
    """The weight that PEFT merges the adapter into, as a copy in float64."""
    layer = each.module.get_base_layer()
    name = getattr(each.module, "parameter_name", "weight")
    name = "in_proj_weight" if isinstance(layer, nn.MultiheadAttention) else name
    found: Tensor = getattr(layer, name).detach().double().clone()
    return found


def merged_update(each: Adapted) -> Tensor:
    """PEFT's merged weight minus the base weight."""
    before = weight(each)
    each.module.merge(adapter_names=list(each.adapters))
    after = weight(each)
    each.module.unmerge()
    return after - before


def product(each: Adapted) -> Tensor:
    assert isinstance(each, LowRank)
    b, a = each.factors()
    assert b.dim() == a.dim() == 3
    assert b.shape[2] == a.shape[1]
    assert not b.requires_grad
    return b.double() @ a.double()


def size(each: Adapted) -> float:
    """||dW||_F, whichever way it is read."""
    return float(each.square() if isinstance(each, Direct) else product(each).square().sum()) ** 0.5


def assert_reads_what_is_merged(each: Adapted) -> None:
    change = merged_update(each)
    assert change.norm() > 0
    assert size(each) == pytest.approx(change.norm().item(), rel=1e-5)
    if isinstance(each, LowRank):
        transposed = (each.adapters[0] in each.module.lora_embedding_A) or getattr(
            each.module, "fan_in_fan_out", False
        )
        ours = product(each)
        ours = ours.mT if transposed else ours
        assert (ours.reshape(change.shape) - change).norm() <= 1e-5 * change.norm()


LINEAR = {
    "plain": {},
    "patterns": {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 33}, "lora_alpha": 7},
    "rsLoRA": {"use_rslora": True},
    "PiSSA": {"init_lora_weights": "pissa"},
    "OLoRA": {"init_lora_weights": "olora"},
    "orthogonal": {"init_lora_weights": "orthogonal"},
    "MiCA": {"init_lora_weights": "mica"},
    "not from zero": {"init_lora_weights": False},
    "KaSA": {"kasa_config": peft.KasaConfig()},
    "VeLoRA": {"velora_config": peft.VeloraConfig(num_groups=4)},
    "MonteCLoRA": {"monteclora_config": peft.MontecloraConfig()},
    "BdLoRA": {
        "use_bdlora": peft.BdLoraConfig(
            target_modules_bd_a=["q_proj", "o_proj"], nblocks=2, match_strict=False
        )
    },
    "embedding": {"target_modules": ["embed_tokens", "lm_head"]},
    "embedding, MiCA": {"target_modules": ["embed_tokens"], "init_lora_weights": "mica"},
}


@pytest.mark.parametrize("layout", LINEAR)
def test_the_product_of_the_factors_is_the_merged_update(layout: str) -> None:
    found = adapted(shake(lora(**LINEAR[layout])))
    assert found
    assert all(isinstance(each, LowRank) and len(each.factors()[0]) == 1 for each in found)
    for each in found:
        assert_reads_what_is_merged(each)


def test_transposed_layers_convolutions_and_attention_are_read_as_they_are_merged() -> None:
    for model in (gpt2(), toy("flat", "image", "point")):
        for each in adapted(shake(model)):
            assert_reads_what_is_merged(each)


def test_an_attention_module_is_two_weights() -> None:
    inner, outer = adapted(shake(toy("attn")))
    assert [inner.name, outer.name] == ["model.attn.in_proj_weight", "model.attn.out_proj"]
    assert [inner.place.kind, outer.place.kind] == ["qkv", "o"]
    before = inner.module.base_layer.in_proj_weight.detach().clone()
    change = outer.module.get_delta_weight("default").detach()  # peft 0.21 merges it twice
    assert_close(product(outer)[0], change)
    inner.module.merge()
    assert_close(product(inner)[0], (inner.module.base_layer.in_proj_weight - before).detach())


def assert_close(ours: Tensor, change: Tensor) -> None:
    assert change.norm() > 0
    assert (ours - change.double()).norm() <= 1e-5 * change.double().norm()


def test_experts_are_read_one_by_one() -> None:
    model = shake(moe())
    found = adapted(model)
    for each in found:
        assert_reads_what_is_merged(each)
    parameters = [each for each in found if "experts" in each.name]
    names = [each.name.split("mlp.")[1] for each in parameters]
    assert sorted(names) == 2 * ["experts.down_proj"] + 2 * ["experts.gate_up_proj"]
    for each in parameters:
        assert isinstance(each, LowRank)
        b, a = each.factors()
        assert (len(b), len(a), b.shape[2]) == (4, 4, 2)
        assert (each.place.layer, each.place.kind, each.place.leaf) == (
            int(each.name.split("layers.")[1][0]),
            "mlp",
            each.name.split("mlp.")[1],
        )


def test_adalora_is_read_with_its_singular_values_and_shrinking_rank() -> None:
    config = peft.AdaLoraConfig(init_r=4, target_modules=["q_proj", "fc1"], total_step=9)
    model = shake(get_peft_model(tiny.model(), config))
    found = adapted(model)
    for each in found:
        assert_reads_what_is_merged(each)
    with torch.no_grad():
        found[0].module.lora_E["default"][2:] = 0.0
        found[0].module.ranknum["default"].fill_(2.0)
    assert_reads_what_is_merged(found[0])


def test_qalora_is_read_as_its_layer_computes_it() -> None:
    from peft.tuners.lora.gptq import GPTQLoraLinear

    config = LoraConfig(r=2, use_qalora=True, qalora_group_size=4)
    layer = GPTQLoraLinear(nn.Linear(16, 8), "default", config=config, r=2, lora_alpha=5)
    (each,) = adapted(shake(nn.Sequential(layer)))
    with torch.no_grad():
        change = (layer(torch.eye(16)) - layer.base_layer(torch.eye(16))).T
    assert_close(product(each)[0], change)


def test_factors_in_half_precision_lose_nothing_to_the_scaling() -> None:
    base = tiny.model().to(torch.bfloat16)
    config = LoraConfig(r=4, lora_alpha=7, target_modules=["q_proj"])
    model = shake(get_peft_model(base, config, autocast_adapter_dtype=False))
    for each in adapted(model):
        assert isinstance(each, LowRank)
        b, a = each.factors()
        assert (b.dtype, a.dtype) == (torch.float32, torch.bfloat16)
        exact = 7 / 4 * each.module.lora_B["default"].weight.double()
        assert_close(product(each)[0], exact @ a[0].double())


def test_nothing_is_copied_that_needs_no_scaling() -> None:
    for each in adapted(lora(r=4, lora_alpha=4)):
        assert isinstance(each, LowRank)
        pointers = {part.untyped_storage().data_ptr() for part in each.factors()}
        assert pointers == {p.untyped_storage().data_ptr() for p in each.parameters()}


def test_active_adapters_add_up_and_are_found_anew_after_a_switch() -> None:
    model = lora(target_modules=["q_proj", "v_proj"])
    model.add_adapter("second", LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj"]))
    model.base_model.set_adapter(["default", "second"])
    shake(model)
    both = adapted(model)
    assert [each.adapters for each in both] == 2 * [("default", "second"), ("default",)]
    assert isinstance(both[0], LowRank)
    assert both[0].factors()[0].shape[2] == 7
    assert len(both[0].zero_side()) == 2
    assert len(both[0].parameters()) == 4
    for each in both:
        assert_reads_what_is_merged(each)
    model.set_adapter("second")
    switched = adapted(model)
    assert [each.adapters for each in switched] == 2 * [("second",)]
    assert all(each.is_trained() for each in switched)
    assert_reads_what_is_merged(switched[0])
    first = size(switched[0])
    switched[0].module.set_scale("second", 3.0)
    assert size(switched[0]) == pytest.approx(3 * first)


def test_a_tied_head_is_one_weight_with_its_embedding() -> None:
    config = LoraConfig(r=2, target_modules=["embed_tokens"], ensure_weight_tying=True)
    model = shake(get_peft_model(tiny.model(tie_word_embeddings=True), config))
    (each,) = adapted(model)
    assert isinstance(each, LowRank)
    assert [type(twin).__name__ for twin in each.twins] == ["Linear"]
    assert (len(each.parameters()), len(each.zero_side())) == (2, 2)
    assert_reads_what_is_merged(each)


@pytest.mark.parametrize("layout", ["plain", "PiSSA", "MiCA", "KaSA", "BdLoRA", "embedding"])
def test_the_zero_side_gives_the_slope_of_the_loss_over_log_scaling(layout: str) -> None:
    assert_slope(shake(lora(**LINEAR[layout]).double()))


def test_the_slope_counts_experts_adapters_singular_values_and_a_tied_head() -> None:
    assert_slope(shake(moe().double()))
    several = lora(target_modules=["q_proj"])
    several.add_adapter("second", LoraConfig(r=3, target_modules=["q_proj"]))
    several.base_model.set_adapter(["default", "second"])
    assert_slope(shake(several.double()))
    ada = peft.AdaLoraConfig(target_modules=["q_proj"], total_step=9, orth_reg_weight=1e-12)
    assert_slope(shake(get_peft_model(tiny.model(), ada).double(), 0.5))
    tied = LoraConfig(r=2, target_modules=["embed_tokens"], ensure_weight_tying=True)
    base = tiny.model(tie_word_embeddings=True).double()
    assert_slope(shake(get_peft_model(base, tied, autocast_adapter_dtype=False)))


def assert_slope(model: Any) -> None:
    """Central differences over the scaling of one adapted weight against its zero side."""
    tokens = torch.arange(1, 25).reshape(2, 12)  # an embedding's padding row has no gradient

    def loss() -> Tensor:
        return model(input_ids=tokens).logits.log_softmax(-1)[:, :-1, 1].mean()

    loss().backward()
    each = adapted(model)[0]
    assert isinstance(each, LowRank)
    found = sum((p.double() * p.grad).sum().item() for p in each.zero_side() if p.grad is not None)
    ends = []
    for step in (0.01, -0.01):
        scaled = {id(x): x for x in (each.module, *each.twins)}.values()
        before = [dict(module.scaling) for module in scaled]
        for module in scaled:
            module.scaling.update({k: v * (1 + step) for k, v in module.scaling.items()})
        with torch.no_grad():
            ends.append(loss().item())
        for module, values in zip(scaled, before, strict=True):
            module.scaling.update(values)
    assert found != 0
    assert found == pytest.approx((ends[0] - ends[1]) / 0.02, rel=2e-3)


@pytest.mark.parametrize("layout", ["linear", "transposed", "embedding", "convolution"])
def test_dora_is_measured_as_it_is_merged(layout: str) -> None:
    model = {
        "linear": lambda: lora(use_dora=True, lora_alpha=7),
        "transposed": lambda: gpt2(use_dora=True, lora_alpha=7),
        "embedding": lambda: lora(use_dora=True, target_modules=["embed_tokens"]),
        "convolution": lambda: toy("flat", "image", "point", use_dora=True),
    }[layout]()
    found = adapted(model)
    assert {each.how for each in found if isinstance(each, Direct)} == {"DoRA"}
    assert all(size(each) < 1e-5 for each in found), "it starts at the base weight"
    for each in adapted(shake(model)):
        assert_reads_what_is_merged(each)
        assert len(each.parameters()) == 3


def test_dora_needs_no_matrix_of_the_weights_size(monkeypatch: pytest.MonkeyPatch) -> None:
    model = shake(lora(use_dora=True, target_modules=["q_proj"]))
    whole = [size(each) for each in adapted(model)]
    monkeypatch.setattr("heldout.signals.frozen.ROWS_AT_ONCE", 7)
    assert [size(each) for each in adapted(model)] == pytest.approx(whole, rel=1e-12)


T: dict[str, Any] = {"target_modules": ["q_proj", "down_proj"]}
ADDITIVE = {
    "C3A": lambda: peft.C3AConfig(block_size=16, **T),
    "DEFT": lambda: peft.DeftConfig(**T),
    "DeLoRA": lambda: peft.DeloraConfig(r=2, **T),
    "FourierFT": lambda: peft.FourierFTConfig(n_frequency=20, **T),
    "FRoD": lambda: peft.FrodConfig(**T),
    "GraLoRA": lambda: peft.GraloraConfig(r=4, gralora_k=2, **T),
    "LoHa": lambda: peft.LoHaConfig(r=2, **T),
    "LoKr": lambda: peft.LoKrConfig(r=2, **T),
    "OSF": lambda: peft.OSFConfig(**T),
    "PeaNuT": lambda: peft.PeanutConfig(**T),
    "PSOFT": lambda: peft.PsoftConfig(r=4, **T),
    "PVeRA": lambda: peft.PveraConfig(r=4, **T),
    "RandLoRA": lambda: peft.RandLoraConfig(r=2, **T),
    "ShiRA": lambda: peft.ShiraConfig(r=2, **T),
    "SuperTuning": lambda: peft.SupertuningConfig(**T),
    "TinyLoRA": lambda: peft.TinyLoraConfig(**T),
    "UniLoRA": lambda: peft.UniLoraConfig(**T),
    "VBLoRA": lambda: peft.VBLoRAConfig(r=2, num_vectors=16, vector_length=16, topk=2, **T),
    "VeRA": lambda: peft.VeraConfig(r=4, **T),
    "WaveFT": lambda: peft.WaveFTConfig(n_frequency=20, **T),
}


@pytest.mark.filterwarnings("ignore:Sparse invariant checks:UserWarning:peft.tuners.frod")
@pytest.mark.parametrize("method", ADDITIVE)
def test_additive_methods_are_measured_as_they_are_merged(method: str) -> None:
    model = shake(get_peft_model(tiny.model(num_hidden_layers=2), ADDITIVE[method]()), 0.05)
    found = adapted(model)
    assert [each.place.leaf for each in found] == 2 * ["q_proj", "down_proj"]
    assert left_out(model) == {}
    chance = torch.get_rng_state()
    for each in found:
        assert isinstance(each, Direct)
        assert each.how == "get_delta_weight"
        assert each.is_trained()
        ours, before = size(each), weight(each)
        each.module.merge()
        assert ours == pytest.approx((weight(each) - before).norm().item(), rel=1e-4)
    assert torch.equal(chance, torch.get_rng_state())


@pytest.mark.filterwarnings("ignore:Unsupported layer type:UserWarning:peft.tuners.tuners_utils")
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: peft.OFTConfig(r=0, oft_block_size=4, **T), "OFT multiplies the weight"),
        (lambda: peft.HRAConfig(**T), "HRA multiplies the weight"),
        (lambda: peft.HiraConfig(**T), "HiRA multiplies the weight"),
        (lambda: peft.IA3Config(feedforward_modules=["down_proj"], **T), "IA3 multiplies"),
        (lambda: peft.RoadConfig(**T), "RoAd multiplies"),
        (lambda: peft.MissConfig(**T), "no way to read an update of the kind 'miss'"),
        (lambda: peft.LNTuningConfig(target_modules=["input_layernorm"]), "kind 'ln_tuning'"),
    ],
)
def test_other_methods_are_left_out_with_a_reason(make: Any, reason: str) -> None:
    model = get_peft_model(tiny.model(num_hidden_layers=2), make())
    assert adapted(model) == []
    assert len(left_out(model)) >= 2
    assert all(reason in found for found in left_out(model).values())
    assert all(name.startswith("model.model.layers.") for name in left_out(model))


@pytest.mark.filterwarnings("ignore:LoRA adapter added to ConvNd:UserWarning:peft")
def test_layouts_that_cannot_be_read_are_left_out_with_a_reason() -> None:
    assert left_out(toy("grouped", "image")) == {"model.grouped": "convolution with groups"}
    dora = lora(use_dora=True, target_modules=["q_proj"])
    dora.add_adapter("second", LoraConfig(r=3, target_modules=["q_proj"]))
    dora.base_model.set_adapter(["default", "second"])
    assert set(left_out(dora).values()) == {"DoRA together with another active adapter"}
    cut = lora(target_modules=["q_proj"])
    q_proj = cut.base_model.model.model.layers[0].self_attn.q_proj
    q_proj.lora_A["default"].weight = nn.Parameter(torch.zeros(0))
    (reason,) = left_out(cut).values()
    assert reason == "its factors have the shapes [64, 4] and [0]"
    assert len(adapted(cut)) == 1


def test_modules_to_save_count_every_parameter_against_the_original() -> None:
    model = tiny.lora_model(
        layers=2, target_modules=["q_proj"], modules_to_save=["lm_head", "input_layernorm"]
    )
    saved = [each for each in adapted(model) if isinstance(each, Direct)]
    assert [each.name.split(".")[-1] for each in saved] == 2 * ["input_layernorm"] + ["lm_head"]
    assert [size(each) for each in saved] == [0, 0, 0]
    shake(model)
    for each in saved:
        module = each.module
        change = module.modules_to_save["default"].weight - module.original_module.weight
        assert size(each) == pytest.approx(change.double().norm().item(), rel=1e-9)
        assert base_square(each) == pytest.approx(
            module.original_module.weight.double().square().sum().item()
        )


def test_trainable_tokens_are_measured_against_their_old_values() -> None:
    model = tiny.lora_model(
        layers=2, target_modules=["q_proj"], trainable_token_indices={"embed_tokens": [3, 5, 8]}
    )
    tokens = adapted(shake(model))[0]
    assert isinstance(tokens, Direct)
    assert tokens.how == "trainable tokens"
    assert_reads_what_is_merged(tokens)
    assert tokens.is_trained()
    assert len(tokens.parameters()) == 1


def test_tied_trainable_tokens_are_counted_once() -> None:
    config = LoraConfig(target_modules=["q_proj"], trainable_token_indices={"embed_tokens": [3, 5]})
    model = get_peft_model(tiny.model(num_hidden_layers=2, tie_word_embeddings=True), config)
    assert [type(each) for each in adapted(model)] == [Direct, LowRank, LowRank]


def test_a_trained_bias_is_no_part_of_the_update() -> None:
    shape = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    base = AutoModelForCausalLM.from_config(Qwen2Config(**shape, **heads))
    config = LoraConfig(r=2, target_modules=["q_proj"], lora_bias=True)
    for each in adapted(shake(get_peft_model(base, config))):
        assert_reads_what_is_merged(each)
        assert len(each.parameters()) == 2


def test_names_and_order_survive_compilation_and_parallel_wrappers() -> None:
    model = lora()
    names = [each.name for each in adapted(model)]
    assert names[0] == "model.model.layers.0.self_attn.q_proj"
    assert len(names) == len(set(names)) == 14
    for wrapped in (
        torch.compile(model, backend="eager"),
        nn.DataParallel(model),
        torch.compile(nn.DataParallel(model), backend="eager"),
    ):
        assert [each.name for each in adapted(wrapped)] == names
        assert [each.place for each in adapted(wrapped)] == [x.place for x in adapted(model)]


def test_a_frozen_adapter_is_not_trained_and_a_model_without_one_has_none() -> None:
    model = lora()
    assert all(each.is_trained() for each in adapted(model))
    model.requires_grad_(False)
    assert not any(each.is_trained() for each in adapted(model))
    assert adapted(tiny.model()) == []
    assert left_out(tiny.model()) == {}


def test_a_copy_on_no_device_is_found_too() -> None:
    model = copy.deepcopy(lora()).to("meta")
    assert len(adapted(model)) == 14
    assert {base_square(each) for each in adapted(model)} == {None}


@pytest.mark.parametrize("make", [lora, gpt2, moe, lambda: toy("image", "attn")])
def test_the_frozen_weight_is_measured_in_float64(make: Any) -> None:
    for each in adapted(make()):
        assert base_square(each) == pytest.approx(weight(each).square().sum().item(), rel=1e-12)


def test_a_merged_weight_is_not_taken_for_the_frozen_one() -> None:
    model = shake(lora(target_modules=["q_proj"]))
    model.merge_adapter()
    assert {base_square(each) for each in adapted(model)} == {None}


def test_a_weight_in_codes_is_dequantised_by_its_own_library() -> None:
    bnb = pytest.importorskip("bitsandbytes")
    model = tiny.model(num_hidden_layers=2)
    exact = [layer.self_attn.q_proj.weight.norm().item() for layer in model.model.layers]
    for layer in model.model.layers:
        packed = bnb.nn.Linear4bit(64, 64, bias=False, quant_type="nf4")
        old = layer.self_attn.q_proj.weight.data
        packed.weight = bnb.nn.Params4bit(old, requires_grad=False, quant_type="nf4")
        layer.self_attn.q_proj = packed.to("cpu")
    model.is_loaded_in_4bit = True
    found = adapted(get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"])))
    squares = [base_square(each) for each in found]
    assert [math.sqrt(x) for x in squares if x] == pytest.approx(exact, rel=0.02)
