"""What one reading of LoRA adapters costs, beside the naive way of comparing copies of them.

    python benchmarks/overhead/lora_reading.py [--repeats 7] [--ranks 16 64] [--threads 1 2]

The adapters are PEFT's, float32, alpha 32, on all 252 linear layers shaped like those of Qwen3-8B; the
frozen weights are one number expanded to their shapes, so that they take no memory. Naive is what most
scripts do: keep a clone of every A and B, and print (A - A0).norm() and (B - B0).norm() of each module.
These are no norms of the update B A, and say nothing of its spectrum. heldout reads ||dW||_F ("norm
only", `squares`), and with it the largest singular value and the rank in use ("everything", `sizes`).
A whole reading finds the adapters in the model, reads everything and sums it up by layer. What one
optimizer step changed (a copy before it, the norm of the difference after it, at most 16 MiB of layers
at a time) comes on top, once a reading; gradients are not sampled here. The ways take turns; times are
medians. Memory is of a fresh process for each way, on the first number of threads: tensors kept for the
next reading, what the resident set grew by keeping them, and the most a reading took for itself: of
tensors by torch's profiler, of the resident set by the kernel's high-water mark (Linux, glibc). MB are
1e6 bytes. Errors are relative, against B A formed in float64. It takes about three minutes and 3 GB.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import math
import multiprocessing
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from heldout.signals.adapters import Adapted, LowRank, adapted
from heldout.signals.lora import (
    LoraStart,
    ModuleReading,
    capture_lora_initial_state,
    layers_of,
    read_modules,
)
from heldout.signals.lowrank import sizes, squares
from heldout.signals.onestep import OneStep

NUM_LAYERS = 36
SHAPES = {
    "self_attn.q_proj": (4096, 4096),
    "self_attn.k_proj": (1024, 4096),
    "self_attn.v_proj": (1024, 4096),
    "self_attn.o_proj": (4096, 4096),
    "mlp.gate_proj": (12288, 4096),
    "mlp.up_proj": (12288, 4096),
    "mlp.down_proj": (4096, 12288),
}
"""Of Qwen3-8B: [out, in]."""
MOVED = 1e-3
"""Standard deviation of the entries of B, and of what A moved by."""
CHECKED = ("layers.0.self_attn.q_proj", "layers.17.mlp.down_proj", "layers.35.self_attn.k_proj")
WAYS = ("heldout", "naive")
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def build(rank: int) -> nn.Module:
    """The adapters as training finds them: A random, B zero."""
    torch.manual_seed(0)
    layers = []
    for _ in range(NUM_LAYERS):
        layer = nn.ModuleDict({"self_attn": nn.ModuleDict(), "mlp": nn.ModuleDict()})
        for name, shape in SHAPES.items():
            block, _, linear = name.partition(".")
            layer[block][linear] = _frozen(*shape)
        layers.append(layer)
    model = nn.Module()
    model.layers = nn.ModuleList(layers)
    names = [name.partition(".")[2] for name in SHAPES]
    return inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=32, target_modules=names), model)


def _frozen(out: int, into: int) -> nn.Linear:
    linear = nn.Linear(into, out, bias=False, device="meta")
    linear.weight = nn.Parameter(torch.full((), 0.02).expand(out, into), requires_grad=False)
    return linear


@torch.no_grad()
def train(model: nn.Module) -> None:
    """Move every factor, as training would."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.add_(torch.randn_like(parameter), alpha=MOVED)


@dataclass(slots=True)
class Naive:
    """Copies of all factors, and the norms of what they moved by."""

    model: nn.Module
    pairs: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def start(self) -> None:
        self.pairs = [(p, p.detach().clone()) for p in self.model.parameters() if p.requires_grad]

    @torch.no_grad()
    def read(self) -> list[float]:
        return [(now - before).norm().item() for now, before in self.pairs]

    def kept(self) -> int:
        return sum(_bytes(before) for _, before in self.pairs)


@dataclass(slots=True)
class Heldout:
    """What heldout keeps of the start, and a whole reading."""

    model: nn.Module
    initial: LoraStart = field(default_factory=LoraStart)

    def start(self) -> None:
        """Capture, without ||W0||: one number in memory, and slow to read where it is expanded."""
        with mock.patch("heldout.signals.lora.base_square", return_value=1.0):
            self.initial = capture_lora_initial_state(self.model)

    def read(self) -> list[Any]:
        return layers_of(read_modules(adapted(self.model), self.initial))

    def kept(self) -> int:
        return sum(_bytes(factor) for pair in self.initial.factors.values() for factor in pair)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


Seconds = Mapping[str, list[tuple[float, float]]]
"""Wall and CPU seconds of each repeat, by what was done."""


def compare(model: nn.Module, repeats: int) -> Seconds:
    """Let the ways take turns; the first turn is a warm-up."""
    naive, initial, step = Naive(model), LoraStart(), OneStep()
    naive.start()
    found = adapted(model)
    reads = [each.product for each in found if isinstance(each, LowRank)]
    modules = read_modules(found, initial)
    turns: dict[str, Callable[[], object]] = {
        "naive: norms of A - A0 and B - B0": naive.read,
        "heldout: a whole reading": Heldout(model).read,
        "  finding the adapters": lambda: adapted(model),
        "  everything of all modules": lambda: sizes(reads),
        "  norm only (instead)": lambda: squares(reads),
        "  summing up by layer": lambda: layers_of(modules),
        "heldout: what one step changed": lambda: one_step(step, found, modules),
    }
    seconds: dict[str, list[tuple[float, float]]] = {title: [] for title in turns}
    for repeat in range(repeats + 1):
        for title, call in turns.items():
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            took = time.perf_counter() - wall, time.process_time() - cpu
            if repeat:
                seconds[title].append(took)
    return seconds


def one_step(step: OneStep, found: Sequence[Adapted], modules: Sequence[ModuleReading]) -> None:
    """Copy and compare, with nothing trained in between."""
    step.before(found)
    step.after(found, modules)


def memory(way: str, rank: int, threads: int) -> dict[str, float]:
    """Bytes that `way` keeps and takes; in a process of its own."""
    torch.set_num_threads(threads)
    model = build(rank)
    chosen = Heldout(model) if way == "heldout" else Naive(model)
    adapted(model)
    before = _held()
    chosen.start()
    kept = _held() - before
    train(model)
    before = _held()
    CLEAR.write_text("5", encoding="ascii")  # the high-water mark falls to what is resident now
    chosen.read()
    peak = _resident("VmHWM") - before
    return {
        "kept": chosen.kept(),
        "kept_resident": kept,
        "peak": _most_allocated(chosen.read),
        "peak_resident": peak,
    }


def alone(call: Callable[..., dict[str, float]], *args: Any) -> dict[str, float]:
    """Call in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(call, *args).result()


def _held() -> int:
    """The resident set, once the C library has given back what is free in it."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return _resident("VmRSS")


def _resident(field_: str) -> int:
    line = next(x for x in STATUS.read_text().splitlines() if x.startswith(f"{field_}:"))
    return int(line.split()[1]) * 1024


def _most_allocated(call: Callable[[], object]) -> int:
    """The most bytes of tensors that `call` held at once."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        call()
    held = most = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most


@torch.no_grad()
def errors(model: nn.Module) -> list[tuple[str, list[float]]]:
    """Relative errors of `squares` and `sizes` on `CHECKED`, against the product in float64."""
    found = {each.name: each for each in adapted(model) if isinstance(each, LowRank)}
    rows = []
    for name in CHECKED:
        b, a = found[name].factors()
        product = b[0].double() @ a[0].double()
        norm = math.sqrt(product.square().sum().item())
        values = torch.svd_lowrank(product, q=b.shape[2] + 8, niter=2)[1]  # exact for this rank
        rank = (values.square().sum() ** 2 / values.pow(4).sum()).item()
        (size,), (square,) = sizes([found[name].product]), squares([found[name].product])
        pairs = [
            (math.sqrt(square), norm),
            (math.sqrt(size.square), norm),
            (size.spectral, values[0].item()),
            (size.rank, rank),
        ]
        rows.append((name, [abs(x - y) / y for x, y in pairs]))
    return rows


def show_times(by_threads: Mapping[int, Seconds]) -> None:
    """Print wall and CPU milliseconds."""
    heads = [f"{threads} thread{'s' * (threads > 1)}" for threads in by_threads]
    print(f"{'ms':38}" + "".join(f"{head:>30}" for head in heads))
    print(f"{'':38}" + f"{'wall (range)':>22}{'CPU':>8}" * len(heads))
    for title in next(iter(by_threads.values())):
        cells = ""
        for seconds in by_threads.values():
            walls, cpus = zip(*seconds[title], strict=True)
            extent = f"({min(walls) * 1e3:.1f} to {max(walls) * 1e3:.1f})"
            cells += f"{median(walls) * 1e3:7.1f} {extent:>14}{median(cpus) * 1e3:8.1f}"
        print(f"{title:38}{cells}")


def show_memory(readings: Mapping[str, Mapping[str, float]]) -> None:
    """Print megabytes."""
    print(f"{'MB':10}{'kept between readings':>26}{'most during a reading':>26}")
    print(f"{'':10}" + f"{'tensors':>13}{'resident':>13}" * 2)
    for way, reading in readings.items():
        keys = ("kept", "kept_resident", "peak", "peak_resident")
        cells = "".join(f"{reading[key] / 1e6:13.1f}" for key in keys)
        print(f"{way:10}{cells}")


def show_errors(rows: Sequence[tuple[str, Sequence[float]]]) -> None:
    """Print relative errors."""
    heads = ("norm only", "norm", "spectral", "rank")
    print(f"{'relative error':30}" + "".join(f"{head:>11}" for head in heads))
    for name, found in rows:
        print(f"{name:30}" + "".join(f"{x:11.1e}" for x in found))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--ranks", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    for rank in given.ranks:
        model = build(rank)
        train(model)
        trained = [p for p in model.parameters() if p.requires_grad]
        print(f"r={rank}: {len(trained) // 2} modules, {sum(map(_bytes, trained)) / 1e6:.0f} MB\n")
        by_threads = {}
        for threads in given.threads:
            print(f"\rr={rank}, {threads} threads", end="", file=sys.stderr, flush=True)
            torch.set_num_threads(threads)
            by_threads[threads] = compare(model, given.repeats)
        print("\r" + " " * 20 + "\r", end="", file=sys.stderr, flush=True)
        show_times(by_threads)
        print()
        show_errors(errors(model))
        del model, trained
        print()
        show_memory({way: alone(memory, way, rank, given.threads[0]) for way in WAYS})
        print()


if __name__ == "__main__":
    main()
