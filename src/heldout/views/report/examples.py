"""The examples in the report file: a table that needs no script, the rows those of the Examples page.

They hold what the fixed set says, which not every run's owner may pass on, so they are put in only
when asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

from heldout.derive.history import History
from heldout.views.web.examples import Query, page
from heldout.views.web.set_file import SetFile

MOST_BYTES = 1_500_000
"""Most that the rows may take in the file; of more, those that come first stand there."""
SIGNS = {"1": ("▮", "right"), "0": ("▯", "wrong"), "-": ("·", "not scored")}
MOST_SIGNS = 14
"""Evaluations drawn; earlier ones are told in words."""
STYLE = """
.held-examples { max-width: 1480px; margin: 0 auto; padding: 0 20px 64px; overflow-x: auto; }
.held-examples summary { cursor: pointer; padding: 12px 4px; font-weight: 600; }
.held-examples p { color: var(--muted); padding: 0 4px 12px; }
.held-examples table {
  width: 100%; min-width: 52rem; table-layout: fixed; border-collapse: collapse;
  background: var(--surface);
}
.held-examples th:first-child { width: 11rem; }
.held-examples th:nth-child(4) { width: 6rem; }
.held-examples th:last-child { width: 9rem; }
.held-examples th, .held-examples td {
  text-align: left; vertical-align: top; padding: 8px 10px; border-bottom: 1px solid var(--line);
}
.held-examples td { white-space: pre-line; }
.held-examples .went { letter-spacing: 1px; }
.held-examples .said { margin-top: 6px; }
.held-examples .who { color: var(--muted); padding-right: 6px; }
.held-examples mark { background: var(--bad-tint); color: var(--bad); }
.held-examples .accepted mark { background: var(--good-tint); color: var(--good); }
"""
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\ud800-\udfff]"
)
_HEAD = (
    "<thead><tr><th>Example</th><th>Prompt</th><th>Golden answer, and what the model says</th>"
    "<th>CE, nats</th><th>Evaluations</th></tr></thead>"
)


def examples_section(history: History, beside: Path | None) -> str:
    """Return the section, the wrong answers first and of those the highest cross-entropy; "" without any.

    `beside` is the run's folder, from where the fixed set's file is looked for; without it the section
    says that the texts were left out.
    """
    if not history.last_items:
        return ""
    if beside is None:
        return (
            '<section class="held-examples"><p>The texts of the examples are left out of this file: '
            "heldout report --examples puts them in, heldout ui shows them.</p></section>"
        )
    found = page(history, Query(limit=len(history.last_items)), SetFile(), beside)
    rows = sorted(found["rows"], key=_order)
    held, size = [], 0
    for row in rows:
        told = _row(row, found["evals"])
        size += len(told.encode())
        if size > MOST_BYTES:
            break
        held.append(told)
    count = f"{len(rows):,}" if len(held) == len(rows) else f"{len(held):,} of {len(rows):,}"
    notes = ["The wrong answers come first, and of those the highest cross-entropy."]
    if len(held) < len(rows):
        notes.append("The others would make the file too large; heldout ui shows them.")
    if found["missing"]:
        notes.append(_text(found["missing"][:1].upper() + found["missing"][1:] + "."))
    return (
        f'<section class="held-examples"><details><summary>Examples of step {found["evals"][-1]:,} '
        f"({count})</summary><p>{' '.join(notes)}</p>"
        f"<table>{_HEAD}<tbody>{''.join(held)}</tbody></table></details></section>"
    )


def _order(row: Mapping[str, Any]) -> tuple[bool, float, int]:
    ce = row["ce"]
    return row["correct"], -ce if ce == ce else float("-inf"), row["line"]


def _row(row: Mapping[str, Any], evals: Sequence[int]) -> str:
    right = "right" if row["correct"] else "wrong"
    kinds = ", ".join(kind for kind in row["kinds"] if kind not in ("right", "wrong"))
    name = f"line {row['line']:,}, {right}\n{_text(row['pattern'])}, {row['tokens']:,} tokens"
    cells = (
        f"<td>{name}{f'{chr(10)}{_text(kinds)}' if kinds else ''}</td>",
        f"<td>{_known(row['prompt'])}</td>",
        f'<td><span class="who">golden</span>{_known(row["golden"])}{_said(row)}</td>',
        f"<td>{row['ce']:.4g}</td>",
        f'<td class="went">{_went(row["went"], evals)}</td>',
    )
    return f"<tr>{''.join(cells)}</tr>"


def _said(row: Mapping[str, Any]) -> str:
    said, kind = row["said"], "said accepted" if row["correct"] else "said"
    if said is None:
        told = "the golden answer, token by token" if row["token_correct"] else "not decoded"
    elif not said["other"] and row["correct"]:
        told = _text(said["same"])
    else:
        leaves = _text(said["other"]) if said["other"] else "⟂"
        told = f'{_text(said["same"])}<mark title="differs from here on">{leaves}</mark>'
    return f'<div class="{kind}"><span class="who">model</span>{told}</div>'


def _went(went: str, evals: Sequence[int]) -> str:
    """A sign an evaluation, and the same in words."""
    words = []
    for sign, group in groupby(zip(went, evals, strict=True), key=lambda pair: pair[0]):
        steps = [step for _, step in group]
        span = f"step {steps[0]:,}" if len(steps) == 1 else f"steps {steps[0]:,} to {steps[-1]:,}"
        words.append(f"{SIGNS[sign][1]} at {span}")
    drawn = "".join(SIGNS[sign][0] for sign in went[-MOST_SIGNS:])
    told = ", ".join(words)
    return f'<span role="img" aria-label="{told}" title="{told}">{drawn}</span>'


def _known(text: str | None) -> str:
    return "not known" if text is None else _text(text)


def _text(text: str) -> str:
    """Text as what it is: no markup, nothing unseen, its direction its own."""
    shown = _UNSEEN.sub(lambda sign: f"⟨U+{ord(sign[0]):04X}⟩", text.replace("\r\n", "\n"))
    return f'<bdi dir="auto">{escape(shown)}</bdi>'
