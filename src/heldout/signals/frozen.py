"""The frozen weight under an adapter: reading it through its quantisation, and its size.

Sums of squares are in float64, some rows at a time: a float32 `norm()` of a large matrix errs by up to
12 %, and a copy of the whole in float64 would be twice the model.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

READABLE = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
ROWS_AT_ONCE = 512
ELEMENTS_AT_ONCE = ROWS_AT_ONCE * 16_384  # 64 MiB in float64: a transposed embedding has long rows


def weight_reader(module: Any) -> Callable[[], Tensor] | None:
    """How to read the frozen weight under an adapter without its quantisation; None if it cannot."""
    layer = module.get_base_layer()
    is_attention = isinstance(layer, nn.MultiheadAttention)
    name = "in_proj_weight" if is_attention else getattr(module, "parameter_name", "weight")
    weight = getattr(layer, name, None)
    if module.merged_adapters:
        return None
    if is_plain(weight):
        return lambda: weight
    state = getattr(layer, "state", None)
    quantised = (
        getattr(weight, "quant_state", None) is not None  # bitsandbytes, 4 bits
        or getattr(weight, "SCB", getattr(state, "SCB", None)) is not None  # and 8
        or type(weight).__module__.startswith("torchao.")
        or hasattr(layer, "W_q")  # HQQ
    )
    peft = sys.modules.get("peft.utils.integrations")  # there, as a layer of PEFT's is
    if not quantised or peft is None or name != "weight":
        return None
    return lambda: peft.dequantize_module_weight(layer)


def is_plain(weight: Any) -> TypeGuard[Tensor]:
    """True for a tensor whose values are the weight's: floating, here, whole and in no code."""
    if not isinstance(weight, Tensor) or weight.is_meta or hasattr(weight, "ds_shape"):
        return False
    return weight.dtype in READABLE and not type(weight).__module__.startswith("torchao.")


@torch.no_grad()
def square_norm(tensor: Tensor, minus: Tensor | None = None) -> Tensor:
    """||tensor - minus||_F^2 in float64, some rows at a time: a float32 norm() errs by up to 12 %."""
    rows = tensor.detach().flatten(1) if tensor.dim() > 1 else tensor.detach()[None]
    if minus is None:
        return add(wide(rows[some]).square().sum() for some in slices(rows))
    other = minus.detach().reshape(rows.shape).to(rows.device)
    return add((wide(rows[x]) - wide(other[x])).square().sum() for x in slices(rows))


def slices(rows: Tensor) -> Iterator[slice]:
    """Some rows at a time of a matrix."""
    height = max(1, min(ROWS_AT_ONCE, ELEMENTS_AT_ONCE // max(1, rows.shape[1])))
    return (slice(i, i + height) for i in range(0, rows.shape[0], height))


def add(parts: Iterable[Tensor]) -> Tensor:
    """The sum of 0-dimensional tensors; 0 where there are none."""
    found = list(parts)
    return torch.stack(found).sum() if found else torch.zeros((), dtype=torch.float64)


def wide(tensor: Tensor) -> Tensor:
    """In float64, on the host where the device has none."""
    tensor = tensor.detach()
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()
