"""Training has become slower than it was.

Checks: the median time of the last 25 steps is more than `slower` times that of the steps before (up to 500
that were not slow), tokens per second have fallen as much, and a conformal test of exchangeability says that
the step times are no longer what they were, at `alpha`. Evaluation and saving are left out. It resolves below
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
TOKENS = "throughput/tokens_per_second"
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
    tokens = _slowdown_of_tokens(history)
    if tokens is not None and tokens <= limits.quiet:
        return []
    sure = pace.evidence >= -math.log(limits.alpha)
    opens = sure and not ratio <= limits.slower and not (tokens or math.inf) <= limits.slower
    phase, share = _slow_phase(history, pace.now - pace.usual)
    text = (
        f"Steps take {ratio:.2f} times as long: {pace.now:.3g} s, were {pace.usual:.3g} s; "
        f"{share:.0%} of it is {phase}"
    )
    evidence = {
        "seconds": pace.now,
        "usual_seconds": pace.usual,
        "ratio": ratio,
        "tokens_ratio": tokens,
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


def _slowdown_of_tokens(history: History) -> float | None:
    """Tokens a second over what they are now; None where tokens are not counted."""
    rates = history.columns.get(TOKENS).tail(EARLIER)
    then, now = median(filter(math.isfinite, rates[:-WINDOW])), rates[-1] if rates else math.nan
    return then / now if now > 0 and then > 0 else None


def _slow_phase(history: History, longer: float) -> tuple[str, float]:
    """The phase that grew most, in words, and its share of what steps take longer."""
    grown = {}
    for name, words in PHASES.items():
        seconds = [s for s in history.columns.get(f"time/{name}").tail(EARLIER) if math.isfinite(s)]
        if len(seconds) > WINDOW:
            grown[words] = median(seconds[-WINDOW:]) - median(seconds[:-WINDOW])
    if not grown:
        return "the step", 1.0
    worst = max(grown, key=grown.__getitem__)
    return worst, min(1.0, max(0.0, grown[worst] / longer))


RULE = Rule(name="throughput-drop", check=check, limits=Limits(), on=(Sample,))
