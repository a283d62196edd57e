"""What is read where adapters are switched, added or taken from the optimizer while training runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import tiny
import torch
from torch import Tensor
from transformers import Trainer, TrainerCallback, TrainingArguments
from watched import collate, encoded

import heldout
from heldout.records import Layers
from heldout.signals.adapters import (
    LowRank,
    active_adapters,
    adapted,
    adapter_names,
    beside,
    trained_beside,
)
from heldout.signals.each.lora_layers import ADDED, BESIDE, CLIPPED_NOW, FREED, LEFT_OUT, NO_IMPACT
from heldout.signals.lora import LoraStart, read_modules
from heldout.signals.onestep import OneStep
from heldout.store.journal import read


class At(TrainerCallback):
    """Does something to the model at the end of one step."""

    def __init__(self, step: int, act: Callable[[Any], Any]) -> None:
        self._step, self._act = step, act

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self._step:
            self._act(kwargs["model"])


def trained(
    folder: Path, tokenizer: Any, model: Any, *callbacks: Any, make: Any = Trainer, **more: Any
) -> list[Layers]:
    """The readings of a run; `resume` continues it from a checkpoint."""
    settings = {
        "output_dir": str(folder / "out"),
        "max_steps": 20,
        "per_device_train_batch_size": 2,
        "learning_rate": 1e-2,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "seed": 3,
    }
    resume = more.pop("resume", None)
    monitor = heldout.Monitor(None, runs=folder / "runs", run="r", every=1000)
    made = make(
        model=model,
        args=TrainingArguments(**{**settings, **more}),
        train_dataset=encoded(tokenizer),
        data_collator=collate,
        callbacks=[*callbacks, monitor],
    )
    made.train(resume_from_checkpoint=resume)
    records = read(folder / "runs" / "r" / "journal.jsonl")[0]
    return [record for record in records if isinstance(record, Layers)]


def product(model: Any, name: str) -> dict[str, Tensor]:
    """One adapter's materialised updates in float64, by PEFT's own account."""
    found = {}
    for path, module in model.named_modules():
        if name in getattr(module, "lora_A", {}):
            found[path] = module.get_delta_weight(name).detach().double()
    return found


def whole(reading: Layers) -> float:
    return math.hypot(*(layer.delta_norm for layer in reading.layers))


def norm(before: dict[str, Tensor], after: dict[str, Tensor]) -> float:
    squares = [(x - before[name]).square().sum().item() for name, x in after.items()]
    return math.sqrt(sum(squares))


def two(start: Any, second: Any, modules: tuple[str, ...] = ("q_proj",)) -> Any:
    model = tiny.lora_model(target_modules=["q_proj"], init_lora_weights=start)
    settings = peft.LoraConfig(r=4, target_modules=list(modules), init_lora_weights=second)
    model.add_adapter("b", settings)
    return model


def test_every_adapter_can_be_read_by_itself() -> None:
    model = two(True, False, ("q_proj", "up_proj"))
    assert adapter_names(model) == ["default", "b"]
    assert [len(adapted(model, name)) for name in ("default", "b", "c")] == [3, 6, 0]
    for each in adapted(model, "b"):
        assert isinstance(each, LowRank)
        b, a = each.factors()
        expected = each.module.get_delta_weight("b")
        assert torch.allclose(b[0] @ a[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.set_adapter("b"),
        lambda model: model.base_model.set_adapter(["default", "b"]),
        lambda model: model.add_adapter("c", peft.LoraConfig(r=2, target_modules=["o_proj"])),
    ],
)
def test_a_change_of_the_active_adapters_is_seen(change: Any) -> None:
    model = two(True, True)
    before = active_adapters(model)
    assert before == active_adapters(model)
    change(model)
    assert before != active_adapters(model)


@pytest.mark.parametrize("second", [True, False])
def test_an_adapter_added_to_the_active_ones_is_read_from_its_start(
    tmp_path: Path, tokenizer: Any, second: bool
) -> None:
    model = two(True, second, ("q_proj", "up_proj"))
    start, ends = product(model, "b"), {}

    def look(model: Any) -> None:
        both = product(model, "b")
        for path, update in product(model, "default").items():
            both[path] = both[path] + update
        ends[len(ends)] = both

    add = At(3, lambda model: model.base_model.set_adapter(["default", "b"]))
    found = trained(tmp_path, tokenizer, model, add, At(10, look), At(20, look))
    for reading, now in zip(found[1:], ends.values(), strict=True):
        assert set(reading.layers[0].parts) == {"qkv", "mlp"}
        assert whole(reading) == pytest.approx(norm(start, now), rel=1e-5)
        assert (NO_IMPACT in reading.note) is not second


@pytest.mark.parametrize("second", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_an_adapter_switched_to_is_read_from_its_own_start(
    tmp_path: Path, tokenizer: Any, first: bool, second: bool
) -> None:
    model = two(first, second)
    starts = {name: product(model, name) for name in ("default", "b")}
    switch = At(13, lambda model: [model.set_adapter("b"), train(model)])
    train(model)
    found = trained(tmp_path, tokenizer, model, switch, max_steps=30)
    assert [reading.step for reading in found] == [1, 10, 20, 30]
    now = product(model, "b")
    assert norm(starts["b"], now) > 0
    assert whole(found[-1]) == pytest.approx(norm(starts["b"], now), rel=1e-5)
    assert (NO_IMPACT in found[1].note) is not first
    assert (NO_IMPACT in found[-1].note) is not second
    for layer, each in zip(found[-1].layers, adapted(model), strict=True):
        weight = (
            each.module.get_base_layer().weight.double() + starts["b"]["base_model." + each.name]
        )
        assert layer.relative == pytest.approx(layer.delta_norm / weight.norm().item(), rel=1e-5)


def train(model: Any) -> None:
    """Have the optimizer know every adapter."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)


def test_after_a_switch_the_gradients_are_as_before_clipping_or_said_not_to_be(
    tmp_path: Path, tokenizer: Any
) -> None:
    found = []
    for most in (1e-3, 1e9):
        model = two(True, True)
        train(model)
        switch = At(12, lambda model: [model.base_model.set_adapter("b"), train(model)])
        more = {"max_grad_norm": most, "max_steps": 30, "learning_rate": 0.0}
        found.append(trained(tmp_path / str(most), tokenizer, model, switch, **more))
    for clipped, free in zip(*found, strict=True):
        assert (CLIPPED_NOW in clipped.note) is (clipped.step == 20)
        for ours, theirs in zip(clipped.layers, free.layers, strict=True):
            if clipped.step in (10, 30):
                assert ours.grad
                assert ours.grad == pytest.approx(theirs.grad, rel=1e-3)


def test_an_adapter_that_comes_later_is_read_since_it_was_first_seen(
    tmp_path: Path, tokenizer: Any
) -> None:
    model = tiny.lora_model(target_modules=["q_proj"])
    seen: dict[str, Tensor] = {}

    def add(model: Any) -> None:
        settings = peft.LoraConfig(r=4, target_modules=["k_proj"], init_lora_weights=False)
        model.add_adapter("late", settings)
        model.set_adapter("late")
        seen.update(product(model, "late"))

    found = trained(tmp_path, tokenizer, model, At(4, add))
    assert whole(found[1]) == 0
    assert ADDED.format(name="late", step=10) in found[1].note
    assert "late" not in found[0].note


def test_an_interrupted_run_knows_where_an_inactive_adapter_started(
    tmp_path: Path, tokenizer: Any
) -> None:
    model = two("pissa", False)
    start = product(model, "b")

    @torch.no_grad()
    def move(model: Any) -> None:
        for name, parameter in model.named_parameters():
            if name.endswith(".b.weight"):
                parameter.add_(0.01)

    more = {"save_strategy": "steps", "save_steps": 5}
    trained(tmp_path, tokenizer, model, At(2, move), max_steps=5, **more)
    again, switch = two("pissa", False), At(12, lambda model: model.set_adapter("b"))
    checkpoint = str(tmp_path / "out" / "checkpoint-5")
    found = trained(tmp_path, tokenizer, again, switch, resume=checkpoint, **more)
    expected = norm(start, product(again, "b"))
    assert expected > 0.1
    assert whole(found[-1]) == pytest.approx(expected, rel=1e-5)
    assert "lost" not in found[-1].note


class Fused(Trainer):
    """Steps the optimizer within the backward pass and drops the gradients, as DeepSpeed does."""

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().training_step(*args, **kwargs)
        assert self.optimizer is not None
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss


def test_a_step_in_which_the_adapter_is_switched_has_no_speed() -> None:
    model, one_step = two(False, False), OneStep()
    model.to(torch.bfloat16)
    one_step.before(adapted(model))
    model.set_adapter("b")
    found = adapted(model)
    modules = read_modules(found, LoraStart())
    assert one_step.after(found, modules) == {}
    assert {module.speed_square for module in modules} == {None}


def test_while_no_adapter_is_active_nothing_is_read(tmp_path: Path, tokenizer: Any) -> None:
    model = tiny.lora_model(target_modules=["q_proj"])
    model.get_submodule("base_model.model.lm_head").requires_grad_(True)
    off = At(3, lambda model: model.base_model.set_adapter([]))
    on = At(12, lambda model: model.base_model.set_adapter(["default"]))
    found = trained(tmp_path, tokenizer, model, off, on, max_steps=30)
    assert [reading.step for reading in found] == [1, 20, 30]
    assert whole(found[-1]) > 0


def test_gradients_that_are_gone_are_unknown_and_not_zero(tmp_path: Path, tokenizer: Any) -> None:
    found = trained(tmp_path, tokenizer, tiny.lora_model(), make=Fused)
    for reading in found:
        assert FREED in reading.note
        for layer in reading.layers:
            assert layer.delta_norm > 0
            assert layer.relative is not None
            assert (layer.grad, layer.impact, layer.impact_share, layer.speed) == (None,) * 4
            assert layer.state == "ok"


def test_adapters_that_the_optimizer_does_not_have_are_frozen(
    tmp_path: Path, tokenizer: Any
) -> None:
    def without(model: Any, **kwargs: Any) -> Trainer:
        known = [p for name, p in model.named_parameters() if ".layers.1." not in name]
        optimizer = torch.optim.AdamW([p for p in known if p.requires_grad], lr=1e-3)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        return Trainer(model=model, optimizers=(optimizer, schedule), **kwargs)

    found = trained(tmp_path, tokenizer, tiny.lora_model(), make=without, max_steps=40)
    assert [layer.state for layer in found[2].layers] == ["ok"] * 3
    for reading in found[3:]:
        assert [layer.state for layer in reading.layers] == ["ok", "frozen", "ok"]
        assert LEFT_OUT in reading.note
        assert len(reading.troubles) == 7
    assert LEFT_OUT not in found[2].note


def test_weights_unfrozen_by_hand_are_mentioned(tmp_path: Path, tokenizer: Any) -> None:
    model = tiny.lora_model(target_modules=["q_proj"], modules_to_save=["lm_head"])
    assert trained_beside(beside(model)) == []
    for name, parameter in model.named_parameters():
        if "down_proj" in name or name.endswith("layers.0.self_attn.q_proj.base_layer.weight"):
            parameter.requires_grad_(True)
    others = trained_beside(beside(model))
    assert len(others) == 4
    last = trained(tmp_path, tokenizer, model, max_steps=10)[-1]
    assert last.note == BESIDE.format(n=4, name=others[0])


def test_a_resumed_run_measures_full_weights_from_their_own_start(
    tmp_path: Path, tokenizer: Any
) -> None:
    model = tiny.model()
    more = {"save_strategy": "steps", "save_steps": 10}
    first = trained(tmp_path, tokenizer, model, max_steps=10, **more)
    checkpoint = str(tmp_path / "out" / "checkpoint-10")
    again = trained(tmp_path, tokenizer, tiny.model(), resume=checkpoint, **more)
    assert [reading.step for reading in again] == [1, 10, 20]
    assert whole(again[-1]) > whole(first[-1])
    assert "lost" not in again[-1].note
    (tmp_path / "runs" / "r" / "weights_start.pt").unlink()
    lost = trained(tmp_path, tokenizer, tiny.model(), resume=checkpoint, **more)[-1]
    assert lost.note.endswith("movement since step 10: where the weights started is lost")
    assert whole(lost) < whole(again[-1])
