"""Reach the logits of chosen positions, whatever stands around the model's output head.

Only rows that predict a response token need logits, and of a vocabulary of 150,000 not all of them
fit into memory at once. So the head is asked chunk by chunk, in the middle of the model's own
forward pass: a hook in front of the head takes the hidden rows, calls the head with a chunk at a
time, hands each chunk of logits to a reducer and lets the pass go on with one row. Adapters,
autocast, offloading and compiled parts see an ordinary call of an ordinary module.

What a model does behind its head (soft-capping, scaling) is known from its config. `choose` proves on
one example that the logits found this way are the model's own, and else falls back: to a pass that
drops rows in front of the head and lets the model do the rest, then to all the logits.

Shapes: B sequences in a batch, T padded length, R chosen rows in the batch, C rows of a chunk,
V vocabulary, H hidden, K numbers a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from heldout.errors import ModelError

Way = Literal["chunks", "rows", "all"]
Reducer = Callable[[Tensor, slice], Tensor]
"""(logits [C, V], their place among the R rows) -> [C, K]. May overwrite the logits."""

CHUNK_LOGITS = {"cpu": 2**25, "cuda": 2**26}
"""Logits computed at once, rows x vocabulary: 128 MiB in float32. A GPU needs some 300 rows to be busy."""
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
COARSE = 2.0**-4
"""Tolerated difference of the self-test as a share of the largest logit: rounding of this type's
matrix products in another shape. A forgotten soft-cap or scale is off by far more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """A padded batch: token ids, which of them are real, and which positions' logits are wanted."""

    ids_BT: Tensor
    mask_BT: Tensor
    keep_BT: Tensor


def choose(model: nn.Module, inputs: Inputs) -> tuple[Way, str]:
    """Return the first way that gives the model's own logits on `inputs`, and why not a better one."""
    own_RV = _all_rows(model, inputs).float()
    why = ""
    for way in ("chunks", "rows"):
        found: list[Tensor] = []

        def keep(logits_CV: Tensor, _: slice, found: list[Tensor] = found) -> Tensor:
            found.append(logits_CV.clone())
            return logits_CV[:, :1]

        try:
            read(model, inputs, keep, way)
            difference = _difference(torch.cat(found).to(own_RV.device), own_RV)
        except (
            Exception
        ) as error:  # foreign models: any failure means that this way is not for them
            difference = f"{type(error).__name__}: {error}"
        if not difference:
            return way, why
        why = why or difference
    return "all", why


def read(model: nn.Module, inputs: Inputs, reduce: Reducer, way: Way = "chunks") -> Tensor:
    """Run the model and return [R, K]: `reduce` of the chosen rows' logits, in batch order.

    Raises `ModelError` if the model's head is not where `way` needs it.
    """
    head = output_head(model)
    if way == "all":
        return _in_chunks(_all_rows(model, inputs), reduce)
    if head is None:
        raise ModelError("it names no output head")
    if way == "rows":
        with _hooked(head, lambda hidden_BTH: hidden_BTH[_keep(inputs, hidden_BTH)].unsqueeze(0)):
            logits_1RV = _forward(model, inputs)
        if logits_1RV.shape[:2] != (1, int(inputs.keep_BT.sum())):
            raise ModelError("its logits are not what its output head gives")
        return _in_chunks(logits_1RV[0], reduce)
    parts: list[Tensor] = []

    def through_head(hidden_BTH: Tensor) -> Tensor:
        rows_RH = hidden_BTH[_keep(inputs, hidden_BTH)]
        size = chunk_rows(head, rows_RH.device)
        for at in range(0, len(rows_RH), size):
            chunk = slice(at, min(at + size, len(rows_RH)))
            logits_CV = finish(head(rows_RH[chunk].unsqueeze(0))[0])
            parts.append(reduce(logits_CV, chunk))
            del logits_CV  # or it would stay while the next chunk is computed
        return hidden_BTH[:1, :1]

    finish = after_head(getattr(model, "config", None))
    with _hooked(head, through_head):
        _forward(model, inputs)
    if not parts:
        raise ModelError("its output head is not called by its forward pass")
    return torch.cat(parts)


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model that was compiled or put into a data-parallel wrapper."""
    for name in ("_orig_mod", "module"):
        inner = getattr(model, name, None)
        model = inner if isinstance(inner, nn.Module) else model
    return model


def output_head(model: nn.Module) -> nn.Module | None:
    """Return the module that turns hidden rows into logits; None if the model names none."""
    getter = getattr(model, "get_output_embeddings", None)
    head = getter() if callable(getter) else None
    return head if isinstance(head, nn.Module) else None


def input_device(model: nn.Module) -> torch.device:
    """Where token ids go: the input embeddings, which may lie elsewhere than the last layer."""
    getter = getattr(model, "get_input_embeddings", None)
    embeddings = getter() if callable(getter) else None
    weight = getattr(embeddings, "weight", None)
    return weight.device if isinstance(weight, Tensor) else next(model.parameters()).device


def after_head(config: Any) -> Callable[[Tensor], Tensor]:
    """Return what a model with this config does to its head's output: scale it, soft-cap it.

    Names: Cohere's `logit_scale`, Granite's `logits_scaling` (a divisor), Falcon-H1's
    `lm_head_multiplier`, Gemma's `final_logit_softcapping`.
    """
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    scale = getattr(text, "logit_scale", None) or 1.0
    scale *= getattr(text, "lm_head_multiplier", None) or 1.0
    scale /= getattr(text, "logits_scaling", None) or 1.0
    cap = getattr(text, "final_logit_softcapping", None)

    def finish(logits: Tensor) -> Tensor:
        if scale != 1.0:
            logits = logits * scale
        return logits if cap is None else torch.tanh(logits / cap) * cap

    return finish


def chunk_rows(head: nn.Module, device: torch.device) -> int:
    """The rows whose logits are computed at once: what `CHUNK_LOGITS` allows this vocabulary."""
    weight = getattr(head, "weight", None)
    vocabulary = len(weight) if isinstance(weight, Tensor) and weight.ndim else 2**16
    budget = CHUNK_LOGITS.get(device.type, CHUNK_LOGITS["cpu"])
    return max(1, budget // max(1, vocabulary))


@contextmanager
def _hooked(head: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Let `change` replace the head's input, once: the head may be called again meanwhile."""
    used = False

    def in_front(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        nonlocal used
        if used:
            return None
        used = True
        return (change(args[0]), *args[1:])

    handle = head.register_forward_pre_hook(in_front)
    try:
        yield
    finally:
        handle.remove()


def _keep(inputs: Inputs, hidden_BTH: Tensor) -> Tensor:
    """The chosen positions among the hidden rows, which may begin with virtual tokens (prompt tuning)."""
    keep_BT = inputs.keep_BT.to(hidden_BTH.device)
    extra = hidden_BTH.shape[1] - keep_BT.shape[1]
    if hidden_BTH.ndim != 3 or len(hidden_BTH) != len(keep_BT) or extra < 0:
        raise ModelError(f"its output head is given {list(hidden_BTH.shape)}, not [B, T, H]")
    return nn.functional.pad(keep_BT, (extra, 0))


def _all_rows(model: nn.Module, inputs: Inputs) -> Tensor:
    logits_BTV = _forward(model, inputs)
    return logits_BTV[_keep(inputs, logits_BTV)]


def _in_chunks(logits_RV: Tensor, reduce: Reducer) -> Tensor:
    size = max(1, CHUNK_LOGITS.get(logits_RV.device.type, 2**25) // logits_RV.shape[-1])
    rows = range(0, len(logits_RV), size)
    return torch.cat([reduce(logits_RV[i : i + size], slice(i, i + size)) for i in rows])


def _forward(model: nn.Module, inputs: Inputs) -> Tensor:
    out = model(input_ids=inputs.ids_BT, attention_mask=inputs.mask_BT, use_cache=False)
    logits: Tensor = out.logits
    return logits


def _difference(found_RV: Tensor, own_RV: Tensor) -> str:
    if found_RV.shape != own_RV.shape:
        return f"logits of shape {list(found_RV.shape)} instead of {list(own_RV.shape)}"
    finite = torch.isfinite(own_RV)
    if not finite.any():
        return ""  # a poisoned model has no logits to compare
    largest = own_RV[finite].abs().max().item()
    off = (found_RV.float() - own_RV)[finite].abs().max().item()
    allowed = TOLERANCE.get(found_RV.dtype, COARSE) * max(largest, 1e-6)
    return "" if off <= allowed else f"logits off by {off:.3g}, the largest is {largest:.3g}"
