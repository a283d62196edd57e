"""Where a module sits in a model: its stack of layers, its index there, and what kind it is.

The index comes from the structure, the outermost list of layers on the path, and not from a pattern
over the name: a pattern takes `experts.7`, T5's `layer.1` or `merger.mlp.0` for a layer, and a vision
tower and its language model both have a layer 5, so the key is (stack, index).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

KINDS = ("qkv", "o", "mlp", "other")
WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "base_model", "base_layer"})
"""Path elements that DDP, torch.compile, FSDP and PEFT put between a module and its name."""

SHORTEST_STACK = 2
"""A list of one module is not read as a stack of layers: its only index says nothing."""

QKV = re.compile(
    r"(q|k|v|qk|kv|qkv)(_a|_b)?(_proj\w*|_lin)?|w(q|k|v|qkv)|[cq]_attn|query_key_value"
    r"|(query|key|value|receptance)(_proj|_global)?|in_proj_(qkvz?|weight)"
)
"""Leaves that mean query, key or value anywhere but inside an MLP: RWKV has a `key` there too."""

MLP = re.compile(
    r"(gate|up|down|gate_up)_proj|fc_?\d|fc_(in|out)|c_fc|linear_fc\d|dense_\w+|w[123i]|wi_\d"
    r"|ffn(_output)?"
)
"""Leaves that mean the MLP wherever they are."""

OUTPUT = frozenset({"o", "out_proj", "c_proj", "dense", "wo", "proj", "out_lin", "output"})
"""Leaves that mean the attention's output inside an attention, and other things elsewhere."""

ROUTER = re.compile(r"gate|router|shared_expert_gate")
INSIDE_MLP = re.compile(r"mlp|ffn|\bff\b|feed_?forward|expert|moe|densereludense|intermediate")
INSIDE_ATTENTION = re.compile(r"attn|attention")
AMBIGUOUS = frozenset({"c_proj", "dense", "proj", "wo", "output", "layer", "linear"})
"""Leaves that need their parent's name to tell a module's peers: BERT has three called `dense`."""

SECOND_OF_ITS_NAME = re.compile(r"expert|cross|encoder_attn|encdec", re.IGNORECASE)
"""Parents beside which a layer has another block of the same names: experts, cross-attention."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a module sits.

    `stack` is the dotted path of its list of layers and `layer` its index there; ("", -1) outside
    every list. `kind` is one of KINDS. `leaf` is finer, e.g. `q_proj`: modules of one stack, kind
    and leaf do the same work in each layer and can be compared. It is `experts.w1` for experts and
    names the parent where the last name alone is ambiguous, e.g. `intermediate.dense`.
    """

    stack: str
    layer: int
    kind: str
    leaf: str


def stacks(model: nn.Module) -> set[str]:
    """Find the outermost lists of layers, by path without wrappers.

    A list of layers is an `nn.ModuleList` of two or more that is not called `experts`.
    """
    found: set[str] = set()
    for path, module in model.named_modules():
        name = plain(path)
        inside = any(name.startswith(f"{outer}.") for outer in found)
        is_stack = isinstance(module, nn.ModuleList) and len(module) >= SHORTEST_STACK
        if is_stack and not inside and name.rsplit(".", 1)[-1] != "experts":
            found.add(name)
    return found


def locate(name: str, stacks: Iterable[str]) -> Place:
    """Place a module by its dotted name, with or without wrappers; `stacks` are the lists' paths."""
    lists = frozenset(stacks)
    parts = plain(name).split(".")
    kind, leaf = kind_of(name), _leaf(parts)
    for depth in range(1, len(parts)):
        path = ".".join(parts[:depth])
        if path in lists and parts[depth].isdigit():
            return Place(path, int(parts[depth]), kind, leaf)
    return Place("", -1, kind, leaf)


def kind_of(name: str) -> str:
    """Name the kind of a module from its last name and its parents: qkv, o, mlp or other.

    Fused projections count as qkv, and so do the two halves of MLA's low-rank ones. Routers,
    state-space mixers, embeddings and heads are other.
    """
    *before, last = plain(name).lower().split(".")
    parents = ".".join(before)
    in_mlp = INSIDE_MLP.search(parents) is not None
    in_attention = INSIDE_ATTENTION.search(parents) is not None
    if ROUTER.fullmatch(last) or "router" in before:
        return "other"
    if in_mlp or MLP.fullmatch(last):
        return "mlp"
    if QKV.fullmatch(last):
        return "qkv"
    if last == "o_proj" or (in_attention and last in OUTPUT):
        return "o"
    if before[-1:] == ["output"] and last == "dense":  # BERT's second half of the MLP
        return "mlp"
    return "other"


def plain(path: str) -> str:
    """Drop the wrappers from a dotted path."""
    return ".".join(part for part in path.split(".") if part not in WRAPPERS)


def _leaf(parts: list[str]) -> str:
    """The last name, with its parent's where that decides what it is; expert numbers dropped."""
    names = [part for part in parts[:-1] if not part.isdigit()]
    parent = names[-1] if names else ""
    last = parts[-1].removesuffix("_weight")
    needs_parent = last in AMBIGUOUS or last.isdigit() or SECOND_OF_ITS_NAME.search(parent)
    return f"{parent}.{last}" if parent and needs_parent else last
