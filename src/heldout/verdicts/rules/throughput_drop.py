"""Training has become slower than it was.

Checks: the median time of the last 25 steps is more than `slower` times that of the steps before (up to 500
that were not slow), longer sequences allowed for, and a conformal test of exchangeability says that the step
times are no longer what they were, at `alpha`. Evaluation and saving are left out. It resolves below
`quiet`.

Why: a slow disk, a hot device, a neighbour on the same machine or a leak costs days before anybody
looks.

What to do: look at the phase that the message names: data (workers, disk, network), forward and
backward (clock, temperature, neighbours), saving or the rest.

When it is wrong: longer sequences make steps longer; where tokens are counted they are allowed for.

Source: Vovk, Gammerman and Shafer 2005, Algorithmic learning in a random world, chapter 7.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from heldout.derive.history import History
from heldout.records import Sample
from heldout.stats.pace import ENOUGH, FIRST, WINDOW, Pace
from heldout.stats.robust import median
from heldout.verdicts.rule import Finding, NotChecked, Rule

PHASES = {
    "data": "waiting for data",
    "forward_backward": "forward and backward",
    "optimizer": "the optimizer",
    "other": "the rest of the step",
}
TOKENS = "throughput/tokens_per_step"
EARLIER = 200
"""Steps before the window that phases and tokens are compared with."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    slower: float = 1.2
    """The time of a step over what it was: 17 % fewer tokens a second."""
    quiet: float = 1.1
    """The alert resolves below this."""
    alpha: float = 1e-3
    """Chance of such step times if nothing had changed, at any one step."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find slow steps."""
    pace = history.fold("time/step", Pace)
    ratio = pace.ratio
    if ratio <= limits.quiet:
        return []
    if math.isnan(ratio):
        return NotChecked(f"needs {FIRST + WINDOW + ENOUGH} timed steps")
    longer = _longer(history, pace)
    slower = ratio / longer
    if slower <= limits.quiet:
        return []
    opens = not slower <= limits.slower and pace.evidence >= -math.log(limits.alpha)
    phase, share = _slow_phase(history, pace)
    text = (
        f"Steps take {ratio:.2f} times as long: {pace.now:.3g} s, were {pace.usual:.3g} s; "
        f"{share:.0%} of it is {phase}"
    )
    evidence = {
        "seconds": pace.now,
        "usual_seconds": pace.usual,
        "ratio": ratio,
        "tokens_ratio": longer,
        "phase": phase,
        "log_evidence": pace.evidence,
    }
    return [
        Finding(
            level="warning",
            message=text,
            action=f"Look at what slows {phase}.",
            evidence=evidence,
            stage="open" if opens else "holding",
        )
    ]


def _longer(history: History, pace: Pace) -> float:
    """How many more tokens a step has than before it became slow; 1.0 where they are not counted."""
    then, now = _before_and_now(history, TOKENS, pace)
    return max(1.0, now / then) if then > 0 and now > 0 else 1.0


def _slow_phase(history: History, pace: Pace) -> tuple[str, float]:
    """The phase that grew most, in words, and its share of what steps take longer."""
    grown = {}
    for name, words in PHASES.items():
        then, now = _before_and_now(history, f"time/{name}", pace)
        if now > then:
            grown[words] = now - then
    if not grown:
        return "the step", 1.0
    worst = max(grown, key=grown.__getitem__)
    return worst, min(1.0, grown[worst] / (pace.now - pace.usual))


def _before_and_now(history: History, name: str, pace: Pace) -> tuple[float, float]:
    """Medians of a series over the steps before the slow ones and over the window; NaN where unknown."""
    series = history.columns.get(name)

    def before() -> float:
        late = len(series.since(pace.since - WINDOW // 2))
        return _median(series.tail(late + EARLIER)[: -late or None])

    # those steps stay what they were: found once, for it costs all that came after them
    then = history.remember(f"{name} before the slow steps", before, pace.since)
    return then, _median(series.tail(WINDOW))


def _median(values: list[float]) -> float:
    return median(filter(math.isfinite, values))


RULE = Rule(name="throughput-drop", check=check, limits=Limits(), on=(Sample,))
