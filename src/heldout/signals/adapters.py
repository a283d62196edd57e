"""Every adapted weight of a model, and how to read its update from PEFT's own modules.

Two kinds: a LowRank update is a product of thin factors and never formed; a Direct one is measured
whole or in a closed form, and only its norm is known. Modules are told by their classes' names and
attributes, so that nothing here imports PEFT. What cannot be read is named with a reason.

Legend: E experts, R rank (of all active adapters together); A [E, R, in], B [E, out, R]; W0 [out, in].
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from heldout.signals.frozen import add, is_plain, slices, square_norm, weight_reader, wide
from heldout.signals.lowrank import Pair, Product
from heldout.signals.places import Place, locate, plain, stacks

HALF = (torch.float16, torch.bfloat16)

FACTORS = ("lora_A", "lora_B", "lora_E", "lora_diag", "lora_embedding_A", "lora_embedding_B")
LOW_RANK = ("lora", "adalora")
ADDITIVE = re.compile(
    "c3a|deft|delora|fourierft|frod|gralora|loha|lokr|osf|peanut|psoft|pvera|randlora|shira"
    "|supertuning|tinylora|unilora|vblora|vera|waveft"
)
"""PEFT's packages whose get_delta_weight is the merged weight minus the base weight (0.21.2)."""

MULTIPLYING = {
    "boft": "BOFT",
    "hira": "HiRA",
    "hra": "HRA",
    "ia3": "IA3",
    "oft": "OFT",
    "road": "RoAd",
}
VARIANTS = ("ALora", "BdLora", "Dora", "Kasa", "MiCA", "Monteclora", "QALora", "Velora")
"""How the names of the classes begin that vary LoRA in a way read here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LowRank:
    """One adapted weight whose update is a product of thin factors.

    `name` is its dotted path without wrappers, ending in the parameter's name where PEFT wraps a
    parameter. `module` is PEFT's layer: parameters are read anew each time, they may be replaced.
    `adapters` are the active ones that exist here, in order. `twins` are other layers made of the
    same storages, such as a head tied to its embedding: one weight, counted once. Where the model
    stores the weight transposed, the product is the transposed update. A trained bias
    (`lora_bias`) is no part of it.
    """

    name: str
    module: Any
    place: Place
    adapters: tuple[str, ...]
    twins: tuple[Any, ...] = ()

    def factors(self) -> tuple[Tensor, Tensor]:
        """Read B [E, out, R] and A [E, R, in]; the update of matrix e is B[e] @ A[e].

        B holds every scaling factor, in its own dtype or in float32 where that is a half; both are
        views of the parameters where nothing has to be multiplied or joined, and detached.
        """
        return joined([self.factors_of(adapter) for adapter in self.adapters])

    def factors_of(self, adapter: str) -> Pair:
        """Read the same of one adapter."""
        return _factors(self.module, adapter)

    def product(self) -> Product:
        """Read the same with the scaling apart where it is one number, so that nothing is copied."""
        if len(self.adapters) > 1:
            return Product(*self.factors())
        return _product(self.module, self.adapters[0])

    def zero_side(self) -> list[nn.Parameter]:
        """Return, by adapter, the factor p that ordinarily starts at zero and is trained.

        The update is linear in it, so the sum of all <p, dL/dp> is dL/dlog(scaling). A twin's
        factor is there too: its gradient is its own.
        """
        layers = (self.module, *self.twins)
        return [_zero_side(layer, adapter) for layer in layers for adapter in self.adapters]

    def parameters(self) -> list[nn.Parameter]:
        """Return the factors of the active adapters, frozen ones too, each storage once."""
        parts = _parts(self.module, self.adapters, FACTORS)
        return _once(part if isinstance(part, nn.Parameter) else part.weight for part in parts)

    def is_trained(self) -> bool:
        """Tell whether any factor requires a gradient."""
        return any(parameter.requires_grad for parameter in self.parameters())


@dataclass(frozen=True, slots=True, kw_only=True)
class Direct:
    """One adapted weight of which only the size of the update is read, whole or in a closed form.

    Fields as in LowRank. `how` is "DoRA", "get_delta_weight", "modules_to_save" (then every
    parameter of the module counts, biases too) or "trainable tokens".
    """

    name: str
    module: Any
    place: Place
    adapters: tuple[str, ...]
    how: str

    @torch.no_grad()
    def square(self) -> Tensor:
        """Measure ||W' - W0||_F^2 against the base weight, not the start; float64, 0-dimensional.

        "get_delta_weight" forms the update, one matrix of the weight's size; the others read the
        weight some rows at a time. Some methods do not start at zero: FourierFT, C3A.
        """
        match self.how:
            case "DoRA":
                return _dora_square(self.module, self.adapters[0])
            case "modules_to_save":
                now = dict(self.module.modules_to_save[self.adapters[0]].named_parameters())
                before = dict(self.module.original_module.named_parameters())
                return add(square_norm(now[name], before[name]) for name in now)
            case "trainable tokens":
                values, first = (
                    self.module.trainable_tokens_delta,
                    self.module.trainable_tokens_original,
                )
                return add(square_norm(values[x], first[x]) for x in self.adapters)
        deltas = [self.module.get_delta_weight(x).to_dense() for x in self.adapters]
        return square_norm(sum(deltas[1:], start=deltas[0]))

    def parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the active adapters, each storage once."""
        parts = _parts(self.module, self.adapters, self.module.adapter_layer_names)
        each = ([part] if isinstance(part, nn.Parameter) else part.parameters() for part in parts)
        return _once(chain.from_iterable(each))

    def is_trained(self) -> bool:
        """Tell whether any of them requires a gradient."""
        return any(parameter.requires_grad for parameter in self.parameters())


Adapted = LowRank | Direct


def adapted(model: nn.Module, adapter: str | None = None) -> list[Adapted]:
    """Find every adapted weight that can be read, in the model's order, each once.

    Of the active adapters, or of one `adapter` by itself, active or not. Call again after adapters
    were added, switched, merged or deleted. Reads no weights.
    """
    found: dict[frozenset[int], Adapted] = {}
    for each in _survey(model, adapter).values():
        if isinstance(each, str):
            continue
        key = frozenset(_storage(parameter) for parameter in each.parameters())
        if isinstance(each, Direct) and each.how == "get_delta_weight":
            key = frozenset({id(each.module)})  # some share every trained vector between layers
        first = found.setdefault(key, each)
        if first is not each and isinstance(first, LowRank):
            found[key] = replace(first, twins=(*first.twins, each.module))
    return list(found.values())


def left_out(model: nn.Module) -> dict[str, str]:
    """Name the adapted modules that cannot be read, each with the reason."""
    return {name: each for name, each in _survey(model).items() if isinstance(each, str)}


def adapter_names(model: nn.Module) -> list[str]:
    """Name every adapter that any layer has, active or not."""
    names = (name for layer in _tuner_layers(model) for name in _present(layer))
    return list(dict.fromkeys(names))


def active_adapters(model: nn.Module) -> list[tuple[Any, tuple[str, ...]]]:
    """Which adapters are active in which layers: unequal once `adapted` would find others."""
    return [(layer, _active(layer)) for layer in _tuner_layers(model)]


def beside(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules with parameters that belong to no adapter, by name: parameters may be replaced."""
    inside = set()
    for layer in _tuner_layers(model):
        inside.add(id(layer))
        for name, part in layer.named_children():
            if name not in ("base_layer", "original_module"):
                inside.update(map(id, part.modules()))
    return [
        (path, module)
        for path, module in model.named_modules()
        if id(module) not in inside and module._parameters
    ]


def trained_beside(found: Iterable[tuple[str, nn.Module]]) -> list[str]:
    """Name the trained ones among the parameters of modules that `beside` found, tied ones once."""
    trained: dict[int, str] = {}
    for path, module in found:
        for name, parameter in module._parameters.items():
            if parameter is not None and parameter.requires_grad:
                trained.setdefault(id(parameter), plain(f"{path}.{name}"))
    return list(trained.values())


def joined(pairs: Sequence[Pair]) -> Pair:
    """B and A of a sum of products."""
    if len(pairs) == 1:
        return pairs[0]
    return torch.cat([b for b, _ in pairs], dim=2), torch.cat([a for _, a in pairs], dim=1)


@torch.no_grad()
def base_square(each: Adapted, start: tuple[Tensor, Tensor] | None = None) -> float | None:
    """Measure ||W0||_F^2 of the frozen weight in float64; None where it cannot be had.

    Where the adapter starts at B0 A0 other than zero, `start` has both and W0 is the sum of the two:
    PiSSA and its like take that much out of the frozen weight. Reads the whole weight, some rows at a
    time: 8 s for 8 B values on one CPU thread. A quantised one is dequantised as PEFT does it; None
    for those that have no way back (GPTQ, AWQ), for a merged weight, and for one that is not on this
    device (offloaded, sharded by ZeRO-3).
    """
    if isinstance(each, Direct) and each.how == "modules_to_save":
        frozen = list(each.module.original_module.parameters())
        return float(add(map(square_norm, frozen))) if all(map(is_plain, frozen)) else None
    read = weight_reader(each.module)
    if read is None:
        return None
    if start is None or len(start[0]) > 1:
        return float(square_norm(read()))
    weight = _oriented(each.module, each.adapters[0], read())
    b, a = (wide(side[0]).to(weight.device) for side in start)
    parts = [(wide(weight[rows]) + b[rows] @ a).square().sum() for rows in slices(weight)]
    return float(add(parts))


def _survey(model: nn.Module, adapter: str | None = None) -> dict[str, Adapted | str]:
    """Every adapted weight by name: how to read it, or why it cannot be read."""
    lists = stacks(model)
    found: dict[str, Adapted | str] = {}
    for path, module in model.named_modules():
        tuner = _tuner(type(module).__mro__)
        adapters = _active(module) if tuner else ()
        if tuner and adapter is not None:
            adapters = (adapter,) if adapter in _present(module) else ()
        if adapters:
            name = _name(path, module, tuner)
            name = path if name in found else name
            found[name] = _read(name, module, tuner, adapters, locate(name, lists))
    return found


def _tuner_layers(model: nn.Module) -> Iterator[Any]:
    """PEFT's layers, in the model's order; `modules()` takes ten times as long."""
    seen, ahead = set(), [model]
    while ahead:
        module = ahead.pop()
        if module in seen:
            continue
        seen.add(module)
        if _tuner(type(module).__mro__):
            yield module
        ahead += [child for child in reversed(module._modules.values()) if child is not None]


@cache
def _tuner(bases: tuple[type, ...]) -> str:
    """The method a class of PEFT's layers belongs to; "" for other classes.

    Looks through the bases because FSDP2 puts a class of its own in front.
    """
    peft = [base for base in bases if base.__module__.startswith("peft.")]
    names = {base.__name__ for base in peft}
    if "ModulesToSaveWrapper" in names:
        return "modules_to_save"
    return peft[0].__module__.split(".")[2] if "BaseTunerLayer" in names else ""


def _active(module: Any) -> tuple[str, ...]:
    """The active adapters that this layer has."""
    there = _present(module)
    return tuple(x for x in module.active_adapters if x in there)


def _present(module: Any) -> list[str]:
    """The adapters that this layer has, in the order they were added."""
    holders = [getattr(module, name, None) for name in module.adapter_layer_names]
    there: list[Any] = [holder for holder in holders if hasattr(holder, "keys")]
    return list(dict.fromkeys(adapter for holder in there for adapter in holder))


def _name(path: str, module: Any, tuner: str) -> str:
    name = plain(path)
    if tuner == "lora" and hasattr(module, "parameter_name"):
        return f"{name}.{module.parameter_name}"
    if tuner == "lora" and isinstance(module.get_base_layer(), nn.MultiheadAttention):
        return f"{name}.in_proj_weight"
    return name


def _read(
    name: str, module: Any, tuner: str, adapters: tuple[str, ...], place: Place
) -> Adapted | str:
    how = "get_delta_weight"
    if tuner == "modules_to_save":  # only the first is used
        how, adapters = tuner, adapters[:1]
    elif tuner == "trainable_tokens":
        how = "trainable tokens"
    elif tuner in LOW_RANK:
        dora = any(adapter in module.lora_magnitude_vector for adapter in adapters)
        problem = _problem(module, adapters) or (dora and _dora_problem(module, adapters))
        if problem or not dora:
            plain_lora = LowRank(name=name, module=module, place=place, adapters=adapters)
            return problem or plain_lora
        how = "DoRA"
    elif tuner in MULTIPLYING:
        return f"{MULTIPLYING[tuner]} multiplies the weight instead of adding to it"
    elif not ADDITIVE.fullmatch(tuner):
        return f"no way to read an update of the kind {tuner!r} is known"
    return Direct(name=name, module=module, place=place, adapters=adapters, how=how)


def _problem(module: Any, adapters: Iterable[str]) -> str:
    """Why the factors of a LoRA layer do not give its update; "" where they do."""
    if type(module).__name__ == "LoraParallelLinear":
        return "its factors are split between tensor-parallel ranks"
    if getattr(module.get_base_layer(), "groups", 1) > 1:
        return "convolution with groups"
    for adapter in adapters:
        variant = type(getattr(module, "lora_variant", {}).get(adapter)).__name__
        if variant != "NoneType" and not variant.startswith(VARIANTS):
            return f"no way to read the variant {variant} is known"
        a, b = _sides(module, adapter)
        if hasattr(a, "ds_shape") or hasattr(b, "ds_shape"):
            return "DeepSpeed ZeRO-3 keeps only a part of its factors here"
        if min(a.dim(), b.dim()) < 2 or b.flatten(1).shape[1] != a.shape[0]:
            return f"its factors have the shapes {list(b.shape)} and {list(a.shape)}"
    return ""


def _dora_problem(module: Any, adapters: tuple[str, ...]) -> str:
    if len(adapters) > 1:
        return "DoRA together with another active adapter"
    unreadable = "DoRA merged into its weight, or over one that cannot be dequantised"
    return "" if weight_reader(module) else unreadable


def _sides(module: Any, adapter: str) -> tuple[Tensor, Tensor]:
    """A and B as they are stored."""
    held = module._modules
    embedding = adapter in held["lora_embedding_A"]
    names = ("lora_embedding_A", "lora_embedding_B") if embedding else ("lora_A", "lora_B")
    a, b = (_matrix(held[name][adapter]) for name in names)
    return a, b


def _matrix(part: Any) -> Tensor:
    if isinstance(part, Tensor):
        return part
    if type(part) is nn.Linear:
        return part.weight
    blocks = getattr(part, "weight_as_blockdiagonal_matrix", None)  # BdLoRA
    matrix: Tensor = blocks() if blocks else part.weight
    return matrix


def _held(module: nn.Module, name: str) -> Any:
    """What a layer holds for each adapter under this name; nothing takes `getattr` 2 microseconds."""
    return module._modules.get(name) or vars(module).get(name) or {}


def _factors(module: Any, adapter: str) -> Pair:
    """B [E, out, r] with the scaling in it, A [E, r, in], of one adapter."""
    b, a, scale = _product(module, adapter)
    return _scaled(b, scale), a


def _product(module: Any, adapter: str) -> Product:
    """B [E, out, r] and A [E, r, in] of one adapter; the scaling apart where it is one number."""
    a, b = (side.detach().flatten(1) for side in _sides(module, adapter))
    factor = module.scaling[adapter]
    if adapter in _held(module, "lora_E"):  # AdaLoRA
        a = _scaled(a, module.lora_E[adapter].detach())
        factor = factor / (module.ranknum[adapter].detach() + 1e-5)
    if adapter in _held(module, "lora_diag"):  # KaSA
        factor = factor * module.lora_diag[adapter].detach()
    if adapter in _held(module, "qalora_group_size"):  # QA-LoRA: A acts on sums over groups
        group = module.qalora_group_size[adapter]
        factor = factor * a.shape[1] / group
        a = a.repeat_interleave(group, dim=1)
    if isinstance(factor, Tensor):
        b, factor = _scaled(b, factor), 1.0
    experts = vars(module).get("num_experts", 1)
    if experts == 1:
        return Product(b[None], a[None], factor)
    by_expert = b.reshape(b.shape[0], -1, experts).permute(2, 0, 1)  # as PEFT cuts B, unlike A
    return Product(by_expert, a.reshape(experts, -1, a.shape[1]), factor)


def _scaled(part: Tensor, factor: float | Tensor) -> Tensor:
    if not isinstance(factor, Tensor) and factor == 1:
        return part
    return (part.float() if part.dtype in HALF else part) * factor


def _zero_side(module: Any, adapter: str) -> nn.Parameter:
    frozen = _held(module, "frozen_peft_weight_names").get(adapter, ())
    part: Any
    if adapter in _held(module, "lora_E"):
        part = module.lora_E[adapter]
    elif adapter in module.lora_embedding_A:
        part = module.lora_embedding_A[adapter]
    else:  # MiCA freezes B and trains A from zero
        part = (module.lora_A if "lora_B" in frozen else module.lora_B)[adapter].weight
    assert isinstance(part, nn.Parameter)
    return part


def _parts(module: Any, adapters: Iterable[str], names: Iterable[str]) -> list[Any]:
    """What a layer holds for these adapters under these names: parameters and modules."""
    holders = [_held(module, name) for name in names]
    return [x[adapter] for adapter in adapters for x in holders if adapter in x]


def _once(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """Each storage once."""
    found: dict[int, nn.Parameter] = {}
    for parameter in parameters:
        found.setdefault(_storage(parameter), parameter)
    return list(found.values())


def _storage(parameter: Tensor) -> int:
    """What tells two parameters apart: where their values lie, or themselves if they have none."""
    local = parameter.to_local() if hasattr(parameter, "to_local") else parameter
    return local.untyped_storage().data_ptr() or id(parameter)


@torch.no_grad()
def _dora_square(module: Any, adapter: str) -> Tensor:
    """||c (W0 + B A) - W0||_F^2, where c rescales each row to its trained length.

    With w a row of W0 and d of B A: sum (c-1)^2 |w|^2 + 2 c (c-1) <w, d> + c^2 |d|^2, and all three
    follow from W0 A^T and A A^T, so B A is never formed.
    """
    b_part, a_part = _factors(module, adapter)
    b, a = wide(b_part[0]), wide(a_part[0])
    read = weight_reader(module)
    assert read is not None
    weight = _oriented(module, adapter, read())
    lengths = wide(module.lora_magnitude_vector[adapter].weight).flatten()
    gram = a @ a.T
    parts = []
    for rows in slices(weight):
        w, b_rows = wide(weight[rows]), b[rows]
        ww = w.square().sum(1)
        wd = ((w @ a.T) * b_rows).sum(1)
        dd = ((b_rows @ gram) * b_rows).sum(1)
        c = lengths[rows] / (ww + 2 * wd + dd).sqrt()
        parts.append(((c - 1).square() * ww + 2 * c * (c - 1) * wd + c.square() * dd).sum())
    return add(parts)


def _oriented(module: Any, adapter: str, weight: Tensor) -> Tensor:
    """The frozen weight as a matrix of the shape of B A."""
    weight = weight.detach().flatten(1)
    flipped = adapter in module.lora_embedding_A or getattr(module, "fan_in_fan_out", False)
    return weight.T if flipped else weight
