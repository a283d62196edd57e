"""The devices a model is on, and the most that each kind can compute.

A peak is dense, in bfloat16 with float32 accumulation, or in float16 where the device has no bfloat16
matrix units. Data sheets print the double, "with sparsity"; that half is taken off here. A name that
is not understood to the last word has no peak: a laptop's chip, a "Ti" or a part of a shared device
is another device.
"""

from __future__ import annotations

import re

import torch
from torch import nn

PEAKS: tuple[tuple[str, float], ...] = (
    # NVIDIA HGX B200: 36 PFLOP/s for eight with sparsity.
    ("B200", 2250e12),
    # NVIDIA H200 data sheet: 1,671 (NVL) and 1,979 TFLOP/s (SXM) with sparsity.
    ("H200 NVL", 835.5e12),
    ("H200", 989.5e12),
    # NVIDIA H100 data sheet: 1,671 (NVL), 1,513 (PCIe) and 1,979 TFLOP/s (SXM) with sparsity.
    ("H100 NVL", 835.5e12),
    ("H100 PCIe", 756.5e12),
    ("H100 HBM3", 989.5e12),
    # NVIDIA A100 data sheet: the same for SXM and PCIe, 40 and 80 GB.
    ("A100", 312e12),
    # NVIDIA A10 data sheet.
    ("A10", 125e12),
    # NVIDIA and AWS, A10G data sheet (EC2 G5).
    ("A10G", 70e12),
    # NVIDIA L4 data sheet: 242 TFLOP/s with sparsity.
    ("L4", 121e12),
    # NVIDIA L40S data sheet.
    ("L40S", 362.05e12),
    # NVIDIA RTX Blackwell GPU Architecture, appendix A: bfloat16 with float32 accumulation.
    ("GeForce RTX 5090", 209.5e12),
    # NVIDIA Ada GPU Architecture, appendix A: the same.
    ("GeForce RTX 4090", 165.2e12),
    # NVIDIA Ampere GA102 GPU Architecture, appendix A: the same.
    ("GeForce RTX 3090", 71e12),
    # NVIDIA V100 data sheet: float16, which is all it has.
    ("V100 SXM2", 125e12),
    ("V100 PCIE", 112e12),
    # NVIDIA T4 data sheet: float16, which is all it has.
    ("T4", 65e12),
    # AMD Instinct MI300X data sheet: 1,307.4 TFLOP/s without sparsity.
    ("AMD Instinct MI300X", 1307.4e12),
)
"""Words of a device's name, and its FLOP/s; the first row whose words all occur is meant."""

SAID_BESIDE = re.compile(r"NVIDIA|Tesla|SXM\d?|PCIe|OAM|HBM\d\w?|\d+GB", re.IGNORECASE)
"""Words that may stand beside the row's own without another device being meant."""


def peak_flops(name: str) -> float | None:
    """Look up a device's peak in FLOP/s by what `torch.cuda.get_device_name` says; None if unknown.

    >>> peak_flops("NVIDIA A100-SXM4-80GB")
    312000000000000.0
    """
    words = set(re.split(r"[\s-]+", name.strip()))
    for key, peak in PEAKS:
        own = set(key.split())
        if own <= words:
            return peak if all(SAID_BESIDE.fullmatch(word) for word in words - own) else None
    return None


def accelerators(model: nn.Module) -> list[torch.device]:
    """The CUDA, ROCm and MPS devices that hold the model's parameters; empty on a CPU."""
    devices = dict.fromkeys(parameter.device for parameter in model.parameters())
    return [device for device in devices if device.type in ("cuda", "mps")]
