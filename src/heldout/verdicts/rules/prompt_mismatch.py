"""What is scored is not what is trained, or not what is served.

Checks: whether training rows train an answer behind what the held-out prompts end with (the chat template's
generation prompt, such as `<|im_start|>assistant`). And whether the held-out prompts that training writes are
those that a server writes, by the same template.

Why: a model is asked in the form that it is scored in. Where training writes another form (an own template
such as Alpaca's, other arguments of the template), exact match says little about what was learned. Where
serving does, the model is asked with a prompt that it has never seen.

What to do: train and score with one template: give messages to the Trainer, and the same
`chat_template_kwargs` to both sets. Where the template itself trains behind another prompt than it serves
(DeepSeek-R1's opens a thinking block that training does not write), `eval.prompt` says which of the two is
scored, trained or served; give the answers their thoughts, or serve with the prompt that is trained.

When it is wrong: continued pretraining on plain text is scored in another form on purpose.

Source: the tokens of the training rows; the two prompts that the chat template writes.
"""

from __future__ import annotations

from dataclasses import dataclass

from heldout.derive.history import History
from heldout.records import Data, EvalSet, Run
from heldout.verdicts.data_rows import counted, of, share
from heldout.verdicts.rule import Finding, NotChecked, Rule


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds of this rule."""

    most: float = 0.5
    """Share of rows or examples from which the sets differ and not single rows."""


def check(history: History, limits: Limits) -> list[Finding] | NotChecked:
    """Find sets that are trained in another form than they are scored or served in."""
    held_out, data = history.run.eval_set if history.run else None, history.data
    if held_out is None:
        return NotChecked("there is no held-out set")
    return [*_served(held_out, limits), *(_trained(data, limits) if data else [])]


def _served(held_out: EvalSet, limits: Limits) -> list[Finding]:
    part = share(held_out.unlike, held_out.n)
    if not held_out.unlike:
        return []
    served = held_out.prompt == "served"
    text = (
        f"In {held_out.unlike} of {held_out.n} held-out examples {held_out.difference}. "
        f"Scored is the prompt that is {held_out.prompt} (eval.prompt)"
    )
    action = (
        "To see what the model has learned of its rows: eval.prompt: trained."
        if served
        else "Serve with the prompt that is trained, or score the other one: eval.prompt: served."
    )
    return [
        Finding(
            level="warning" if part > limits.most and not served else "info",
            message=text,
            action=action,
            evidence={"examples": held_out.unlike, "share": part, "scored": held_out.prompt},
            scope="served",
        )
    ]


def _trained(data: Data, limits: Limits) -> list[Finding]:
    rows, texts = of(data, "opened_otherwise"), of(data, "plain_text")
    both = of(data, "opened_otherwise", "plain_text")
    part = share(both.n, data.looked_at)
    if not part > limits.most:
        return []
    text = (
        f"Answers are scored behind {data.opening!r:.80}, and {counted(data, both, data.looked_at)} "
        "train none behind it: exact match and CE are of another form than what is trained"
    )
    return [
        Finding(
            level="error" if rows.n > texts.n else "warning",
            message=text,
            action="Train and score with one chat template and the same arguments of it: give messages "
            "to the Trainer, and the same chat_template_kwargs to both sets.",
            evidence={"rows": both.n, "share": part, "ids": both.rows},
            scope="trained",
        )
    ]


RULE = Rule(name="prompt-mismatch", check=check, limits=Limits(), on=(Data, Run))
