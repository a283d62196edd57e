from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import peft
import pytest
import tiny
import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments
from watched import collate, encoded

import heldout
from heldout.records import Layers, Sample
from heldout.signals.adapters import LowRank, adapted
from heldout.signals.each.lora_layers import EVERY, NO_IMPACT, SHARE_OF_RUN, LoraLayers
from heldout.signals.moment import Moment, Start
from heldout.store.journal import read

STEPS = 60
IDS = torch.randint(400, (4, 16), generator=torch.Generator().manual_seed(0))


def trainer(folder: Path, tokenizer: Any, model: Any, *callbacks: Any, **more: Any) -> Trainer:
    settings = {
        "output_dir": str(folder / "out"),
        "max_steps": STEPS,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "seed": 3,
    }
    monitor = heldout.Monitor(None, runs=folder / "runs", run="r", every=1000)
    return Trainer(
        model=model,
        args=TrainingArguments(**{**settings, **more}),
        train_dataset=encoded(tokenizer),
        data_collator=collate,
        callbacks=[*callbacks, monitor],
    )


def readings(folder: Path) -> list[Layers]:
    records = read(folder / "runs" / "r" / "journal.jsonl")[0]
    return [record for record in records if isinstance(record, Layers)]


def products(model: Any) -> dict[str, Tensor]:
    """Every module's materialised product in float64."""
    found = {}
    for each in adapted(model):
        assert isinstance(each, LowRank)
        b, a = each.factors()
        found[each.name] = b.double() @ a.double()
    return found


class Look(TrainerCallback):
    """Materialises every product before the first and after every step of a run."""

    def __init__(self) -> None:
        self.seen: dict[int, dict[str, Tensor]] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.seen[0] = products(kwargs["model"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.seen[state.global_step] = products(kwargs["model"])


def of_layer(found: Mapping[str, Tensor], layer: int) -> dict[str, Tensor]:
    return {name: each for name, each in found.items() if f".layers.{layer}." in name}


def norm(matrices: Any) -> float:
    return math.sqrt(sum(matrix.square().sum().item() for matrix in matrices))


@pytest.mark.parametrize("start", [True, "pissa"])
def test_a_real_run_is_read_as_its_materialised_updates_say(
    tmp_path: Path, tokenizer: Any, start: Any
) -> None:
    look, model = Look(), tiny.lora_model(init_lora_weights=start)
    trainer(tmp_path, tokenizer, model, look, max_steps=STEPS + 3).train()
    found = readings(tmp_path)
    assert [r.step for r in found] == [1, 10, 20, 30, 40, 50, 60, 63]
    for reading in found:
        first, before, now = (look.seen[s] for s in (0, reading.step - 1, reading.step))
        assert [layer.layer for layer in reading.layers] == [0, 1, 2]
        for layer in reading.layers:
            moved = [x - first[n] for n, x in of_layer(now, layer.layer).items()]
            step = norm(x - before[n] for n, x in of_layer(now, layer.layer).items())
            assert layer.delta_norm == pytest.approx(norm(moved), rel=1e-5)
            largest = max(torch.linalg.matrix_norm(x, 2).item() for x in moved)
            assert layer.spectral == pytest.approx(largest, rel=1e-5)
            if reading.step == STEPS + 3:
                assert layer.speed is None
            else:
                assert layer.relative
                assert layer.speed == pytest.approx(
                    step * layer.relative / layer.delta_norm, rel=1e-5
                )
        assert reading.note == ("" if start is True else NO_IMPACT)
        assert reading.troubles == {}


def test_shares_of_impact_add_up_to_one_and_are_each_layers_part(
    tmp_path: Path, tokenizer: Any
) -> None:
    trainer(tmp_path, tokenizer, tiny.lora_model()).train()
    first, *found = readings(tmp_path)
    assert [(x.impact, x.impact_share, x.grad) for x in first.layers] == [(None, None, None)] * 3
    for reading in found:
        assert sum(x.impact_share or 0.0 for x in reading.layers) == pytest.approx(1)
        total = sum(x.impact or 0.0 for x in reading.layers)
        for layer in reading.layers:
            assert layer.impact
            assert layer.impact_share == pytest.approx(layer.impact / total)
            parts = layer.parts.values()
            assert sum(part.impact or 0.0 for part in parts) == pytest.approx(layer.impact)
            assert layer.grad == pytest.approx(math.hypot(*(part.grad or 0.0 for part in parts)))


def test_clipping_and_accumulation_leave_the_recorded_gradients_alone(
    tmp_path: Path, tokenizer: Any
) -> None:
    found = []
    for most in (1e-3, 0.0):
        folder = tmp_path / str(most)
        more = {"max_grad_norm": most, "gradient_accumulation_steps": 2, "learning_rate": 0.0}
        model = tiny.lora_model(init_lora_weights=False)
        trainer(folder, tokenizer, model, max_steps=20, **more).train()
        found.append(readings(folder)[-1].layers)
    for clipped, free in zip(*found, strict=True):
        assert clipped.impact is None, "of adapters that did not start at zero"
        assert clipped.grad == pytest.approx(free.grad, rel=1e-3)
        assert free.grad
        assert free.grad > 1e-2


class Run:
    """Drives the signal alone through chosen steps of a model that is given its gradients.

    What clipping takes is only seen where the step before was made too.
    """

    def __init__(self, model: nn.Module, folder: Path, step: int = 0) -> None:
        self.model, self.signal = model, LoraLayers()
        self.signal.begin(Start(model=model, folder=folder, step=step))

    def step(self, step: int, last: bool = False) -> Layers | None:
        self.signal.before_update(step, self.model)
        moment = Moment(step=step, seconds=1.0, model=self.model, last=last)
        assert self.signal.step(moment, ()) == {}
        found = self.signal.records(moment, {"loss/streaming": 2.0})
        assert len(found) <= 1
        return found[0] if found else None


def small() -> Any:
    return tiny.lora_model(layers=2, target_modules=["q_proj"])


def test_later_readings_are_at_most_a_hundredth_of_the_steps_so_far_apart(tmp_path: Path) -> None:
    run = Run(small(), tmp_path)
    at = [step for step in range(1, 12_000) if run.step(step)]
    assert at[:101] == [1, *range(10, 1001, 10)]
    assert all(step % EVERY == 0 for step in at[1:])
    for before, step in pairwise(at[100:]):
        assert before / SHARE_OF_RUN / 2 <= step - before <= max(EVERY, step / SHARE_OF_RUN)
    assert len(at) < 101 + 100 * 4


@pytest.mark.parametrize("stop", [7, 1005, 2015, 5555])
def test_a_resumed_run_reads_at_the_steps_of_the_whole_one(tmp_path: Path, stop: int) -> None:
    whole, again = Run(small(), tmp_path), Run(small(), tmp_path, stop)
    end = stop + 200
    expected = [step for step in range(1, end) if whole.step(step) and step > stop]
    assert [step for step in range(stop + 1, end) if again.step(step)] == expected


def test_the_last_step_is_read_whenever_it_is(tmp_path: Path) -> None:
    run = Run(small(), tmp_path)
    assert run.step(1)
    assert run.step(4) is None
    found = run.step(7, last=True)
    assert found is not None
    assert found.step == 7


def test_adapters_that_are_all_frozen_are_told_at_the_start(tmp_path: Path, tokenizer: Any) -> None:
    model = tiny.lora_model()
    model.requires_grad_(False)
    model.get_submodule("base_model.model.lm_head").requires_grad_(True)
    trainer(tmp_path, tokenizer, model, max_steps=10).train()
    first, last = readings(tmp_path)
    assert first.note == last.note
    assert first.note == (
        "every adapter is frozen: nothing of them is trained; "
        "1 weights are trained beside the adapters and not read, such as model.lm_head.weight"
    )
    assert set(first.troubles.values()) == {"frozen"}
    assert len(last.troubles) == 21
    assert {layer.state for layer in last.layers} == {"frozen"}
    assert [layer.delta_norm for layer in last.layers] == [0, 0, 0]


def test_one_frozen_adapter_is_named(tmp_path: Path, tokenizer: Any) -> None:
    model = tiny.lora_model()
    model.get_submodule("base_model.model.model.layers.1.mlp.up_proj").requires_grad_(False)
    trainer(tmp_path, tokenizer, model, max_steps=10).train()
    for reading in readings(tmp_path):
        assert reading.troubles == {"model.model.layers.1.mlp.up_proj": "frozen"}
        assert [layer.state for layer in reading.layers] == ["ok", "frozen", "ok"]
        assert reading.layers[1].parts["mlp"].state == "frozen"
        assert reading.layers[1].parts["qkv"].state == "ok"


def test_dora_is_read_by_its_size_and_has_no_impact(tmp_path: Path, tokenizer: Any) -> None:
    model = tiny.lora_model(use_dora=True)
    before = merged(model)
    trainer(tmp_path, tokenizer, model, max_steps=10).train()
    after, last = merged(model), readings(tmp_path)[-1]
    assert last.note == ""
    for layer in last.layers:
        change = [x - before[n] for n, x in of_layer(after, layer.layer).items()]
        assert layer.delta_norm == pytest.approx(norm(change), rel=1e-3)
        assert (layer.impact, layer.impact_share, layer.spectral) == (None, None, None)
        assert (layer.rank, layer.speed) == (None, None)
        assert layer.grad
        assert layer.grad > 0


def merged(model: Any) -> dict[str, Tensor]:
    """Every adapted weight as PEFT merges it, in float64."""
    found = {}
    model.merge_adapter()
    for path, module in model.named_modules():
        if hasattr(module, "lora_A"):
            found[path] = module.get_base_layer().weight.detach().double().clone()
    model.unmerge_adapter()
    return found


def test_layers_of_dora_and_plain_lora_are_read_side_by_side(tmp_path: Path) -> None:
    model = small()
    settings = peft.LoraConfig(r=4, target_modules=["k_proj"], use_dora=True)
    model.add_adapter("dora", settings)
    model.base_model.set_adapter(["default", "dora"])
    run = Run(model, tmp_path)
    model(input_ids=IDS, labels=IDS).loss.backward()
    found = run.step(EVERY)
    assert found is not None
    for layer in found.layers:
        assert layer.parts["qkv"].norm == pytest.approx(0, abs=1e-5)
        assert layer.grad is not None
        assert layer.impact == 0, "the part of plain LoRA"


def test_modules_that_cannot_be_read_are_counted_with_a_reason(
    tmp_path: Path, tokenizer: Any
) -> None:
    settings = peft.IA3Config(
        task_type="CAUSAL_LM",
        target_modules=["k_proj", "down_proj"],
        feedforward_modules=["down_proj"],
    )
    model = peft.get_peft_model(tiny.model(), settings)
    trainer(tmp_path, tokenizer, model, max_steps=10).train()
    (found,) = readings(tmp_path)
    assert (found.step, found.layers) == (1, [])
    assert found.note.startswith(
        "6 adapted modules are not read: model.model.layers.0.self_attn.k_proj:"
    )
    assert found.note.endswith("IA3 multiplies the weight instead of adding to it")


def test_without_lora_the_trained_weights_are_read(tmp_path: Path, tokenizer: Any) -> None:
    model = tiny.model()
    before = {n: p.detach().double().clone() for n, p in model.named_parameters() if p.dim() > 1}
    trainer(tmp_path, tokenizer, model, max_steps=12).train()
    after = {n: p.detach().double() for n, p in model.named_parameters() if p.dim() > 1}
    found = readings(tmp_path)
    assert [reading.step for reading in found] == [1, 10, 12]
    for layer in found[-1].layers:
        mine = (
            of_layer(before, layer.layer)
            if layer.layer >= 0
            else {n: x for n, x in before.items() if ".layers." not in n}
        )
        change = norm(after[n] - x for n, x in mine.items())
        assert layer.delta_norm == pytest.approx(change, rel=1e-6)
        assert layer.relative == pytest.approx(change / norm(mine.values()), rel=1e-6)
    assert found[-1].note.endswith("from a sample of their entries (standard error 0.0%)")


def test_where_nothing_is_trained_that_has_two_dimensions_it_says_so(tmp_path: Path) -> None:
    model = nn.LayerNorm(4)
    run = Run(model, tmp_path)
    first = run.step(1)
    assert first is not None
    assert (first.layers, first.note) == ([], "nothing of two dimensions or more is trained")
    assert run.step(10) is None
    assert run.step(12, last=True) is None


class Stop(TrainerCallback):
    """Ends the training early, as an interruption after a checkpoint would."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = state.global_step == self._step


@pytest.mark.parametrize(("saved", "stop"), [(20, 25), (19, 19), (30, 30)])
def test_an_interrupted_pissa_run_goes_on_as_if_it_had_not_been(
    tmp_path: Path, tokenizer: Any, saved: int, stop: int
) -> None:
    def run(folder: Path, *callbacks: Any) -> Trainer:
        model = tiny.lora_model(init_lora_weights="pissa")
        more = {"max_steps": 42, "save_strategy": "steps", "save_steps": saved}
        return trainer(folder, tokenizer, model, *callbacks, max_grad_norm=1e-2, **more)

    run(tmp_path / "whole").train()
    run(tmp_path / "parts", Stop(stop)).train()
    checkpoint = tmp_path / "parts" / "out" / f"checkpoint-{saved}"
    run(tmp_path / "parts").train(resume_from_checkpoint=str(checkpoint))
    whole = {reading.step: reading for reading in readings(tmp_path / "whole")}
    parts = {reading.step: reading for reading in readings(tmp_path / "parts")}
    assert set(whole) == {1, 10, 20, 30, 40, 42}
    assert set(parts) - set(whole) <= {stop}
    for step, reading in whole.items():
        assert parts[step].note == NO_IMPACT
        for ours, theirs in zip(parts[step].layers, reading.layers, strict=True):
            assert numbers(ours) == pytest.approx(numbers(theirs), rel=1e-4)


def numbers(layer: Any) -> dict[str, float]:
    names = ("delta_norm", "relative", "spectral", "rank", "rank_of", "speed", "impact", "grad")
    return {name: found for name in names if (found := getattr(layer, name)) is not None}


def test_the_means_of_impact_are_kept_with_the_checkpoint(tmp_path: Path) -> None:
    model = tiny.lora_model(init_lora_weights=False)
    whole, first = Run(model, tmp_path), Run(model, tmp_path)
    again = first
    for step in (10, 20):
        whole.step(step - 1)
        again.step(step - 1)
        model.zero_grad()
        model(input_ids=IDS.roll(step, 1), labels=IDS.roll(step, 1)).loss.backward()
        whole.step(step)
        if step == 10:
            first.step(step)
            again = Run(model, tmp_path, 10)
            again.signal.restore(first.signal.state())
        else:
            again.step(step)
    assert again.signal.state() == whole.signal.state() != {}
    assert again.signal.state() != first.signal.state()


def test_after_training_the_model_has_no_hook_of_the_signal(tmp_path: Path, tokenizer: Any) -> None:
    model = tiny.lora_model()
    trainer(tmp_path, tokenizer, model, max_steps=2).train()
    found = [getattr(p, "_post_accumulate_grad_hooks", None) for p in model.parameters()]
    assert not any(found)


def test_a_run_in_half_precision_that_rounds_its_steps_away_is_told(
    tmp_path: Path, tokenizer: Any
) -> None:
    model = tiny.lora_model(layers=1, init_lora_weights=False).to(torch.bfloat16)
    trainer(tmp_path, tokenizer, model, max_steps=70, learning_rate=1e-6).train()
    states = {reading.step: set(reading.troubles.values()) for reading in readings(tmp_path)}
    assert states[60] == set()
    assert states[70] == {"rounding"}


def test_non_finite_factors_are_a_blow_up_and_the_run_is_watched_on(
    tmp_path: Path, tokenizer: Any
) -> None:
    class Poison(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 5:
                module: Any = kwargs["model"].get_submodule(
                    "base_model.model.model.layers.1.mlp.up_proj"
                )
                module.lora_B["default"].weight.data[0, 0] = math.nan

    trainer(tmp_path, tokenizer, tiny.lora_model(), Poison(), max_steps=10).train()
    last = readings(tmp_path)[-1]
    assert last.troubles["model.model.layers.1.mlp.up_proj"] == "blow-up"
    assert last.layers[1].state == "blow-up"
    records = read(tmp_path / "runs" / "r" / "journal.jsonl")[0]
    counts = [r.values.get("weights/non_finite") for r in records if isinstance(r, Sample)]
    assert [count for count in counts if count is not None][-1] > 0
