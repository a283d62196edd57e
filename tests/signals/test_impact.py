from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments
from watched import collate, encoded

from heldout.signals.adapters import adapted
from heldout.signals.impact import SAMPLES, WITNESSES, Impact
from heldout.signals.lora import ModuleReading

IDS = torch.randint(400, (4, 16), generator=torch.Generator().manual_seed(0))


def shaken(size: float = 0.05, **changes: Any) -> Any:
    """A LoRA model that has moved."""
    model = tiny.lora_model(**changes)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.add_(torch.randn_like(parameter) * size)
    return model


def backward(model: Any, ids: Tensor = IDS) -> None:
    model.zero_grad()
    model(input_ids=ids, labels=ids).loss.backward()


def told(impact: Impact, model: Any) -> dict[str, ModuleReading]:
    readings = [ModuleReading(name=x.name, place=x.place, square=0.0) for x in adapted(model)]
    for reading in readings:
        impact.tell(reading)
    return {reading.name: reading for reading in readings}


def impacts(impact: Impact, model: Any) -> dict[str, float | None]:
    return {name: reading.impact for name, reading in told(impact, model).items()}


def slopes(model: Any, ids: Tensor = IDS) -> dict[str, float]:
    """|dL / d log(scaling)| by autograd, through one scalar a module."""
    scalars, before = {}, {}
    for path, module in model.named_modules():
        if hasattr(module, "lora_A"):
            scalars[path] = torch.ones((), requires_grad=True)
            before[path] = module, dict(module.scaling)
            for adapter in module.scaling:
                module.scaling[adapter] = module.scaling[adapter] * scalars[path]
    loss = model(input_ids=ids, labels=ids).loss
    found = torch.autograd.grad(loss, list(scalars.values()))
    for module, scaling in before.values():
        module.scaling.update(scaling)
    names = [path.removeprefix("base_model.") for path in scalars]
    return {name: abs(slope.item()) for name, slope in zip(names, found, strict=True)}


def close(found: Any, expected: Any, rel: float = 1e-3) -> None:
    """Equal, up to the rounding of sums that come near to zero."""
    assert set(found) == set(expected)
    largest = max(expected.values())
    assert found == pytest.approx(expected, rel=rel, abs=1e-5 * largest)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"lora_alpha": 13, "use_rslora": True},
        {"init_lora_weights": "pissa"},
        {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 3}},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["lm_head", "down_proj"]},
    ],
)
def test_impact_is_the_slope_of_the_loss_along_each_adapters_scaling(changes: Any) -> None:
    model = shaken(**changes)
    expected = slopes(model)
    backward(model)
    impact = Impact()
    impact.sample(adapted(model))
    close(impacts(impact, model), expected)
    assert max(expected.values()) > 1e-4


def test_the_slope_is_what_scaling_each_adapter_does_to_the_loss() -> None:
    """The oracle's oracle: central differences, of a step that the float32 norms inside allow."""
    model, step = shaken().double(), 1e-2
    backward(model)
    impact = Impact()
    impact.sample(adapted(model))
    found = impacts(impact, model)
    for each in adapted(model):
        losses = []
        for sign in (1, -1):
            before = each.module.scaling["default"]
            each.module.scaling["default"] = before * (1 + sign * step)
            logits = model(input_ids=IDS).logits[:, :-1].flatten(0, 1)
            losses.append(nn.functional.cross_entropy(logits, IDS[:, 1:].flatten()).item())
            each.module.scaling["default"] = before
        slope = (losses[0] - losses[1]) / (2 * step)
        assert found[each.name] == pytest.approx(abs(slope), rel=1e-3, abs=1e-6)


def test_several_active_adapters_of_a_module_count_together() -> None:
    model = shaken()
    model.add_adapter("more", model.peft_config["default"])
    model.base_model.set_adapter(["default", "more"])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B.more" in name:
                parameter.add_(0.05)
    expected = slopes(model)
    backward(model)
    impact = Impact()
    impact.sample(adapted(model))
    close(impacts(impact, model), expected)


def test_the_gradients_norm_is_that_of_both_factors() -> None:
    model = shaken()
    backward(model)
    impact = Impact()
    returned = impact.sample(adapted(model))
    found = told(impact, model)
    for name in found:
        mine = [p.grad for n, p in model.named_parameters() if f"base_model.{name}.lora_" in n]
        assert len(mine) == 2
        exact = sum(g.double().square().sum().item() for g in mine if g is not None)
        assert found[name].grad_square == pytest.approx(exact, rel=1e-5)
        assert returned[name] == found[name].grad_square


def test_an_untrained_adapter_has_no_impact_but_a_gradient() -> None:
    model = tiny.lora_model()
    backward(model)
    impact = Impact()
    impact.sample(adapted(model))
    for reading in told(impact, model).values():
        assert reading.impact == 0
        assert reading.grad_square
        assert reading.grad_square > 0


def test_a_module_without_a_gradient_has_neither() -> None:
    model = shaken()
    name = "model.model.layers.1.mlp.up_proj"
    model.get_submodule(f"base_model.{name}").requires_grad_(False)
    backward(model)
    impact = Impact()
    squares = impact.sample(adapted(model))
    assert [x for x, square in squares.items() if square == 0] == [name]
    assert impacts(impact, model)[name] == 0


def test_before_the_first_sample_nothing_is_known() -> None:
    model = shaken()
    for reading in told(Impact(), model).values():
        assert (reading.impact, reading.grad_square) == (None, None)


@pytest.mark.parametrize("samples", [1, 2, 5])
def test_the_mean_over_samples_is_exponential_and_corrected_for_its_start(samples: int) -> None:
    model, impact, each = shaken(), Impact(), []
    for i in range(samples):
        ids = IDS.roll(i, 1)
        each.append(slopes(model, ids))
        backward(model, ids)
        impact.sample(adapted(model))
    alpha = 2 / (SAMPLES + 1)
    weights = [(1 - alpha) ** (samples - 1 - i) for i in range(samples)]
    expected = {
        name: sum(w * found[name] for w, found in zip(weights, each, strict=True)) / sum(weights)
        for name in each[0]
    }
    close(impacts(impact, model), expected)


def test_a_sample_that_is_not_finite_spoils_no_mean() -> None:
    model, impact = shaken(), Impact()
    backward(model)
    impact.sample(adapted(model))
    before = impacts(impact, model)
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad.fill_(math.nan)
    squares = impact.sample(adapted(model))
    assert all(math.isnan(square) for square in squares.values())
    assert impacts(impact, model) == before


def test_what_has_no_scaling_has_no_impact() -> None:
    model, impact = tiny.lora_model(use_dora=True), Impact()
    backward(model)
    impact.sample(adapted(model))
    assert set(impacts(impact, model).values()) == {None}
    assert all(reading.grad_square for reading in told(impact, model).values())


def test_a_saved_state_continues_the_same_means() -> None:
    model, whole, first = shaken(), Impact(), Impact()
    for i in range(3):
        backward(model, IDS.roll(i, 1))
        whole.sample(adapted(model))
        if i < 2:
            first.sample(adapted(model))
    again = Impact()
    again.restore(json.loads(json.dumps(first.state())))
    again.sample(adapted(model))
    assert impacts(again, model) == impacts(whole, model)
    assert again.state() == whole.state()


class Sampling(TrainerCallback):
    """Drives an Impact as the training goes."""

    def __init__(self, impact: Impact, clipping_is_seen: bool = True, every: int = 1) -> None:
        self._impact, self._seen, self._every = impact, clipping_is_seen, every
        self.squares: list[dict[str, float]] = []
        self.clipped: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._impact.armed = self._every == 1
        self._impact.begin(adapted(kwargs["model"]), self._seen)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        step, model = state.global_step + 1, kwargs["model"]
        if step % self._every == 0:
            self.squares.append(self._impact.sample(adapted(model)))
            grads = [p.grad for p in model.parameters() if p.grad is not None]
            self.clipped.append(torch.stack([g.float().norm() for g in grads]).norm().item())
        self._impact.armed = (step + 1) % self._every == 0

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._impact.end()


def run(tmp_path: Path, tokenizer: Any, model: Any, sampling: Sampling, **more: Any) -> None:
    settings = {
        "output_dir": str(tmp_path / "out"),
        "max_steps": 4,
        "per_device_train_batch_size": 4,
        "learning_rate": 0.0,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "seed": 3,
    }
    Trainer(
        model=model,
        args=TrainingArguments(**{**settings, **more}),
        train_dataset=encoded(tokenizer),
        data_collator=collate,
        callbacks=[sampling],
    ).train()


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize(("dtype", "rel"), [(torch.float32, 1e-4), (torch.bfloat16, 3e-2)])
def test_clipping_changes_no_number(
    tmp_path: Path, tokenizer: Any, accumulation: int, every: int, dtype: torch.dtype, rel: float
) -> None:
    found = []
    for most in (1e-3, 0.0):
        model, impact = shaken().to(dtype), Impact()
        sampling = Sampling(impact, every=every)
        more = {"gradient_accumulation_steps": accumulation, "max_grad_norm": most}
        run(tmp_path, tokenizer, model, sampling, **more)
        assert len(sampling.squares) == 4 // every
        found.append((impacts(impact, model), sampling))
    (clipped, how), (free, plainly) = found
    assert how.clipped == pytest.approx([1e-3] * len(how.clipped), rel=0.02)
    assert min(plainly.clipped) > 0.1
    close(clipped, free, rel)
    for ours, theirs in zip(how.squares, plainly.squares, strict=True):
        assert ours == pytest.approx(theirs, rel=rel)


def test_where_clipping_is_not_seen_the_numbers_are_of_the_clipped_gradients(
    tmp_path: Path, tokenizer: Any
) -> None:
    sampling = Sampling(Impact(), clipping_is_seen=False)
    run(tmp_path, tokenizer, shaken(), sampling, max_grad_norm=1e-3)
    for squares, norm in zip(sampling.squares, sampling.clipped, strict=True):
        assert math.sqrt(sum(squares.values())) == pytest.approx(norm, rel=1e-4)


@pytest.mark.parametrize("end", ["train", "end"])
def test_the_witnesses_keep_no_hook(tmp_path: Path, tokenizer: Any, end: str) -> None:
    model, impact = shaken(), Impact()
    if end == "train":
        run(tmp_path, tokenizer, model, Sampling(impact), max_steps=1)
    else:
        impact.begin(adapted(model), clipping_is_seen=True)
        assert 1 < len(hooks(model)) <= WITNESSES
        impact.end()
        impact.end()
    assert hooks(model) == []


def hooks(model: nn.Module) -> list[Any]:
    found = [getattr(p, "_post_accumulate_grad_hooks", None) or {} for p in model.parameters()]
    return [hook for each in found for hook in each.values()]


def test_no_hook_is_put_where_nothing_of_lora_is_trained() -> None:
    model = shaken()
    model.requires_grad_(False)
    impact = Impact()
    impact.begin(adapted(model), clipping_is_seen=True)
    assert hooks(model) == []
    assert set(impact.sample(adapted(model)).values()) == {0.0}
    impact.end()


def test_the_witnesses_are_only_looked_at_in_sampled_steps() -> None:
    model, impact = shaken(), Impact()
    impact.begin(adapted(model), clipping_is_seen=True)
    backward(model)
    assert impact._fired == {}
    impact.armed = True
    backward(model)
    assert len(impact._fired) == len(hooks(model))
    impact.sample(adapted(model))
    assert impact._fired == {}
    impact.end()


def clip(model: nn.Module, by: float) -> None:
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad *= by


def test_one_module_with_a_gradient_is_enough_to_see_the_clipping() -> None:
    """The others are in a part of the model that the batch leaves aside."""
    model = shaken()
    for each in adapted(model):
        first = each.name.startswith("model.model.layers.0.")
        each.module.scaling["default"] *= float(first)
    expected = slopes(model)
    impact = Impact()
    impact.begin(adapted(model), clipping_is_seen=True)
    impact.armed = True
    backward(model)
    clip(model, 1e-3)
    impact.sample(adapted(model))
    assert not impact.clipped_unseen
    assert max(expected.values()) > 1e-4
    close(impacts(impact, model), expected)


def test_clipping_that_no_witness_saw_is_told_and_in_no_mean() -> None:
    model, impact = shaken(), Impact()
    impact.begin(adapted(model), clipping_is_seen=True)
    backward(model)
    impact.sample(adapted(model))
    assert impact.clipped_unseen
    assert set(impacts(impact, model).values()) == {None}
    impact.armed = True
    backward(model)
    impact.sample(adapted(model))
    assert not impact.clipped_unseen
    assert None not in impacts(impact, model).values()
    impact.end()


@pytest.mark.parametrize("clipping_is_seen", [True, False])
def test_gradients_that_were_there_and_are_gone_are_told_from_none(clipping_is_seen: bool) -> None:
    model, impact = shaken(), Impact()
    impact.begin(adapted(model), clipping_is_seen)
    impact.armed = True
    assert not impact.are_freed(adapted(model))
    backward(model)
    assert not impact.are_freed(adapted(model))
    model.zero_grad()
    assert impact.are_freed(adapted(model))
    impact.skip()
    assert not impact.are_freed(adapted(model))
    impact.end()


def test_a_gradient_that_is_taken_within_the_backward_pass_throws_nothing() -> None:
    model, impact = shaken(), Impact()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(lambda p: setattr(p, "grad", None))
    impact.begin(adapted(model), clipping_is_seen=True)
    impact.armed = True
    backward(model)
    assert impact.are_freed(adapted(model))
    impact.end()


def test_a_forgotten_mean_starts_anew() -> None:
    model, impact = shaken(), Impact()
    backward(model)
    impact.sample(adapted(model))
    before, name = impacts(impact, model), adapted(model)[0].name
    impact.forget([name])
    assert {n for n, x in impacts(impact, model).items() if x is None} == {name}
    assert None not in before.values()
