"""The adapted layers in the report's words."""

from __future__ import annotations

import math
from typing import Any

from facts import history, layers, run

from heldout.records import Layer, Layers, LayerState
from heldout.views.report.lora import lora_lines
from heldout.views.report.text import verdict_lines
from heldout.views.snapshot import lora


def told(*facts: Layers) -> list[str]:
    return list(lora_lines(lora(history(run(), *facts).layers)))


def reading(step: int, troubles: dict[str, LayerState] | None = None, **more: Any) -> Layers:
    """Ten layers: the last two moved most, the loss depends on the first."""
    rows = [
        Layer(
            stack="",
            layer=i,
            delta_norm=1.0,
            relative=0.008 if i > 7 else 0.004,
            impact=1.0 if i == 0 else 0.1,
            impact_share=0.55 if i == 0 else 0.05,
        )
        for i in range(10)
    ]
    return Layers(step=step, time=0.0, layers=rows, troubles=troubles or {}, **more)


def test_the_sentence_the_five_that_moved_most_and_those_the_loss_depends_on() -> None:
    sentence, moved, impact = told(reading(1), reading(2), reading(3))
    assert sentence == (
        "LoRA: layers 8-9 adapting most (Δ=0.8%, 2.0x the median layer) but carry only 10 % of the impact"
    )
    assert moved.startswith("  moved most (||dW|| / ||W0||): layer 8 0.8% (impact 5%), layer 9 ")
    assert moved.count("layer") == 5
    assert impact.startswith("  impact (dependence of the training loss): layer 0 55%, layer 1 5%")
    assert impact.count("layer") == 5


def test_the_note_stands_with_the_layers_and_alone_without() -> None:
    note = "no LoRA adapters: the trained weights themselves"
    sentence, below, *_ = told(*(reading(step, note=note) for step in (1, 2, 3)))
    assert sentence.startswith("LoRA: layers 8-9")
    assert below == f"  {note}"
    assert told(Layers(step=1, time=0.0, layers=[], note=note)) == [f"LoRA: {note}"]
    assert told() == ["LoRA: not read yet"]


def test_before_a_sentence_can_be_said_the_layers_are_told() -> None:
    first, moved = told(layers(1200, [1.0, math.nan]))
    assert first == "LoRA: read at step 1,200"
    assert moved == "  moved most (||dW||): layer 1 not finite, layer 0 1"


def test_modules_in_trouble_are_told_worst_first_with_the_meaning() -> None:
    bad: dict[str, LayerState] = {f"layers.{i}.o_proj": "frozen" for i in range(30)}
    lines = told(reading(3, {**bad, "layers.3.down_proj": "blow-up"}))[-2:]
    assert lines[0].startswith("  blow-up (not finite, or ")
    assert lines[0].endswith(", 1 module: layers.3.down_proj")
    assert lines[1] == (
        "  frozen (not trained), 30 modules: layers.0.o_proj, layers.1.o_proj, layers.2.o_proj "
        "and 27 more"
    )


def test_what_lies_outside_and_stacks_are_named() -> None:
    stacks = ("model.text.layers", "model.vision.layers")
    rows = [Layer(stack="", layer=-1, delta_norm=9.0)] + [
        Layer(stack=stack, layer=0, delta_norm=1.0) for stack in stacks
    ]
    moved = told(Layers(step=1, time=0.0, layers=rows))[1]
    assert moved.endswith("outside the layers 9, layer 0 of text 1, layer 0 of vision 1")


def test_the_report_holds_the_lines() -> None:
    lines = verdict_lines(history(run(), reading(1), reading(2), reading(3)))
    assert any(line.startswith("LoRA: layers 8-9 adapting most") for line in lines)
