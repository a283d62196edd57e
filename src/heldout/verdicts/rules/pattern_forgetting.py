"""The model no longer answers one kind of question as well as it did.

Checks: for each pattern with `least` examples or more, exact match lies `drop` or more below its best,
and the paired changes against the earlier evaluations are evidence of a fall: an e-value, averaged over
all of them so that picking the best is paid for, judged over all patterns together by e-BH at `alpha`. Once
is noted as pending, twice in a row alerts. Where nearly all fall it is a regression and none is named. It
resolves when half of the drop is made up.

Why: a mean over all examples hides it when one skill is traded for another.

What to do: mix examples of that pattern back into the training set: rehearsing a few percent is
usually enough.

When it is wrong: a change of format alone in that pattern's answers lowers exact match without
forgetting. Patterns with few examples are not judged.

Source: Wang and Ramdas 2022 for e-BH; Scialom et al. 2022, Fine-tuned language models are continual learners,
for rehearsal of 1 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from heldout.derive.history import History
from heldout.records import EvalResult
from heldout.stats.evalues import e_bh, fall_evidence
from heldout.stats.groups import independent_share, number_groups
from heldout.stats.paired import paired
from heldout.verdicts.rule import Finding, NotChecked, Rule, Stage

REHEARSED = 0.05
"""Share of the training rows to rehearse; Scialom et al. 2022 needed 1 %."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    least: int = 30
    """Examples of a pattern: fewer show no fall of less than 20 points."""
    drop: float = 0.05
    """Exact match below its best that matters."""
    alpha: float = 0.05
    """Share of the patterns named that may be false, on average."""
    most: float = 0.67
    """Share of the patterns: where more of them fall, the model as a whole is worse."""
    doubt: float = 3.0
    """Evidence below which an open alert resolves: about what one run in ten shows by chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fall:
    """One pattern at the last evaluation against all before."""

    pattern: str
    n: int
    now: float
    best: float
    best_step: int
    learned: int
    forgotten: int
    evidence: float

    @property
    def drop(self) -> float:
        """Exact match lost since the best."""
        return self.best - self.now


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find the patterns that fell."""
    if len(history.evals) < 2:
        return NotChecked("needs 2 evaluations")
    now, before = (_known(history, limits, back) for back in (0, 1))
    if not now:
        return NotChecked(f"no pattern has {limits.least} held-out examples")
    fell, fell_before = _fell(now, limits), _fell(before, limits)
    if len(fell) > limits.most * len(now):
        return []
    found = []
    for fall in now:
        if fall.pattern in fell:
            stage: Stage = "open" if fall.pattern in fell_before else "pending"
            found.append(_finding(history, fall, stage))
        elif fall.evidence >= limits.doubt and fall.drop >= limits.drop / 2:
            found.append(_finding(history, fall, "holding"))
    return found


def _known(history: History, limits: Limits, back: int) -> list[Fall]:
    """The falls at the evaluation `back` before the last, of the patterns with enough examples."""
    falls = history.remember(f"falls by pattern {back}", lambda: _falls(history, back))
    return [fall for fall in falls if fall.n >= limits.least]


def _fell(falls: list[Fall], limits: Limits) -> set[str]:
    """The patterns to be believed to have fallen, by enough to matter."""
    believed = [falls[i] for i in e_bh([fall.evidence for fall in falls], limits.alpha)]
    return {fall.pattern for fall in believed if fall.drop >= limits.drop}


def _finding(history: History, fall: Fall, stage: Stage) -> Finding:
    text = (
        f"'{fall.pattern}' is being forgotten: EM {fall.now:.1%}, was {fall.best:.1%} at step "
        f"{fall.best_step} ({fall.forgotten} forgotten, {fall.learned} learned of {fall.n})"
    )
    rows = history.data.rows if history.data else 0
    replay = f"about {round(REHEARSED * rows):,}" if rows else "more"
    keys = ("n", "now", "best", "best_step", "learned", "forgotten", "evidence")
    return Finding(
        level="warning",
        message=text,
        action=f"Replay {replay} '{fall.pattern}' examples in the training set.",
        evidence={"pattern": fall.pattern, **{key: getattr(fall, key) for key in keys}},
        scope=fall.pattern,
        stage=stage,
    )


def _falls(history: History, back: int) -> list[Fall]:
    """Every pattern's fall at the evaluation `back` before the last, by name."""
    evals = history.evals[: len(history.evals) - back]
    steps = [result.step for result in evals if not result.non_finite]
    rows = {step: {i.id: i.correct for i in history.items.get(step, [])} for step in steps}
    if len(rows) < 2 or steps[-1] != evals[-1].step:
        return []
    shared = set.intersection(*map(set, rows.values()))
    last = [item for item in history.items.get(steps[-1], []) if item.id in shared]
    names = sorted({item.pattern for item in last})
    return [
        _fall(name, [(i.id, i.group) for i in last if i.pattern == name], steps, rows)
        for name in names
    ]


def _fall(
    name: str, items: list[tuple[str, str]], steps: list[int], rows: Mapping[int, dict[str, bool]]
) -> Fall:
    correct_KN = np.array([[rows[step][key] for key, _ in items] for step in steps], dtype=bool)
    groups_N = number_groups([group for _, group in items])
    pairs = [paired(then_N, correct_KN[-1], groups_N) for then_N in correct_KN[:-1]]
    worth = [independent_share(pair.change_N, groups_N) for pair in pairs]
    evidence = [
        fall_evidence(share * pair.learned, share * pair.forgotten)
        for share, pair in zip(worth, pairs, strict=True)
    ]
    score_K = correct_KN.mean(axis=1)
    best = int(score_K[:-1].argmax())
    return Fall(
        pattern=name,
        n=len(items),
        now=float(score_K[-1]),
        best=float(score_K[best]),
        best_step=steps[best],
        learned=pairs[best].learned,
        forgotten=pairs[best].forgotten,
        evidence=float(np.mean(evidence)),
    )


RULE = Rule(
    name="pattern-forgetting",
    check=check,
    limits=Limits(),
    on=(EvalResult,),
    silenced_by=("loss-not-finite", "divergence", "lora-exploding"),
)
