"""How far LoRA adapters have moved the model: ||dW||_F per layer, exact and never materialised.

dW = scaling * (B A - B0 A0) has rank at most 2r, so its norm follows from r x r Gram matrices:
||B A||_F^2 = sum((B^T B) * (A A^T)). For adapters that do not start at zero the factors are
[B - B0, B0] and [A; A - A0]; subtracting the products instead loses every digit when the movement is
small. All sums are in float64: a float32 `norm()` of a large matrix is wrong by up to 12 %.

Legend: A [r, in], B [out, r].
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from heldout.records import Layer
from heldout.signals.moment import to_host

KINDS = ("qkv", "o", "mlp", "other")
WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "base_model", "base_layer")
ROWS_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class Place:
    """Where a module sits: the stack of layers (a dotted path), the index in it, and its kind."""

    stack: str
    layer: int
    kind: str


@dataclass(slots=True)
class LoraStart:
    """The adapters as training found them: B0, A0 where B A is not zero, and ||W0||_F^2 by module."""

    factors: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    base_squares: dict[str, float] = field(default_factory=dict)


def capture_lora_initial_state(model: nn.Module) -> LoraStart:
    """Remember where the adapters start. Call after the adapters are in place, before training.

    Ordinary LoRA starts at B = 0 and needs no copy; PiSSA, OLoRA and resumed adapters get one of
    their factors. Reads the frozen weights once for ||W0|| (0.4 s per 100 M on two cores).
    """
    start = LoraStart()
    found = list(_adapted(model))
    products = to_host([_product_square(b, a) for _, _, a, b in found])
    for (name, module, a, b), square in zip(found, products, strict=True):
        if square != 0:
            start.factors[name] = (b.detach().clone(), a.detach().clone())
        weight = getattr(module.get_base_layer(), "weight", None)
        if isinstance(weight, Tensor) and weight.is_floating_point():
            start.base_squares[name] = _square(weight)
    return start


def compute_lora_deltas(model: nn.Module, initial: LoraStart) -> list[dict[str, Any]]:
    """Return `[{layer, qkv, mlp, delta_norm, ...}]`, one entry a layer, in order.

    Norms are ||dW||_F of the effective update, over a layer the root of the sum of squares; `qkv`
    and the other kinds are None where no such module is adapted. Empty without LoRA.
    """
    return [msgspec.to_builtins(layer) for layer in read_layers(model, initial)]


@torch.no_grad()
def read_layers(model: nn.Module, initial: LoraStart) -> list[Layer]:
    """Measure every adapted layer of `model` against `initial`; ordered by stack and layer."""
    places, parts, base_squares = [], [], []
    stacks = _stacks(model)
    for name, module, a, b in _adapted(model):
        scaling = float(module.scaling[_adapter(module)])
        if name in initial.factors:
            b0, a0 = (part.to(a.device) for part in initial.factors[name])
            b, a = torch.cat([b - b0, b0], dim=1), torch.cat([a, a - a0], dim=0)
        places.append(locate(name, stacks))
        parts.append(scaling**2 * _product_square(b, a))
        base_squares.append(initial.base_squares.get(name, math.nan))
    squares: dict[tuple[str, int], dict[str, float]] = {}
    bases: dict[tuple[str, int], float] = {}
    for place, square, base in zip(places, to_host(parts), base_squares, strict=True):
        key = (place.stack, place.layer)
        by_kind = squares.setdefault(key, {})
        by_kind[place.kind] = by_kind.get(place.kind, 0.0) + square
        bases[key] = bases.get(key, 0.0) + base
    several = len({stack for stack, _ in squares}) > 1
    return [
        Layer(
            stack=stack if several else "",
            layer=index,
            qkv=_root(kinds.get("qkv")),
            o=_root(kinds.get("o")),
            mlp=_root(kinds.get("mlp")),
            other=_root(kinds.get("other")),
            delta_norm=math.sqrt(sum(kinds.values())),
            relative=_relative(sum(kinds.values()), bases[stack, index]),
        )
        for (stack, index), kinds in sorted(squares.items())
    ]


def unreadable(model: nn.Module) -> list[str]:
    """Return the names of adapted modules whose update this reading leaves out."""
    tuned = {
        name
        for name, module in model.named_modules()
        if type(module).__module__.startswith("peft.tuners.")
        and hasattr(module, "active_adapters")
        and hasattr(module, "get_base_layer")
    }
    return sorted(tuned - {name for name, *_ in _adapted(model)})


def locate(name: str, stacks: set[str]) -> Place:
    """Place a module by its dotted name; `stacks` holds the paths of the layer lists."""
    parts = name.split(".")
    for depth in range(1, len(parts)):
        path = ".".join(parts[:depth])
        if path in stacks and parts[depth].isdigit():
            return Place(_plain(path), int(parts[depth]), kind_of(name))
    return Place("", -1, kind_of(name))


def kind_of(name: str) -> str:
    """Name the kind of a module from its leaf and parents: qkv, o, mlp or other."""
    parts = [part for part in name.split(".") if part not in WRAPPERS]
    leaf, parents = parts[-1], ".".join(parts[:-1]).lower()
    in_mlp = re.search(r"mlp|ffn|feed_forward|experts|densereludense", parents) is not None
    if re.fullmatch(r"(q|k|v|qkv|kv)(_a|_b)?(_proj\w*)?|query_key_value|[Ww]qkv|c_attn", leaf):
        return "qkv"
    if re.fullmatch(r"in_proj_qkvz?|query|key|value|q_proj|q_lin|k_lin|v_lin", leaf):
        return "mlp" if in_mlp else "qkv"
    if in_mlp or re.fullmatch(
        r"(gate|up|down|gate_up)_proj|fc[12]|c_fc|dense_\w+|w[123i]|wi_\d", leaf
    ):
        return "mlp"
    attention = re.search(r"attn|attention", parents) is not None
    if leaf in ("o_proj", "out_proj", "o") or (
        attention and leaf in ("c_proj", "dense", "wo", "proj", "out_lin")
    ):
        return "o"
    return "other"


def _adapted(model: nn.Module) -> Iterator[tuple[str, Any, Tensor, Tensor]]:
    """Yield (name, module, A, B) of every module with a plain pair of active LoRA factors."""
    for name, module in model.named_modules():
        if not hasattr(module, "lora_A") or not hasattr(module, "get_base_layer"):
            continue
        adapter = _adapter(module)
        for a_name, b_name in (("lora_A", "lora_B"), ("lora_embedding_A", "lora_embedding_B")):
            a, b = _factor(module, a_name, adapter), _factor(module, b_name, adapter)
            if a is None or b is None or a.dim() != 2 or b.dim() != 2:
                continue
            if b.shape[1] == a.shape[0] and not _rescaled(module, adapter):
                yield name, module, a, b


def _rescaled(module: Any, adapter: str) -> bool:
    """True for variants whose update is more than scaling * B A (DoRA)."""
    return adapter in (getattr(module, "lora_magnitude_vector", None) or {})


def _adapter(module: Any) -> str:
    active = module.active_adapters
    return str(active[0]) if active else ""


def _factor(module: Any, name: str, adapter: str) -> Tensor | None:
    holder = getattr(module, name, None)
    if holder is None or adapter not in holder:
        return None
    part = holder[adapter]
    weight = part if isinstance(part, Tensor) else getattr(part, "weight", None)
    return weight if isinstance(weight, Tensor) else None


def _stacks(model: nn.Module) -> set[str]:
    """The outermost lists of layers by path: `nn.ModuleList`s of two or more, experts aside."""
    found: set[str] = set()
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in found)
        is_stack = isinstance(module, nn.ModuleList) and len(module) > 1
        if is_stack and not inside and name.rsplit(".", 1)[-1] != "experts":
            found.add(name)
    return found


def _plain(path: str) -> str:
    return ".".join(part for part in path.split(".") if part not in WRAPPERS)


@torch.no_grad()
def _product_square(b: Tensor, a: Tensor) -> Tensor:
    """||B A||_F^2 from two r x r Gram matrices in float64, as a 0-dimensional tensor; NaN stays."""
    b, a = _wide(b), _wide(a)
    return ((b.T @ b) * (a @ a.T)).sum().clamp_min(0.0)


def _wide(tensor: Tensor) -> Tensor:
    """In float64, on the host where the device has none."""
    tensor = tensor.detach()
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


@torch.no_grad()
def _square(weight: Tensor) -> float:
    """||W||_F^2 in float64, some rows at a time."""
    rows = weight.detach().flatten(1) if weight.dim() > 1 else weight.detach()[None]
    parts = torch.split(rows, ROWS_AT_ONCE)
    return math.fsum(_wide(part).square().sum().item() for part in parts)


def _root(square: float | None) -> float | None:
    return None if square is None else math.sqrt(square)


def _relative(square: float, base_square: float) -> float | None:
    return math.sqrt(square / base_square) if base_square > 0 else None
