"""Lines of the training set or of the held-out set are left out.

Checks: lines that could not be read as an example: no JSON, no answer, an answer of nothing but its end, a
conversation part that is no text, a conversation that the chat template refuses (a system message with
Gemma's), a copy of another held-out example, a prompt that is too long to score.

Why: what is left out is neither trained nor measured, and the scores are of a smaller set than you think.

What to do: mend the lines named, or remove them.

When it is wrong: lines left out on purpose, such as examples longer than the model takes.

Source: what reading the files said.
"""

from __future__ import annotations

from dataclasses import dataclass

from heldout.derive.history import History
from heldout.records import Data, Level
from heldout.verdicts.data_rows import NONE, counted, share
from heldout.verdicts.rule import Finding, NotChecked, Rule


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    some: float = 0.01
    """Share of a file's lines from which they are worth a warning; fewer are told as information."""


SHOWN = 3
"""Sentences in a message; the record of the set holds all."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find lines of either file that are left out."""
    data, held_out = history.data, history.run.eval_set if history.run else None
    if data is None and held_out is None:
        return NotChecked("no data file was read")
    found = []
    rows = data.found.get("unusable", NONE) if data else NONE
    if data and rows.n:
        lines = data.rows + rows.n
        part = share(rows.n, lines)
        found.append(
            Finding(
                level="error" if not data.rows else "warning" if part > limits.some else "info",
                message=f"Left out of training: {counted(data, rows, lines)}",
                action="Mend or remove these lines: heldout check tells what is wrong with each.",
                evidence={"rows": rows.n, "share": part, "ids": rows.rows},
                scope="train",
            )
        )
    if held_out and held_out.skipped:
        lines = held_out.n + len(held_out.skipped)
        part = share(len(held_out.skipped), lines)
        first = "; ".join(held_out.skipped[:SHOWN])
        text = f"{len(held_out.skipped)} of {lines} held-out examples cannot be used: {first}"
        level: Level = "warning" if part > limits.some else "info"
        found.append(
            Finding(
                level="error" if not held_out.n else level,
                message=text,
                action="Mend or remove these lines of the held-out set.",
                evidence={"examples": len(held_out.skipped), "share": part},
                scope="held-out",
            )
        )
    return found


RULE = Rule(name="data-unusable", check=check, limits=Limits(), on=(Data,))
