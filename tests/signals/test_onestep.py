from __future__ import annotations

from typing import Any

import pytest
import tiny
import torch
from torch import Tensor

from heldout.signals import onestep
from heldout.signals.adapters import LowRank, adapted
from heldout.signals.lora import ModuleReading, capture_lora_initial_state, read_modules
from heldout.signals.onestep import OneStep


def products(model: Any) -> dict[str, Tensor]:
    """Every module's materialised update in float64."""
    found = {}
    for each in adapted(model):
        assert isinstance(each, LowRank)
        b, a = each.factors()
        found[each.name] = b.double() @ a.double()
    return found


def readings(model: Any) -> list[ModuleReading]:
    return [ModuleReading(name=x.name, place=x.place, square=0.0) for x in adapted(model)]


class Training:
    """Real AdamW steps on random tokens."""

    def __init__(self, model: Any, learning_rate: float = 1e-3) -> None:
        self.model = model
        parameters = [p for p in model.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(parameters, lr=learning_rate)
        self._random = torch.Generator().manual_seed(0)

    def step(self) -> None:
        ids = torch.randint(400, (2, 12), generator=self._random)
        self._optimizer.zero_grad()
        self.model(input_ids=ids, labels=ids).loss.backward()
        self._optimizer.step()


def framed(
    one_step: OneStep, training: Training
) -> tuple[dict[str, float | None], dict[str, float]]:
    """What is read of one step: square norms of the change, and shares left unchanged."""
    one_step.before(adapted(training.model))
    training.step()
    modules = readings(training.model)
    unchanged = one_step.after(adapted(training.model), modules)
    return {module.name: module.speed_square for module in modules}, unchanged


@pytest.mark.parametrize("start", [True, "pissa", False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_speed_is_the_norm_of_what_one_step_changes(start: Any, dtype: torch.dtype) -> None:
    model = tiny.lora_model(init_lora_weights=start, lora_alpha=10).to(dtype)
    training, one_step = Training(model), OneStep()
    for _ in range(3):
        before = products(model)
        found, _ = framed(one_step, training)
        for name, now in products(model).items():
            exact = (now - before[name]).square().sum().item()
            assert exact > 0
            assert found[name] == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("rate", [1e-5, 1e-7])
def test_steps_that_change_almost_nothing_are_read_to_their_last_digits(rate: float) -> None:
    model = tiny.lora_model(init_lora_weights="pissa")
    training = Training(model, rate)
    before = products(model)
    found, _ = framed(OneStep(), training)
    for name, now in products(model).items():
        exact = (now - before[name]).square().sum().item()
        assert found[name] == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_scaling_that_is_set_within_the_step_counts(dtype: torch.dtype) -> None:
    model = tiny.lora_model(init_lora_weights=False, lora_alpha=10).to(dtype)
    one_step, before = OneStep(), products(model)
    one_step.before(adapted(model))
    for each in adapted(model):
        each.module.set_scale("default", 0.3)
    modules, after = readings(model), products(model)
    one_step.after(adapted(model), modules)
    for module in modules:
        exact = (after[module.name] - before[module.name]).square().sum().item()
        assert exact > 0
        assert module.speed_square == pytest.approx(exact, rel=1e-5)


def test_a_step_that_changes_nothing_has_speed_zero() -> None:
    model = tiny.lora_model(init_lora_weights="pissa")
    found, unchanged = framed(OneStep(), Training(model, 0.0))
    assert set(found.values()) == {0.0}
    assert unchanged == {}


def test_what_the_optimizer_does_not_touch_is_seen_at_once() -> None:
    model = tiny.lora_model()
    frozen = model.get_submodule("base_model.model.model.layers.1.mlp.up_proj")
    frozen.requires_grad_(False)
    found, _ = framed(OneStep(), Training(model))
    assert [name for name, square in found.items() if square == 0] == [
        "model.model.layers.1.mlp.up_proj"
    ]


def test_layers_that_do_not_fit_together_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.lora_model(layers=5)
    size = sum(p.numel() * 4 for x in adapted(model) for p in x.parameters()) // 5
    monkeypatch.setattr(onestep, "COPIED_BYTES", 2 * size)
    training, one_step, visits = Training(model), OneStep(), []
    for _ in range(5):
        before = products(model)
        found, _ = framed(one_step, training)
        read = {name: square for name, square in found.items() if square is not None}
        layers = sorted({int(name.split("layers.")[1].split(".")[0]) for name in read})
        assert len(read) == 7 * len(layers)
        visits.append(layers)
        for name, square in read.items():
            exact = (products(model)[name] - before[name]).square().sum().item()
            assert square == pytest.approx(exact, rel=1e-5)
    assert visits == [[0, 1], [2, 3], [0, 4], [1, 2], [3, 4]]


def test_a_layer_larger_than_the_limit_is_read_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onestep, "COPIED_BYTES", 1)
    model = tiny.lora_model()
    training, one_step, visits = Training(model), OneStep(), []
    for _ in range(4):
        found, _ = framed(one_step, training)
        visits.append(
            {n.split("layers.")[1][0] for n, square in found.items() if square is not None}
        )
    assert visits == [{"0"}, {"1"}, {"2"}, {"0"}]


def test_no_more_is_copied_than_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.lora_model(layers=5)
    monkeypatch.setattr(onestep, "COPIED_BYTES", 60_000)
    one_step = OneStep()
    one_step.before(adapted(model))
    copied = [t for each in one_step._copies.values() for t in (each.b, each.a)]
    assert 30_000 < sum(t.numel() * t.element_size() for t in copied) <= 60_000


def test_the_share_of_unchanged_entries_is_that_of_the_factor_that_changed_least() -> None:
    model = tiny.lora_model().to(torch.bfloat16)
    training, one_step = Training(model, 1e-4), OneStep()
    for _ in range(3):
        before = {n: p.detach().clone() for n, p in model.named_parameters()}
        _, unchanged = framed(one_step, training)
        same = {
            n: (p == before[n]).double().mean().item()
            for n, p in model.named_parameters()
            if p.requires_grad
        }
        assert len(unchanged) == 21
        for name, share in unchanged.items():
            mine = [x for n, x in same.items() if f"base_model.{name}." in n]
            assert len(mine) == 2
            assert share == pytest.approx(max(mine), abs=1e-6)
    assert max(unchanged.values()) > 0.5


def test_a_factor_frozen_on_purpose_is_not_rounded_away() -> None:
    model = tiny.lora_model().to(torch.bfloat16)
    for name, parameter in model.named_parameters():
        if "lora_A" in name:
            parameter.requires_grad_(False)
    _, unchanged = framed(OneStep(), Training(model, 1.0))
    assert max(unchanged.values()) < 0.5


def test_factors_in_float32_are_not_asked_for_rounding() -> None:
    assert framed(OneStep(), Training(tiny.lora_model(), 1e-9))[1] == {}


def test_nothing_is_kept_between_readings() -> None:
    model = tiny.lora_model().to(torch.bfloat16)
    training, one_step = Training(model), OneStep()
    framed(one_step, training)
    assert not one_step._copies
    assert not one_step._halves
    training.step()
    modules = readings(model)
    assert one_step.after(adapted(model), modules) == {}
    assert {module.speed_square for module in modules} == {None}


def test_copies_do_not_follow_the_weights() -> None:
    model = tiny.lora_model()
    one_step = OneStep()
    one_step.before(adapted(model))
    pointers = {p.data_ptr() for p in model.parameters()}
    copies = [t for each in one_step._copies.values() for t in (each.b, each.a)]
    assert copies
    assert not any(t.data_ptr() in pointers for t in copies)


def test_an_adapter_that_is_gone_after_the_step_is_passed_over() -> None:
    model = tiny.lora_model().to(torch.bfloat16)
    one_step, found = OneStep(), adapted(model)
    one_step.before(found)
    kept = [x for x in found if "up_proj" not in x.name]
    modules = read_modules(kept, capture_lora_initial_state(model))
    assert len(one_step.after(kept, modules)) == 18


def test_a_model_without_low_rank_adapters_has_no_speed() -> None:
    model = tiny.lora_model(use_dora=True)
    found, unchanged = framed(OneStep(), Training(model))
    assert set(found.values()) == {None}
    assert unchanged == {}
