"""The rows are not in the model's chat template.

Checks: marks of chat templates (ChatML, Llama, Gemma, Mistral, ...) that stand in a row as plain text: of
another template, of one that does not fit the tokenizer, or of the same one twice. Then rows that train an
answer without any of the marks that the tokenizer has for turns, and conversations that are left out
because the tokenizer has no template.

Why: a mark that is no token is seven tokens of noise, and the model's own knowledge of turns is not used.
It learns the answers all the same, so the loss looks fine, and then fails when it is asked as usual.

What to do: give messages and let the tokenizer's template render them once; take rendered marks out of the
texts; name a model whose tokenizer has a template.

When it is wrong: texts about chat templates hold their marks; a model may be given a new format on purpose.

Source: the marks are those of the templates that the models publish.
"""

from __future__ import annotations

from dataclasses import dataclass

from heldout.derive.history import History
from heldout.records import Data
from heldout.verdicts.data_rows import counted, looked_for, of, share
from heldout.verdicts.rule import Finding, NotChecked, Rule


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    some: float = 0.01
    """Share of rows with strange marks from which it is more than a text about them."""
    most: float = 0.5
    """Share from which the set is in another template."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find rows that the model's own chat template did not make, or could not."""
    left_out = _left_out(history.data, limits) if history.data else []
    data = looked_for(history, "foreign_marks")
    if isinstance(data, NotChecked):
        return left_out or data
    return [*_strange(data, limits), *_unmarked(data, limits), *left_out]


def _strange(data: Data, limits: Limits) -> list[Finding]:
    rows = of(data, "foreign_marks")
    part = share(rows.n, data.looked_at)
    if not part > limits.some:
        return []
    text = f"{counted(data, rows, data.looked_at)}: {data.strange}"
    return [
        Finding(
            level="error" if part > limits.most else "warning",
            message=f"Another chat template in {text}",
            action="Give messages without marks and let the tokenizer's own template render them once.",
            evidence={"rows": rows.n, "share": part, "strange": data.strange, "ids": rows.rows},
            scope="marks",
        )
    ]


def _unmarked(data: Data, limits: Limits) -> list[Finding]:
    rows = of(data, "unmarked")
    part = share(rows.n, data.looked_at)
    if not part > limits.most:
        return []
    return [
        Finding(
            level="warning",
            message="The tokenizer's marks of turns are missing in "
            + counted(data, rows, data.looked_at),
            action="Give messages, so that training looks like what the model is asked later.",
            evidence={"rows": rows.n, "share": part, "ids": rows.rows},
            scope="unused",
        )
    ]


def _left_out(data: Data, limits: Limits) -> list[Finding]:
    rows = of(data, "no_template")
    part = share(rows.n, data.rows)
    if not rows.n:
        return []
    text = f"No chat template for {counted(data, rows, data.rows)}: conversations, left out"
    return [
        Finding(
            level="error" if part > limits.most else "warning",
            message=text,
            action="Name an instruct model in model.name, or give prompt/response pairs.",
            evidence={"rows": rows.n, "share": part, "ids": rows.rows},
            scope="none",
        )
    ]


RULE = Rule(name="data-chat-template", check=check, limits=Limits(), on=(Data,))
