"""The training set holds examples of the held-out set.

Checks: training rows that hold the prompt and an accepted answer of a held-out example, and those that hold
the prompt with another answer, as a share of the held-out examples. Letter case and whitespace are ignored.

Why: their score shows memory and not skill, and every decision here rests on that score.

What to do: remove the training rows named, or the held-out ones.

When it is wrong: prompts that everybody uses ("Continue.") with other answers; near-copies that are worded
otherwise are not found, and in prepared data neither is a row with another system message.

Source: the share is that of this project's benchmark of faults.
"""

from __future__ import annotations

from dataclasses import dataclass

from heldout.derive.history import History
from heldout.records import Data
from heldout.verdicts.data_rows import looked_for, places, share
from heldout.verdicts.rule import Finding, NotChecked, Rule


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    some: float = 0.005
    """Share of the held-out examples that the training set may hold: one in 200."""


ANSWERED = "with their golden answer"
ASKED = "by their prompt, with another answer"


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find held-out examples in the training set."""
    data = looked_for(history, "leaked", "leaked_prompt")
    if isinstance(data, NotChecked):
        return data
    known = set(data.found["leaked"].partners)
    asked = set(data.found["leaked_prompt"].partners) - known
    found = []
    for kind, lines, how in (("leaked", known, ANSWERED), ("leaked_prompt", asked, ASKED)):
        part = share(len(lines), data.held_out)
        if not part > limits.some:
            continue
        rows = data.found[kind]
        text = f"{len(lines):,} of {data.held_out:,} held-out examples ({part:.1%}) are in the training set"
        found.append(
            Finding(
                level="error" if kind == "leaked" else "warning",
                message=f"{text} {how} ({places(data, rows)})",
                action="Remove these training rows: the score on them shows memory.",
                evidence={
                    "held_out": len(lines),
                    "share": part,
                    "ids": rows.rows,
                    "held_out_lines": rows.partners,
                },
                scope="answer" if kind == "leaked" else "prompt",
            )
        )
    return found


RULE = Rule(name="data-leakage", check=check, limits=Limits(), on=(Data,))
