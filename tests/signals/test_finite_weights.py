from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import nn

from heldout.signals.each.finite_weights import EVERY, FiniteWeights
from heldout.signals.moment import Moment, Start, Values


def look(model: nn.Module, step: int = EVERY, last: bool = False) -> Values:
    signal = FiniteWeights()
    signal.begin(Start(model=model, folder=Path()))
    assert signal.collect() == ()
    return signal.step(Moment(step=step, seconds=1.0, model=model, last=last), ())


def poisoned(model: nn.Module, values: dict[str, float]) -> int:
    """Put a value into one entry of each parameter whose name holds a key; returns how many."""
    found = 0
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            for part, value in values.items():
                if part in name:
                    parameter.flatten()[-1] = value
                    found += 1
    return found


def counted(number: float) -> dict[str, float]:
    return {"weights/non_finite": number}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_one_entry_that_is_not_finite_counts_its_tensor(bad: float, dtype: torch.dtype) -> None:
    model = tiny.lora_model().to(dtype)
    assert look(model) == counted(0)
    assert poisoned(model, {"layers.1.mlp.up_proj.lora_B": bad}) == 1
    assert look(model) == counted(1)


def test_tensors_are_counted_and_not_entries() -> None:
    model = tiny.lora_model()
    module: Any = model.get_submodule("base_model.model.model.layers.1.mlp.up_proj")
    module.lora_B["default"].weight.data.fill_(math.nan)
    assert look(model) == counted(1)
    assert look(model, 7, last=True) == counted(1)
    assert poisoned(model, {"q_proj.lora_A": math.inf}) == 3
    assert look(model) == counted(4)


def test_frozen_weights_are_not_looked_at() -> None:
    model = tiny.lora_model()
    assert poisoned(model, {"layers.1.mlp.up_proj.base_layer": math.nan, "norm": math.inf}) > 2
    assert look(model) == counted(0)


def test_all_weights_are_looked_at_where_all_are_trained() -> None:
    model = tiny.model()
    assert poisoned(model, {"layers.0.input_layernorm": math.nan, "embed_tokens": math.inf}) == 2
    assert look(model) == counted(2)


@pytest.mark.parametrize("step", [1, 2, EVERY - 1, EVERY + 1])
def test_it_looks_at_every_tenth_step_and_the_last_only(step: int) -> None:
    model = tiny.lora_model()
    poisoned(model, {"lora_B": math.nan})
    assert look(model, step) == {}
    assert look(model, step, last=True)["weights/non_finite"] > 0
    assert look(model, 3 * EVERY)["weights/non_finite"] > 0


def test_nothing_is_said_where_nothing_is_trained() -> None:
    assert look(tiny.lora_model(inference_mode=True)) == {}
    assert look(nn.Sequential()) == {}


def test_empty_tensors_are_passed_over() -> None:
    model = nn.Linear(3, 4)
    model.register_parameter("nothing", nn.Parameter(torch.zeros(0)))
    assert look(model) == counted(0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_large_finite_weights_of_half_precision_are_finite(dtype: torch.dtype) -> None:
    """Their norm is beyond float16's largest number, 65,504."""
    model = nn.Linear(200, 200).to(dtype)
    nn.init.constant_(model.weight, 1000.0)
    assert look(model) == counted(0)
    model.weight.data[3, 3] = math.inf
    assert look(model) == counted(1)


def test_weights_of_several_kinds_are_looked_at_together() -> None:
    model = nn.Sequential(*(nn.Linear(3, 3).to(x) for x in (torch.float64, torch.bfloat16)))
    assert look(model) == counted(0)
    poisoned(model, {"0.weight": math.nan, "1.bias": math.nan})
    assert look(model) == counted(2)


def test_looking_changes_no_weight_and_keeps_no_graph() -> None:
    model = tiny.lora_model()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    look(model)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    assert all(p.grad is None for p in model.parameters())
