from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, GPT2Config

from heldout.derive.depth import top_layers
from heldout.records import Layer, Layers
from heldout.signals.adapters import adapted, left_out
from heldout.signals.lora import (
    LoraStart,
    capture_lora_initial_state,
    compute_lora_deltas,
    layers_of,
    read_modules,
    start_of_run,
)
from heldout.signals.moment import Start


def shake(model: Any, size: float = 0.1) -> None:
    """Move every adapter weight, as training would."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.add_(torch.randn_like(parameter) * size)


def updates(model: Any) -> dict[str, torch.Tensor]:
    """The materialised update of every adapted module in float64, checked against PEFT's own."""
    found = {}
    for name, module in model.named_modules():
        if hasattr(module, "lora_A"):
            b, a = (
                getattr(module, side)["default"].weight.double() for side in ("lora_B", "lora_A")
            )
            found[name] = b @ a * module.scaling["default"]
            theirs = module.get_delta_weight("default").double()
            ours = found[name] if found[name].shape == theirs.shape else found[name].T
            size = 1e-2 if module.lora_A["default"].weight.dtype == torch.bfloat16 else 1e-5
            assert (ours - theirs).norm() <= size * ours.norm()
    return found


def read(model: Any, initial: LoraStart) -> list[Layer]:
    return layers_of(read_modules(adapted(model), initial))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("start", [True, "pissa", "olora"])
@pytest.mark.parametrize("size", [1e-1, 1e-4])
def test_every_number_equals_the_materialised_updates_own(
    start: Any, size: float, dtype: torch.dtype
) -> None:
    model = tiny.lora_model(init_lora_weights=start, lora_alpha=10)
    model.to(dtype)
    initial, before = capture_lora_initial_state(model), updates(model)
    shake(model, size)
    after = updates(model)
    for reading, (name, now) in zip(
        read_modules(adapted(model), initial), after.items(), strict=True
    ):
        change = now - before[name]
        singular = torch.linalg.svdvals(change)
        energy = singular.square()
        assert name.endswith(reading.name)
        assert reading.square == pytest.approx(change.square().sum().item(), rel=1e-5)
        assert reading.spectral == pytest.approx(singular[0].item(), rel=1e-5)
        rank = (energy.sum().square() / energy.square().sum()).item()
        assert reading.rank == pytest.approx(rank, rel=1e-5)
        assert reading.rank_of == (4 if start is True else 8)


def test_layers_and_kinds_are_roots_of_sums_of_squares() -> None:
    model = tiny.lora_model()
    initial = capture_lora_initial_state(model)
    shake(model)
    changes = updates(model)
    for layer in read(model, initial):
        mine = {n: c for n, c in changes.items() if f".layers.{layer.layer}." in n}
        qkv = [c for n, c in mine.items() if n[-6:] in ("q_proj", "k_proj", "v_proj")]
        mlp = [c for n, c in mine.items() if ".mlp." in n]
        assert len(qkv) == len(mlp) == 3
        assert layer.qkv == pytest.approx(_norm(qkv), rel=1e-5)
        assert layer.mlp == layer.parts["mlp"].norm == pytest.approx(_norm(mlp), rel=1e-5)
        assert layer.other is None
        assert "other" not in layer.parts
        assert layer.delta_norm == pytest.approx(_norm(list(mine.values())), rel=1e-5)
        largest = max(torch.linalg.matrix_norm(c, 2).item() for c in mine.values())
        assert layer.spectral == pytest.approx(largest, rel=1e-5)


@pytest.mark.parametrize("start", [True, "pissa"])
def test_movement_is_relative_to_the_weights_training_started_from(start: Any) -> None:
    whole = {n: p.detach().double().clone() for n, p in tiny.model().named_parameters()}
    model = tiny.lora_model(init_lora_weights=start)
    initial = capture_lora_initial_state(model)
    shake(model)
    layer = read(model, initial)[1]
    weights = [w for n, w in whole.items() if ".layers.1." in n and w.dim() == 2]
    assert len(weights) == 7
    assert layer.relative == pytest.approx(layer.delta_norm / _norm(weights), rel=1e-5)


def test_norms_survive_large_matrices_and_small_movements() -> None:
    """Two traps: float32 `norm()` of a large matrix, and subtracting two products in float32."""
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=["0"], init_lora_weights=False)
    model = get_peft_model(torch.nn.Sequential(torch.nn.Linear(4096, 4_000, bias=False)), config)
    initial = capture_lora_initial_state(model)
    (_, before), base = updates(model).popitem(), model.get_submodule("base_model.model.0")
    shake(model, 1e-7)
    (_, after), (layer,) = updates(model).popitem(), read(model, initial)
    assert layer.delta_norm == pytest.approx(
        (after - before).square().sum().sqrt().item(), rel=1e-5
    )
    start = base.get_base_layer().weight.detach().double() + before
    assert layer.relative == pytest.approx(
        layer.delta_norm / start.square().sum().sqrt().item(), rel=1e-5
    )


def test_an_untrained_adapter_has_not_moved_and_needs_no_copy() -> None:
    model = tiny.lora_model()
    initial = capture_lora_initial_state(model)
    assert initial.factors == {}
    assert all((x.delta_norm, x.rank, x.spectral) == (0, 0, 0) for x in read(model, initial))


def test_factors_that_are_not_finite_are_told_and_do_not_stop_the_reading() -> None:
    model = tiny.lora_model()
    initial = capture_lora_initial_state(model)
    shake(model)
    module = model.get_submodule("base_model.model.model.layers.1.mlp.up_proj")
    module.lora_B["default"].weight.data[0, 0] = math.nan
    first, second, third = read(model, initial)
    assert math.isnan(second.delta_norm)
    assert math.isnan(second.parts["mlp"].spectral or 0)
    assert math.isfinite(second.parts["qkv"].norm)
    assert math.isfinite(first.delta_norm)
    assert math.isfinite(third.delta_norm)


def test_kinds_that_are_not_adapted_are_none_and_the_two_promised_as_numbers_are_zero() -> None:
    model = tiny.lora_model(target_modules=["q_proj", "v_proj"])
    initial = capture_lora_initial_state(model)
    shake(model)
    for entry in compute_lora_deltas(model, initial):
        assert entry["qkv"] > 0
        assert (entry["o"], entry["mlp"], entry["other"]) == (None, 0.0, None)
        assert entry["delta_norm"] == entry["qkv"]


def test_a_model_without_lora_has_no_layers() -> None:
    model = tiny.model()
    assert compute_lora_deltas(model, capture_lora_initial_state(model)) == []
    assert left_out(model) == {}


def test_layers_are_found_in_gpt2_too() -> None:
    torch.manual_seed(0)
    config = GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=90)
    base = AutoModelForCausalLM.from_config(config)
    model = get_peft_model(
        base, LoraConfig(r=2, target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True)
    )
    initial = capture_lora_initial_state(model)
    shake(model)
    layers = read(model, initial)
    assert [layer.layer for layer in layers] == [0, 1]
    assert all(layer.qkv and layer.o and layer.mlp for layer in layers)


def test_a_resumed_run_measures_from_its_own_start(tmp_path: Path) -> None:
    model = tiny.lora_model(init_lora_weights="pissa")
    first, note = start_of_run(Start(model=model, folder=tmp_path))
    assert not note
    shake(model)
    again, note = start_of_run(Start(model=model, folder=tmp_path, step=7))
    assert not note
    assert read(model, again) == read(model, first)
    lost, note = start_of_run(Start(model=model, folder=tmp_path / "other", step=7))
    assert note == "movement since step 7: where the adapters started is lost"
    assert all(layer.delta_norm == 0 for layer in read(model, lost))


def test_a_folder_that_takes_no_file_is_told_and_stops_nothing(tmp_path: Path) -> None:
    _, note = start_of_run(Start(model=tiny.lora_model(), folder=tmp_path / "missing"))
    assert note.startswith("where the adapters start could not be kept for a resume")


def test_the_top_five_are_the_largest_in_order() -> None:
    model = tiny.lora_model()
    initial = capture_lora_initial_state(model)
    shake(model)
    layers = read(model, initial)
    top = top_layers(Layers(step=1, time=0.0, layers=layers), n=2)
    assert [x.delta_norm for x in top] == sorted((x.delta_norm for x in layers), reverse=True)[:2]


def _norm(matrices: list[torch.Tensor]) -> float:
    return math.sqrt(sum(m.square().sum().item() for m in matrices))
