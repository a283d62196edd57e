"""Adapters that have moved too far: not finite, larger than the weights they adapt, or far out of line.

Checks: the blow-up state of any module at the last reading (factors not finite; or, where no divergence is
open or was within the last 50 steps, the typical module has moved further than its own weight's size while
the loss rose by 20 %); and parts whose movement is more than `outlier` times the median of the same kind in
other layers, or has grown `jump` times more than the median part's over the last `readings` readings, an
error where the training loss has left its best level as well. It resolves at half of these.

Why: one module scaled wrongly drowns what its layer computes; all of them is a learning rate far too high.

What to do: for a blow-up stop, go back and divide the learning rate by 10; for single modules look at their
alpha, rank and learning rate.

When it is wrong: learning rates or alphas set per module on purpose. Layers that carry a task alone move
more, but in eight small sound runs no layer moved more than 1.8 times another of its kind.

Source: heldout.signals.health for the states; Shuttleworth et al. 2024, LoRA vs full
fine-tuning.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from heldout.derive.history import History
from heldout.derive.recommended import resume_from
from heldout.derive.schedule import checkpoint_before
from heldout.records import Layer, Layers, Part
from heldout.stats.robust import NEAR, LossTrail, median
from heldout.verdicts.rule import Ends, Finding, NotChecked, Rule
from heldout.verdicts.told import told_lately

PEERS = 4
"""Parts whose median a part is compared with, at least."""
LATELY = 50
"""Steps after a divergence has resolved in which a blow-up is still part of it."""

Place = tuple[str, int, str]


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    outlier: float = 10.0
    """Movement over the median of the kind: sound runs stay below 1.8."""
    jump: float = 8.0
    """Growth of the norm over the median part's growth."""
    readings: int = 5
    """Readings over which growth is taken."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find adapters that moved too far."""
    if not history.layers or not history.layers[-1].layers:
        reason = history.layers[-1].note if history.layers else ""
        return NotChecked(reason or "no adapters were read")
    last = history.layers[-1]
    blown = [name for name, state in last.troubles.items() if state == "blow-up"]
    finite = all(math.isfinite(layer.delta_norm) for layer in last.layers)
    if not finite or (blown and not told_lately(history, "divergence", LATELY)):
        return [_blow_up(history, last, blown)]
    out = _outliers(last.layers)
    grown = _grown(history.layers[-limits.readings :])
    far = {
        place: (out.get(place, 1.0), grown.get(place, 1.0))
        for place in {**out, **grown}
        if out.get(place, 1.0) > limits.outlier / 2 or grown.get(place, 1.0) > limits.jump / 2
    }
    if not far:
        return []
    opens = any(o > limits.outlier or g > limits.jump for o, g in far.values())
    named = ", ".join(f"{kind} of layer {n}" for _, n, kind in far)
    worst = max(max(pair) for pair in far.values())
    evidence = {
        "step": last.step,
        "parts": [list(place) for place in far],
        "times_of_peers": [o for o, _ in far.values()],
        "times_of_growth": [g for _, g in far.values()],
    }
    return [
        Finding(
            level="error" if _loss_suffers(history) else "warning",
            message=f"Adapters far out of line with their peers: {named} ({worst:.0f} times)",
            action="Look at alpha, rank and learning rate of these modules.",
            evidence=evidence,
            scope="outlier",
            stage="open" if opens else "holding",
        )
    ]


def _loss_suffers(history: History) -> bool:
    """Whether the training loss has left its best level."""
    trail = history.fold(history.loss, LossTrail)
    return trail.n > 0 and not trail.level <= NEAR * trail.best


def _blow_up(history: History, last: Layers, blown: Sequence[str]) -> Finding:
    back = checkpoint_before(history, last.step - 1)
    earlier = f"{back} or an earlier checkpoint" if back else None
    shown = ", ".join(blown[:3]) + (", ..." if len(blown) > 3 else "")
    text = (
        f"{len(blown)} adapters blew up by step {last.step}: {shown}"
        if blown
        else (f"Adapters are not finite at step {last.step}")
    )
    return Finding(
        level="error",
        message=text,
        action=f"Stop. {resume_from(history, earlier)} with the learning rate divided by 10.",
        evidence={"step": last.step, "modules": list(blown[:100]), "num_modules": len(blown)},
    )


def _parts(layers: Sequence[Layer]) -> Iterator[tuple[Place, Part]]:
    for layer in layers:
        for kind, part in layer.parts.items():
            if part.rank_of is not None and part.state == "ok":
                yield (layer.stack, layer.layer, kind), part


def _outliers(layers: Sequence[Layer]) -> dict[Place, float]:
    """Each part's movement over the median of its kind in its stack."""
    moved = {place: part.relative for place, part in _parts(layers) if part.relative is not None}
    kinds: dict[tuple[str, str], list[float]] = {}
    for (stack, _, kind), far in moved.items():
        kinds.setdefault((stack, kind), []).append(far)
    middles = {kind: median(found) for kind, found in kinds.items() if len(found) >= PEERS}
    return {
        place: far / middle
        for place, far in moved.items()
        if (middle := middles.get((place[0], place[2]), 0.0)) > 0
    }


def _grown(readings: Sequence[Layers]) -> dict[Place, float]:
    """How much more each part's norm has grown than the median part's."""
    first = {place: part.norm for place, part in _parts(readings[0].layers)}
    grown = {
        place: part.norm / first[place]
        for place, part in _parts(readings[-1].layers)
        if first.get(place, 0.0) > 0
    }
    middle = median(grown.values())
    return (
        {k: growth / middle for k, growth in grown.items()}
        if middle > 0 and len(grown) >= PEERS
        else {}
    )


RULE = Rule(
    name="lora-exploding",
    check=check,
    limits=Limits(),
    on=(Layers,),
    silenced_by=("loss-not-finite",),
    ends=Ends("roll-back"),
)
