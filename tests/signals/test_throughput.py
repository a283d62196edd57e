from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForCausalLM,
    CLIPConfig,
    DeepseekV3Config,
    GPT2Config,
    MixtralConfig,
    T5Config,
)

from heldout.signals.each import utilisation
from heldout.signals.each.progress import Progress
from heldout.signals.each.throughput import NO_TOKENS, WINDOW, Throughput
from heldout.signals.each.time_split import TimeSplit
from heldout.signals.each.utilisation import Utilisation, work
from heldout.signals.laps import OF_THE_STEP, Laps
from heldout.signals.moment import IGNORED, Batch, Moment, Signal, Start, Values, to_host
from heldout.signals.peaks import PEAKS, accelerators, peak_flops

NOTHING = nn.Linear(1, 1)


def batch(
    masks: Sequence[Sequence[int]] | None,
    labels: Sequence[Sequence[int]] | None = None,
    ids: torch.Tensor | None = None,
) -> Batch:
    mask = None if masks is None else torch.tensor(masks)
    return Batch(
        input_ids_BT=torch.ones_like(mask) if ids is None and mask is not None else ids,
        attention_mask_BT=mask,
        labels_BT=None if labels is None else torch.tensor(labels),
        outputs=None,
        items=None,
    )


def moment(step: int = 1, seconds: float = 1.0, **more: Any) -> Moment:
    return Moment(step=step, seconds=seconds, model=NOTHING, **more)


def start(model: nn.Module = NOTHING, **more: Any) -> Start:
    return Start(model=model, folder=Path(), **more)


def read(signal: Signal, at: Moment | None = None) -> Values:
    """One step of one process: its sums, on the host, and what comes of them."""
    sums = signal.collect()
    assert len(sums) in (0, signal.width)
    return signal.step(at or moment(), to_host(sums))


# Throughput.

UNEVEN = [[1, 1, 1, 0], [1, 0, 0, 0], [0, 1, 1, 0]]


def test_real_tokens_labels_and_padding_are_counted_over_uneven_masks() -> None:
    signal = Throughput()
    signal.forward(batch(UNEVEN, [[5, 5, IGNORED, IGNORED]] * 3))
    signal.forward(batch([[1, 1, 1, 1]], [[IGNORED, 5, 5, 5]]))
    values = read(signal, moment(seconds=4.0))
    assert values["throughput/tokens_per_step"] == 3 + 1 + 2 + 4
    assert values["throughput/label_tokens"] == 3 * 1 + 3  # the first position predicts nothing
    assert values["throughput/padding"] == pytest.approx(6 / 16)
    assert values["throughput/tokens_per_second"] == pytest.approx(10 / 4)
    assert values["throughput/label_tokens_per_second"] == pytest.approx(6 / 4)


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=5))
def test_any_masks_are_counted_as_by_hand(rows: list[tuple[int, int]]) -> None:
    signal = Throughput()
    for real, padding in rows:
        signal.forward(batch([[1] * real + [0] * padding]))
    values = read(signal)
    real = sum(n for n, _ in rows)
    padding = sum(n for _, n in rows)
    assert values["throughput/tokens_per_step"] == real
    assert values["throughput/padding"] == pytest.approx(padding / (real + padding))


def test_every_token_is_real_where_there_is_no_mask() -> None:
    signal = Throughput()
    signal.forward(batch(None, ids=torch.ones(1, 7, dtype=torch.long)))
    values = read(signal)
    assert values["throughput/tokens_per_step"] == 7
    assert values["throughput/padding"] == 0


def test_a_four_dimensional_mask_leaves_the_padding_open() -> None:
    signal = Throughput()
    ids = torch.ones(2, 3, dtype=torch.long)
    square = torch.ones(2, 1, 3, 3)
    signal.forward(
        Batch(input_ids_BT=ids, attention_mask_BT=square, labels_BT=None, outputs=None, items=None)
    )
    values = read(signal)
    assert values["throughput/tokens_per_step"] == 6
    assert "throughput/padding" not in values
    signal.forward(batch(UNEVEN))
    assert read(signal)["throughput/padding"] == pytest.approx(0.5)


def test_without_labels_there_are_no_label_numbers() -> None:
    signal = Throughput()
    signal.forward(batch(UNEVEN))
    assert not [name for name in read(signal) if "label" in name]


def test_labels_that_are_all_ignored_are_zero_and_not_absent() -> None:
    signal = Throughput()
    signal.forward(batch([[1, 1]], [[IGNORED, IGNORED]]))
    assert read(signal)["throughput/label_tokens"] == 0


def test_processes_add_up() -> None:
    first, second = Throughput(), Throughput()
    first.forward(batch(UNEVEN, [[5, 5, IGNORED, IGNORED]] * 3))
    second.forward(batch([[1, 1]], [[IGNORED, 5]]))
    sums = [to_host(signal.collect()) for signal in (first, second)]
    values = first.step(moment(seconds=2.0), [a + b for a, b in zip(*sums, strict=True)])
    assert values["throughput/tokens_per_second"] == pytest.approx((6 + 2) / 2)
    assert values["throughput/label_tokens"] == 3 + 1
    assert values["throughput/padding"] == pytest.approx(6 / 14)


def test_the_rate_is_over_the_window_and_the_mean_over_the_run() -> None:
    signal = Throughput()
    lengths = [8] + [2] * WINDOW
    for length in lengths:
        signal.forward(batch([[1] * length]))
        values = read(signal, moment(seconds=0.5))
    assert values["throughput/tokens_per_second"] == pytest.approx(2 / 0.5)
    assert values["throughput/total_tokens"] == sum(lengths)
    mean = sum(lengths) / (0.5 * len(lengths))
    assert values["throughput/mean_tokens_per_second"] == pytest.approx(mean)


def test_totals_continue_where_a_run_is_resumed() -> None:
    whole, first, second = Throughput(), Throughput(), Throughput()
    for i in range(4):
        if i == 2:
            second.restore(first.state())
        for signal in (whole, first if i < 2 else second):
            signal.forward(batch([[1] * (i + 1)]))
            last = read(signal, moment(step=i + 1, seconds=1.0 + i))
        if i == 3:
            expected = whole.state()
    assert second.state() == expected == {"total": 10.0, "seconds": 10.0}
    assert last["throughput/mean_tokens_per_second"] == pytest.approx(1.0)


def test_a_step_without_counts_or_time_is_no_rate() -> None:
    signal = Throughput()
    signal.forward(batch(None))
    assert read(signal, moment(seconds=3.0)) == {"time/step": 3.0}
    assert signal.missing() == NO_TOKENS
    signal.forward(batch(UNEVEN))
    assert not [name for name in read(signal, moment(seconds=0.0)) if "second" in name]
    assert not signal.missing()


# Where the time goes.


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def step_of(step: int, **phases: float) -> Moment:
    """A step as the watch would show it, timed by the real stopwatch."""
    clock = Clock()
    laps = Laps(clock)
    for phase, seconds in phases.items():
        clock.now += seconds
        laps.lap(phase)
    taken = laps.take()
    return moment(step, sum(taken.get(phase, 0.0) for phase in OF_THE_STEP), laps=taken)


PHASES = {"data": 1.0, "forward_backward": 4.0, "optimizer": 2.0, "other": 0.5, "monitor": 0.25}


def test_evaluation_and_saving_do_not_make_a_slow_step() -> None:
    signal = Throughput()
    for each in (step_of(1, **PHASES), step_of(2, evaluation=60.0, saving=30.0, **PHASES)):
        signal.forward(batch(UNEVEN))
        values = read(signal, each)
        assert values["time/step"] == 7.5
        assert values["throughput/tokens_per_second"] == pytest.approx(6 / 7.5)
        assert values["throughput/mean_tokens_per_second"] == pytest.approx(6 / 7.5)


def test_evaluation_and_saving_are_recorded_where_they_happened() -> None:
    signal = TimeSplit()
    assert set(read(signal, step_of(1, **PHASES))) == {f"time/{phase}" for phase in PHASES}
    values = read(signal, step_of(2, evaluation=60.0, saving=30.0, **PHASES))
    assert (values["time/evaluation"], values["time/saving"]) == (60.0, 30.0)


def test_the_parts_of_a_step_add_up_to_it() -> None:
    each = step_of(1, evaluation=60.0, **PHASES)
    values = read(TimeSplit(), each)
    assert sum(values[f"time/{phase}"] for phase in OF_THE_STEP) == each.seconds


def test_a_phase_without_a_metric_is_not_recorded() -> None:
    assert read(TimeSplit(), step_of(1, data=1.0, lunch=60.0)) == {"time/data": 1.0}


def test_time_remaining_counts_evaluation_and_saving_and_leaves_out_the_first_step() -> None:
    signal = Progress()
    signal.begin(start(total_steps=10))
    found = [
        read(signal, step_of(1, data=100.0, evaluation=50.0)),
        read(signal, step_of(2, data=1.0, evaluation=5.0)),
        read(signal, step_of(3, data=2.0, saving=1.0, monitor=1.0)),
    ]
    expected = [9 * 100.0, 8 * 6.0, 7 * (6.0 + 4.0) / 2]
    assert [values["time/remaining"] for values in found] == pytest.approx(expected)


def test_a_resumed_run_expects_what_this_attempt_took() -> None:
    signal = Progress()
    signal.begin(start(step=90, total_steps=100))
    for step in (91, 92, 93):
        values = read(signal, step_of(step, data=3.0))
    assert values["time/remaining"] == pytest.approx(7 * 3.0)


def test_nothing_remains_after_the_last_step() -> None:
    signal = Progress()
    signal.begin(start(total_steps=1))
    assert read(signal, step_of(1, data=1.0)) == {"time/remaining": 0.0}


@pytest.mark.parametrize("total", [0, -1])
def test_an_unknown_number_of_steps_is_no_time_remaining(total: int) -> None:
    signal = Progress()
    signal.begin(start(total_steps=total))
    assert read(signal, step_of(1, data=1.0)) == {}
    assert signal.missing() == "no time remaining: the number of steps is not known"


# Model FLOPs.

B, T = 2, 32


def eager(**changes: Any) -> Any:
    """A tiny Llama whose attention is plain matrix products, which torch's counter sees."""
    return tiny.model(attn_implementation="eager", **changes)


def with_lora(model: Any) -> Any:
    return get_peft_model(
        model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    )


def counted(model: Any) -> int:
    """The FLOPs of a forward and a backward pass, by torch's own counter."""
    ids = torch.randint(1, 90, (B, T))
    with FlopCounterMode(display=False) as counter:
        model.train()(input_ids=ids, labels=ids).loss.backward()
    return int(counter.get_total_flops())


def needed(model: nn.Module) -> float:
    found = work(model)
    assert not found.problem
    return B * T * found.token + B * T * T * found.pair


@pytest.mark.parametrize("tied", [False, True])
def test_full_training_needs_what_torch_counts(tied: bool) -> None:
    model = eager(tie_word_embeddings=tied)
    assert needed(model) == counted(model)
    weights = sum(p.numel() for p in model.parameters() if p.dim() > 1)
    look_ups = 0 if tied else model.get_input_embeddings().weight.numel()
    assert work(model).token == 6 * (weights - look_ups)


def test_lora_needs_what_torch_counts() -> None:
    """But for the first layer's keys and values: their input needs no gradient, 1 % of it all."""
    model = with_lora(eager())
    assert counted(model) <= needed(model) <= 1.02 * counted(model)


def test_lora_needs_about_four_flops_a_weight() -> None:
    model = with_lora(eager(hidden_size=256, intermediate_size=512, num_hidden_layers=8))
    n = sum(p.numel() for p in model.parameters() if p.dim() > 1)
    n -= model.get_input_embeddings().weight.numel()
    assert work(model).token == pytest.approx(4 * n, rel=0.03)


def test_below_the_first_trained_layer_there_is_no_backward_pass() -> None:
    """In the layer itself, keys and values again; and attention counts by share of all weights."""
    model = with_lora(eager())
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and ".layers.2." in name)
    assert counted(model) <= needed(model) <= 1.04 * counted(model)


def test_gpt2s_transposed_layers_are_counted() -> None:
    shape = {"n_layer": 2, "n_embd": 64, "n_head": 4, "vocab_size": 100}
    config = GPT2Config(**shape, bos_token_id=1, eos_token_id=1, attn_implementation="eager")
    config.loss_type = "ForCausalLM"
    model = AutoModelForCausalLM.from_config(config)
    assert needed(model) == counted(model)


EXPERTS = {
    "vocab_size": 100,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
}


def test_a_token_needs_only_its_own_experts() -> None:
    shape = {"attn_implementation": "eager", "experts_implementation": "eager"}
    model = AutoModelForCausalLM.from_config(MixtralConfig(**EXPERTS, **shape))
    assert needed(model) == counted(model)


def test_experts_that_the_config_says_nothing_about_leave_it_out() -> None:
    model = AutoModelForCausalLM.from_config(MixtralConfig(**EXPERTS))
    model.config = SimpleNamespace(num_local_experts=4)
    assert "experts" in work(model).problem


def test_deepseeks_name_for_experts_is_known() -> None:
    assert utilisation._experts_used(DeepseekV3Config()) == 8 / 256


@pytest.mark.parametrize("config", [T5Config(), CLIPConfig()], ids=["t5", "clip"])
def test_models_whose_parts_see_different_tokens_are_left_out(config: Any) -> None:
    model = nn.Linear(2, 2)
    model.config = config
    assert "different numbers of tokens" in work(model).problem
    signal = Utilisation()
    signal.begin(start(model))
    signal.forward(batch(UNEVEN))
    assert read(signal) == {}
    assert "different numbers of tokens" in signal.missing()


def test_the_originals_of_modules_to_save_do_not_run() -> None:
    """The output layer is a third of this model: counted twice, it would add 15 %."""
    settings = {"r": 4, "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}
    model = get_peft_model(eager(), LoraConfig(**settings, task_type="CAUSAL_LM"))
    assert counted(model) <= needed(model) <= 1.03 * counted(model)


class Packed(nn.Module):
    """A layer of 4-bit weights as bitsandbytes holds them: two in a byte."""

    def __init__(self) -> None:
        super().__init__()
        self.in_features, self.out_features = 8, 6
        self.weight = nn.Parameter(torch.zeros(24, 1, dtype=torch.uint8), requires_grad=False)


def test_packed_weights_count_by_the_shape_of_their_layer() -> None:
    assert work(nn.Sequential(Packed(), nn.Linear(6, 2))).token == 2 * 48 + (2 + 2) * 12


def test_padding_needs_no_flops_and_attention_the_square_of_each_length() -> None:
    model = eager()
    signal, each = Utilisation(), work(model)
    signal.begin(start(model))
    signal.forward(batch(UNEVEN))
    signal.forward(batch([[1, 1]]))
    flops = 8 * each.token + (9 + 1 + 4 + 4) * each.pair
    values = read(signal, moment(seconds=2.0))
    assert values["utilisation/model_flops"] == pytest.approx(flops / 2)


def test_without_a_mask_rows_are_sequences_and_a_single_row_is_of_unknown_ones() -> None:
    model = eager()
    each = work(model)
    for rows, pairs in ((3, 3 * 5 * 5), (1, 0)):
        signal = Utilisation()
        signal.begin(start(model))
        signal.forward(batch(None, ids=torch.ones(rows, 5, dtype=torch.long)))
        expected = rows * 5 * each.token + pairs * each.pair
        assert read(signal)["utilisation/model_flops"] == pytest.approx(expected)


def test_lengths_are_counted_exactly_under_autocast() -> None:
    signal = Utilisation()
    signal.begin(start(eager()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        signal.forward(batch([[1] * 1001]))
    assert to_host(signal.collect()) == [1001.0, 1001.0**2]


def test_the_share_of_the_peak_is_over_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = eager()
    monkeypatch.setattr(utilisation, "_device_names", lambda _: ["NVIDIA A100-SXM4-80GB"])
    signal = Utilisation()
    signal.begin(start(model, ranks=4))
    signal.forward(batch(UNEVEN))
    values = read(signal)
    expected = values["utilisation/model_flops"] / (4 * 312e12)
    assert values["utilisation/mfu"] == pytest.approx(expected)
    assert not signal.missing()


def test_a_cpu_has_flops_and_no_share_of_a_peak() -> None:
    signal = Utilisation()
    signal.begin(start(eager()))
    signal.forward(batch(UNEVEN))
    assert set(read(signal)) == {"utilisation/model_flops"}
    expected = "no model FLOPs utilisation (MFU): no peak FLOP/s is known of cpu"
    assert signal.missing() == expected


def test_one_unknown_device_of_several_leaves_the_share_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(utilisation, "_device_names", lambda _: ["NVIDIA L4", "NVIDIA L400"])
    signal = Utilisation()
    signal.begin(start(eager()))
    signal.forward(batch(UNEVEN))
    assert set(read(signal)) == {"utilisation/model_flops"}
    assert "NVIDIA L4 and NVIDIA L400" in signal.missing()


# Peaks.


@pytest.mark.parametrize(
    ("name", "tera"),
    [
        ("NVIDIA B200", 2250),
        ("NVIDIA H200", 989.5),
        ("NVIDIA H200 NVL", 835.5),
        ("NVIDIA H100 80GB HBM3", 989.5),
        ("NVIDIA H100 PCIe", 756.5),
        ("NVIDIA H100 NVL", 835.5),
        ("NVIDIA A100-SXM4-40GB", 312),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A100-PCIE-40GB", 312),
        ("NVIDIA A100 80GB PCIe", 312),
        ("A100-SXM4-40GB", 312),
        ("NVIDIA A10", 125),
        ("NVIDIA A10G", 70),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362.05),
        ("NVIDIA GeForce RTX 5090", 209.5),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA GeForce RTX 3090", 71),
        ("Tesla V100-SXM2-16GB", 125),
        ("Tesla V100-PCIE-32GB", 112),
        ("Tesla T4", 65),
        ("AMD Instinct MI300X", 1307.4),
    ],
)
def test_the_peak_of_a_device_is_found_by_the_name_it_gives(name: str, tera: float) -> None:
    assert peak_flops(name) == pytest.approx(tera * 1e12)


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
        "GRID A100-10C",
        "NVIDIA H100 80GB HBM3 MIG 3g.40gb",
        "NVIDIA H100 80GB HBM2e",
        "NVIDIA GH200 480GB",
        "NVIDIA GB200",
        "NVIDIA L40",
        "NVIDIA A100X",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA GeForce RTX 3090 Ti",
        "NVIDIA RTX 4090",
        "NVIDIA T400",
        "AMD Radeon Graphics",
        "cpu",
        "mps",
        "",
    ],
)
def test_a_device_that_is_not_understood_to_the_last_word_has_no_peak(name: str) -> None:
    assert peak_flops(name) is None


def test_every_row_of_the_table_is_reached() -> None:
    assert [peak_flops(key) for key, _ in PEAKS] == [peak for _, peak in PEAKS]
    assert all(math.isfinite(peak) and peak > 1e13 for _, peak in PEAKS)


def test_a_model_on_the_cpu_is_on_no_accelerator() -> None:
    assert accelerators(eager()) == []
