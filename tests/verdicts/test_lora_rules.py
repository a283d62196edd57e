"""Adapters that do not train, and adapters that run away, as tables of readings."""

from __future__ import annotations

import math
from typing import Any

import pytest
from facts import at, checkpoint, losses, run, sample
from lives import Facts, life, opened, said, waiting

from heldout.records import Layer, Layers, LayerState, Part, Verdict
from heldout.verdicts.judge import Judge
from heldout.verdicts.rules import divergence, lora_dead, lora_exploding

KINDS = ("qkv", "mlp")
N = 6


def part(moved: float, **changes: Any) -> Part:
    fields = {"norm": 10 * moved, "relative": moved, "rank": 3.0, "rank_of": 8.0, "grad": 0.1}
    return Part(**fields | changes)


def reading(
    step: int, moved: float = 0.01, odd: dict[tuple[int, str], dict[str, Any]] | None = None
) -> Layers:
    """Six layers of two kinds that moved about as far; `odd` changes single parts."""
    rows, troubles = [], {}
    for i in range(N):
        parts = {}
        for kind in KINDS:
            changes = (odd or {}).get((i, kind), {})
            far = (
                changes.pop("moved", moved * (1 + 0.05 * i)) if changes else moved * (1 + 0.05 * i)
            )
            parts[kind] = part(far, **changes)
            if parts[kind].state != "ok":
                troubles[f"model.layers.{i}.{kind}"] = parts[kind].state
        norm = math.sqrt(sum(each.norm**2 for each in parts.values()))
        rows.append(Layer(stack="layers", layer=i, delta_norm=norm, parts=parts))
    return Layers(step=step, time=at(step), layers=rows, troubles=troubles)


def whole(state: LayerState, *numbers: int) -> dict[tuple[int, str], dict[str, Any]]:
    """These layers with all their parts in `state`."""
    return {(i, kind): {"state": state} for i in numbers for kind in KINDS}


def test_sound_adapters_are_silent() -> None:
    facts: Facts = [reading(step, 0.001 * step) for step in (1, 10, 20, 30, 40, 50)]
    assert life(lora_dead.RULE, facts) == []
    assert life(lora_exploding.RULE, facts) == []


@pytest.mark.parametrize("state", ["frozen", "no-gradient", "stalled", "rounding"])
def test_a_state_is_an_alert_with_its_layers_named(state: LayerState) -> None:
    odd = whole(state, 1, 3) | {(4, "mlp"): {"state": state}}
    alert = opened(lora_dead.RULE, [reading(10), reading(20, odd=odd)])
    assert alert.scope == state
    assert alert.level == "warning"
    assert alert.message.endswith(": layers 1, 3 of layers, mlp of layer 4")
    assert alert.evidence["layers"] == [["layers", 1], ["layers", 3]]
    assert alert.evidence["num_modules"] == 5
    assert "model.layers.4.mlp" in alert.evidence["modules"]


def test_a_state_that_ends_resolves() -> None:
    facts: Facts = [reading(10, odd=whole("stalled", 0)), reading(20)]
    assert life(lora_dead.RULE, facts) == ["stalled open at 0", "stalled resolved at 0"]


def test_every_adapter_frozen_is_an_error_at_once() -> None:
    alert = opened(lora_dead.RULE, [run(), reading(1, odd=whole("frozen", *range(N)))])
    assert alert.level == "error"
    assert "12 adapted parts" in alert.message
    assert alert.action.startswith("Stop.")


def test_a_gradient_that_dies_later_is_seen_after_three_readings() -> None:
    dead = {(2, kind): {"grad": 0.0} for kind in KINDS}
    facts: Facts = [reading(10), *[reading(step, odd=dead) for step in (20, 30)]]
    assert life(lora_dead.RULE, facts) == []
    alert = opened(lora_dead.RULE, [*facts, reading(40, odd=dead)])
    assert alert.scope == "no-gradient"
    assert alert.evidence["layers"] == [["layers", 2]]


@pytest.mark.parametrize("grad", [0.0, None])
def test_no_gradient_anywhere_is_no_news_of_single_layers(grad: float | None) -> None:
    none = {(i, kind): {"grad": grad} for i in range(N) for kind in KINDS}
    assert life(lora_dead.RULE, [reading(step, odd=none) for step in (10, 20, 30)]) == []


def test_many_modules_are_counted_and_not_listed() -> None:
    odd = {(i, "mlp"): {"state": "rounding"} for i in range(N)}
    alert = opened(lora_dead.RULE, [reading(10, odd=odd)])
    assert alert.message.endswith("mlp of layer 4, 1 more")


@pytest.mark.parametrize(
    ("moved", "states"),
    [
        (0.01, []),
        (0.018, []),  # the widest of sound runs
        (0.08, []),
        (0.2, ["outlier open at 0"]),
        (math.inf, ["open at 0"]),
        (math.nan, ["open at 0"]),
    ],
)
def test_a_module_far_out_of_line_is_an_outlier(moved: float, states: list[str]) -> None:
    odd = {(3, "mlp"): {"moved": moved}}
    assert life(lora_exploding.RULE, [reading(10, odd=odd)]) == states


def test_a_scale_turned_up_on_one_module_is_seen_at_the_next_reading() -> None:
    facts: Facts = [reading(10, 0.001), reading(20, 0.002)]
    odd = {(3, "qkv"): {"moved": 0.19}}
    alert = opened(lora_exploding.RULE, [*facts, reading(30, 0.003, odd)])
    assert alert.level == "warning"
    assert "qkv of layer 3 (" in alert.message
    assert alert.evidence["parts"] == [["layers", 3, "qkv"]]


def test_an_outlier_that_the_loss_suffers_from_is_an_error() -> None:
    odd = {(3, "qkv"): {"moved": 0.3}}
    facts: Facts = [*losses([1.0] * 9 + [3.0] * 9), reading(18, odd=odd)]
    assert opened(lora_exploding.RULE, facts).level == "error"


def test_a_blow_up_in_a_divergence_is_part_of_it() -> None:
    facts: Facts = [*losses([1.0] * 20 + [9.0] * 20), reading(40, odd=whole("blow-up", 0))]
    judge = Judge(rules=[divergence.RULE, lora_exploding.RULE])
    verdicts = [v for fact in facts for v in judge.feed(fact) if isinstance(v, Verdict)]
    assert [v.rule for v in verdicts if v.state == "open"] == ["divergence"]
    assert len(said(lora_exploding.RULE, facts)) == 1


@pytest.mark.parametrize(
    ("reads_at", "resumed", "told"),
    [
        (60, None, False),  # the divergence resolved a few steps ago
        (200, None, True),
        (60, 10, True),  # it was another attempt's
        (200, 10, True),
    ],
)
def test_a_divergence_that_is_over_hides_no_blow_up(
    reads_at: int, resumed: int | None, told: bool
) -> None:
    facts: Facts = [run(), *losses([1.0] * 20 + [9.0] * 20 + [1.0] * 160)]
    if resumed is None:
        facts = facts[: reads_at + 1]
    else:
        again = [sample(step, 1.0) for step in range(resumed + 1, reads_at + 1)]
        facts = [*facts[:61], run(step=resumed, time=at(300)), *again]
    facts += [reading(reads_at, odd=whole("blow-up", 0))]
    judge = Judge(rules=[divergence.RULE, lora_exploding.RULE])
    verdicts = [v for fact in facts for v in judge.feed(fact) if isinstance(v, Verdict)]
    found = [(v.rule, v.state) for v in verdicts if v.state in ("open", "resolved")]
    expected = [("divergence", "open"), ("divergence", "resolved")]
    assert found == expected + [("lora-exploding", "open")] * told


def test_growth_that_all_share_is_ordinary() -> None:
    facts: Facts = [reading(step, 0.0001 * 3**i) for i, step in enumerate((1, 10, 20, 30, 40))]
    assert life(lora_exploding.RULE, facts) == []


def test_parts_that_are_few_are_compared_by_growth() -> None:
    def few(step: int, *moved: float) -> Layers:
        rows = [
            Layer(
                stack="",
                layer=i,
                delta_norm=10 * far,
                parts={"qkv": part(far), "mlp": part(far / 2)},
            )
            for i, far in enumerate(moved)
        ]
        return Layers(step=step, time=at(step), layers=rows)

    facts: Facts = [few(10, 0.01, 0.01), few(20, 0.02, 0.02)]
    assert life(lora_exploding.RULE, facts) == []
    assert life(lora_exploding.RULE, [*facts, few(30, 0.03, 0.03), few(40, 0.04, 0.04)]) == []


def test_a_blow_up_is_an_error_that_says_what_to_go_back_to() -> None:
    odd: dict[tuple[int, str], dict[str, Any]] = {
        (i, kind): {"state": "blow-up"} for i in range(2) for kind in KINDS
    }
    alert = opened(lora_exploding.RULE, [checkpoint(20), reading(30, odd=odd)])
    assert alert.level == "error"
    assert alert.message.startswith("4 adapters blew up by step 30: model.layers.0.qkv")
    assert "Resume from checkpoint-20" in alert.action
    assert "Start again" in opened(lora_exploding.RULE, [reading(30, odd=odd)]).action


def test_weights_without_adapters_are_not_compared() -> None:
    odd = {(3, "mlp"): {"moved": 5.0, "rank": None, "rank_of": None}}
    assert said(lora_exploding.RULE, [reading(10, odd=odd)]) == []


def test_without_readings_they_say_why() -> None:
    nothing = Layers(step=1, time=at(1), layers=[], note="no adapters: all is trained")
    for rule in (lora_dead.RULE, lora_exploding.RULE):
        assert waiting(rule, [run()]) == "no adapters were read"
        assert waiting(rule, [nothing]) == nothing.note
