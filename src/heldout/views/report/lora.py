"""The adapted layers in words: where they moved, what the loss depends on, and what is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

NAMED = 3
"""Modules in trouble named for each state; the page and the JSON name more."""


def lora_lines(lora: Mapping[str, Any]) -> Iterator[str]:
    """Yield the snapshot's `lora` as plain lines; none before the first reading."""
    if lora["sentence"]:
        yield f"LoRA: {lora['sentence']}"
        yield from [f"  {lora['note']}"] if lora["note"] else []
    elif lora["note"] or lora["layers"]:
        yield f"LoRA: {lora['note'] or 'read at step ' + format(lora['step'], ',')}"
    relative = lora["movement"] == "relative"
    if lora["top_moved"]:
        measure = "||dW|| / ||W0||" if relative else "||dW||"
        told = (
            f"{_name(layer, lora['stacks'])} {_moved(layer, relative)}"
            for layer in lora["top_moved"]
        )
        yield f"  moved most ({measure}): {', '.join(told)}"
    depended_on = [x for x in lora["top_impact"] if x["impact_share"] is not None]
    if depended_on:
        told = (
            f"{_name(layer, lora['stacks'])} {layer['impact_share']:.0%}" for layer in depended_on
        )
        yield f"  impact (dependence of the training loss): {', '.join(told)}"
    yield from _troubles(lora)


def _moved(layer: Mapping[str, Any], relative: bool) -> str:
    value = layer["relative"] if relative else layer["delta_norm"]
    share = layer["impact_share"]
    moved = f"{100 * value:.2g}%" if relative else f"{value:.3g}"
    text = moved if math.isfinite(value) else "not finite"
    return text if share is None else f"{text} (impact {share:.0%})"


def _troubles(lora: Mapping[str, Any]) -> Iterator[str]:
    for found in lora["states"]:
        state, num = found["state"], found["modules"]
        named = [x["module"] for x in lora["troubles"] if x["state"] == state][:NAMED]
        more = f" and {num - len(named)} more" if num > len(named) else ""
        names = f": {', '.join(named)}{more}" if named else ""
        modules = "module" if num == 1 else "modules"
        yield f"  {state} ({found['meaning']}), {num} {modules}{names}"


def _name(layer: Mapping[str, Any], stacks: Mapping[str, str]) -> str:
    if layer["layer"] < 0:
        return "outside the layers"
    return f"layer {layer['layer']}" + (f" of {stacks[layer['stack']]}" if layer["stack"] else "")
