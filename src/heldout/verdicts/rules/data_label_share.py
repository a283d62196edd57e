"""Hardly any token is trained: the loss is computed on next to nothing.

Checks: the share of tokens that carry a label, over the rows looked at.

Why: with very long prompts and very short answers nearly all compute goes into reading prompts, the loss
is noisy, and a mask that is wrong by a token or two costs most of the signal.

What to do: see in `heldout check` which tokens are trained. Shorten the prompts, pack several questions on
one text into one row, or train on more of the answer.

When it is wrong: classification by one token over long texts is like that by nature.

Source: the share is a convention; at 2 % a row of 1,000 tokens trains 20.
"""

from __future__ import annotations

from dataclasses import dataclass

from heldout.derive.history import History
from heldout.records import Data
from heldout.verdicts.data_rows import looked_for, share
from heldout.verdicts.rule import Finding, NotChecked, Rule


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    least: float = 0.02
    """Share of tokens with a label below which it is worth a word."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find a training set of which almost nothing is trained."""
    data = looked_for(history, "masked")
    if isinstance(data, NotChecked):
        return data
    part = share(data.label_tokens, data.tokens)
    if not data.label_tokens or part >= limits.least:
        return []  # no label at all is the matter of data-masked
    text = f"only {part:.2%} of the tokens are trained ({data.label_tokens:,} of {data.tokens:,})"
    action = (
        "See which ones with `heldout check`; shorten the prompts or unmask more of the answers."
    )
    evidence = {"label_tokens": data.label_tokens, "tokens": data.tokens, "share": part}
    return [Finding(level="warning", message=text.capitalize(), action=action, evidence=evidence)]


RULE = Rule(name="data-label-share", check=check, limits=Limits(), on=(Data,))
