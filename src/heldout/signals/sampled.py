"""How far fully trained weights have moved, from a fixed sample of their entries.

A copy of every trained weight would double the model. A sample of evenly spaced entries is unbiased
for ||dW||_F^2, with a standard error that the sample itself tells.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from heldout.signals.lora import LOST, ModuleReading, keep_start, kept_start
from heldout.signals.moment import Start, to_host
from heldout.signals.places import Place, locate, stacks

MOST_ENTRIES = 2**22
"""Entries kept of all weights together: 16 MiB in float32."""
FEWEST_ENTRIES = 4096
"""Entries kept of a weight at least, or all it has."""
START_NAME = "weights_start.pt"
"""In the run's folder: stride and entries by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Every `stride`-th entry of a weight, as training found it."""

    place: Place
    stride: int
    entries: Tensor


@torch.no_grad()
def take_samples(model: nn.Module) -> dict[str, Sample]:
    """Sample every trained weight of two dimensions or more, by name."""
    lists = stacks(model)
    found = dict(_trained(model))
    total = sum(weight.numel() for weight in found.values())
    samples = {}
    for name, weight in found.items():
        stride = _coprime(_stride(weight.numel(), total), weight.shape[-1])
        place = locate(name.removesuffix(".weight"), lists)
        entries = weight.detach().flatten()[::stride].clone()
        samples[name] = Sample(place=place, stride=stride, entries=entries)
    return samples


def samples_of_run(start: Start) -> tuple[dict[str, Sample], str]:
    """Samples of the weights as the run found them, also for a resumed one; a note where that is lost."""
    path, samples = start.folder / START_NAME, take_samples(start.model)
    if not samples:
        return {}, ""
    if not start.step:
        parts = {name: (x.stride, x.entries) for name, x in samples.items()}
        return samples, keep_start(path, parts, "weights")
    kept, found = kept_start(path) or {}, {}
    for name, sample in samples.items():
        stride, entries = kept.get(name, (0, sample.entries))
        if stride == sample.stride and entries.shape == sample.entries.shape:
            found[name] = replace(sample, entries=entries)
    lost = len(found) < len(samples)
    return samples | found, LOST.format(step=start.step, what="weights") if lost else ""


@torch.no_grad()
def read_samples(model: nn.Module, samples: dict[str, Sample]) -> tuple[list[ModuleReading], float]:
    """Estimate each sampled weight's movement, and the largest relative standard error of them.

    The error is that of ||dW||_F, from the spread of the sampled squares; 0 where every entry was read.
    """
    read: list[tuple[str, Sample, int, int]] = []
    numbers: list[Tensor] = []
    for name, weight in _trained(model):
        if name not in samples:
            continue
        sample = samples[name]
        now, before = weight.detach().flatten()[:: sample.stride].double(), sample.entries.double()
        squares = (now - before.to(now.device)).square()
        read.append((name, sample, len(squares), weight.numel()))
        numbers += [squares.mean(), squares.std(correction=0), before.square().mean()]
    readings, errors = [], [0.0]
    found = iter(to_host(numbers))
    for name, sample, count, size in read:
        mean, spread, base = next(found), next(found), next(found)
        if sample.stride > 1 and mean > 0 and count > 1:
            errors.append(spread / math.sqrt(count) / mean / 2)
        readings.append(
            ModuleReading(
                name=name, place=sample.place, square=mean * size, base_square=base * size
            )
        )
    return readings, max(errors)


def _trained(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, weight in model.named_parameters():
        if weight.requires_grad and weight.dim() > 1:
            yield name, weight


def _stride(entries: int, total: int) -> int:
    """How far apart the kept entries of a weight lie, for its share of what is kept of all."""
    share = math.ceil(total / MOST_ENTRIES)
    return max(1, min(share, entries // FEWEST_ENTRIES))


def _coprime(stride: int, width: int) -> int:
    """The next stride that shares no factor with the row length, so that every column is met."""
    while math.gcd(stride, width) > 1:
        stride += 1
    return stride
