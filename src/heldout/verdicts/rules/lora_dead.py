"""Adapters that take no part in the training: frozen, without gradient, stuck, or lost to rounding.

Checks: the state of every adapted module at the last reading (docs/metrics.md, LoRA layers): frozen (not
trained), no-gradient (exactly 0 at every sample and never moved), stalled (below 1 % of its peers' movement),
rounding (half precision leaves 90 % of its entries as they are). Also parts whose gradient has been exactly
0 at the last `readings` readings while others' was not. All adapters frozen is an error at once.

Why: a frozen adapter learns nothing and says nothing; the loss falls a little less, and nobody knows.

What to do: see that the modules have `requires_grad` and are in the optimizer; for rounding, keep the
adapters in float32.

When it is wrong: several adapters of which one is trained on purpose, or training in stages. An
expert that got no tokens has no gradient either.

Source: huggingface/trl#3926 (every adapter frozen); live modules were never below 31 % of their peers in
eleven runs, so 1 % has a wide margin (heldout.signals.health).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from heldout.derive.history import History
from heldout.records import Layer, Layers, LayerState, Part
from heldout.verdicts.rule import Ends, Finding, NotChecked, Rule

ACTIONS = {
    "frozen": "Set requires_grad on these adapters before the optimizer is built, or take them out.",
    "no-gradient": "Check that these modules are used in the forward pass and see tokens.",
    "stalled": "Check that these modules are in the optimizer, with the others' learning rate.",
    "rounding": "Keep the adapters in float32, or raise the learning rate.",
}
WORDS = {
    "frozen": "frozen",
    "no-gradient": "without gradient",
    "stalled": "not moving with their peers",
    "rounding": "lost to rounding",
}
SHOWN = 5
"""Modules named in the message; the evidence holds more."""
LISTED = 100
"""Modules listed in the evidence."""

Place = tuple[str, int, str]


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    readings: int = 3
    """Readings in a row without gradient: one may fall on a batch that did not use the module."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find adapters that do not train, one finding for each state."""
    if not history.layers or not history.layers[-1].layers:
        reason = history.layers[-1].note if history.layers else ""
        return NotChecked(reason or "no adapters were read")
    last = history.layers[-1]
    parts = {place: part.state for place, part in _parts(last.layers)}
    if parts and all(state == "frozen" for state in parts.values()):
        return [_all_frozen(last, len(parts))]
    states: dict[Place, str] = {place: state for place, state in parts.items() if state in ACTIONS}
    quiet = dict.fromkeys(_without_gradient(history.layers, limits.readings), "no-gradient")
    states = quiet | states
    return [_finding(last, parts, states, state) for state in ACTIONS if state in states.values()]


def _parts(layers: Sequence[Layer]) -> Iterator[tuple[Place, Part]]:
    for layer in layers:
        for kind, part in layer.parts.items():
            yield (layer.stack, layer.layer, kind), part


def _without_gradient(layers: Sequence[Layers], readings: int) -> list[Place]:
    """The parts whose gradient was 0 at all of the last readings, while some part's was not."""
    recent = layers[-readings:]
    grads = [{place: part.grad for place, part in _parts(each.layers)} for each in recent]
    if len(grads) < readings or not all(any(known.values()) for known in grads):
        return []
    return [place for place in grads[-1] if all(known.get(place) == 0 for known in grads)]


def _all_frozen(last: Layers, parts: int) -> Finding:
    return Finding(
        level="error",
        message=f"Every adapter is frozen: {parts} adapted parts, and none of them is trained",
        action="Stop. Load the adapter with is_trainable=True, or set requires_grad before the optimizer.",
        evidence={"step": last.step, "parts": parts},
        scope="frozen",
    )


def _finding(
    last: Layers, parts: dict[Place, LayerState], states: dict[Place, str], state: str
) -> Finding:
    places = [place for place, found in states.items() if found == state]
    modules = [name for name, found in last.troubles.items() if found == state]
    whole = [
        layer
        for layer in dict.fromkeys(place[:2] for place in places)
        if all(states.get(place) == state for place in parts if place[:2] == layer)
    ]
    text = f"Adapters {WORDS[state]}: {_named(places, whole)}"
    evidence = {
        "step": last.step,
        "layers": [list(layer) for layer in whole],
        "parts": [list(place) for place in places][:LISTED],
        "modules": modules[:LISTED],
        "num_modules": len(modules),
    }
    return Finding(
        level="warning", message=text, action=ACTIONS[state], evidence=evidence, scope=state
    )


def _named(places: Sequence[Place], whole: Sequence[tuple[str, int]]) -> str:
    """Whole layers by number, and parts of others by kind."""
    stacks = dict.fromkeys(stack for stack, _ in whole)
    found = [
        f"layers {', '.join(str(n) for other, n in whole if other == stack)}"
        + (f" of {stack}" if stack else "")
        for stack in stacks
    ]
    rest = [place for place in places if place[:2] not in whole]
    found += [f"{kind} of layer {n}" for _, n, kind in rest[:SHOWN]]
    if len(rest) > SHOWN:
        found.append(f"{len(rest) - SHOWN} more")
    return ", ".join(found)


RULE = Rule(
    name="lora-dead",
    check=check,
    limits=Limits(),
    on=(Layers,),
    silenced_by=("loss-not-finite",),
    ends=Ends("stop"),
)
