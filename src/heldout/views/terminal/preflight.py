"""The check before training in a terminal: headline, facts, findings, and what is trained of three rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from heldout.derive.preflight import Preflight, Shown, Used
from heldout.records import Data, Verdict
from heldout.views.terminal.plain import plain, printable
from heldout.views.terminal.progress import STYLES, about

MOST_TEXT = 900
"""Characters of a row that are shown; more is left out of the middle of its untrained pieces."""
SHOWN = 8
"""Rows named below a finding."""
OPEN, CLOSE = "[[", "]]"
"""Around trained text where there is no colour."""
TRAINED = "green"


def preflight_view(found: Preflight, console: Console) -> RenderableType:
    """Return everything that was found, for a terminal or as text without colour."""
    coloured = console.is_terminal and not console.no_color
    parts: list[RenderableType] = [_headline(found), "", _facts(found)]
    for finding in found.findings:
        parts += ["", *_finding(finding, found.left_out)]
    if found.not_checked:
        parts += ["", *_not_checked(found)]
    if found.examples:
        parts += ["", _legend(coloured)]
        for shown in found.examples:
            parts += ["", *_example(shown, coloured)]
    return Group(*parts)


def _headline(found: Preflight) -> Text:
    levels = Counter(each.level for each in found.findings)
    errors, warnings = levels["error"] + levels["critical"], levels["warning"]
    counts = [_number(errors, "error")] if errors else []
    counts += [_number(warnings, "warning")] if warnings else []
    style = "bold red" if errors else "bold yellow" if warnings else "bold green"
    said = ", ".join(counts) or "OK"
    rest = "" if found.data.looked_at or errors else " (without the tokens: no model was looked at)"
    return Text(f"{said}{rest}", style=style).append(
        f"  {printable(found.data.path)}", style="default"
    )


def _number(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n > 1)}"


def _facts(found: Preflight) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _rows(found):
        table.add_row(name, plain(value))
    return table


def _rows(found: Preflight) -> Iterator[tuple[str, str]]:
    data, estimate = found.data, found.estimate
    looked = "" if data.looked_at == data.rows else f", {data.looked_at:,} of them by their tokens"
    yield "training rows", f"{data.rows:,}{looked if data.looked_at else ''}"
    yield from _fields(found.fields)
    if data.looked_at:
        yield "tokens", f"{data.tokens:,}, mean {data.tokens / data.looked_at:,.0f} a row"
        part = data.label_tokens / max(1, data.tokens)
        yield "trained tokens", f"{data.label_tokens:,} ({part:.1%})"
        yield "longest row", _longest(data)
    if found.template is not None:
        yield "chat template", "the tokenizer's own" if found.template else "none: plain text"
    if found.ends:
        yield "end of an answer", " or ".join(found.ends)
    if found.held_out:
        tokens = f", {estimate.eval_tokens:,} tokens" if estimate.eval_tokens else ""
        yield "held-out examples", f"{found.held_out.n:,}{tokens}"
        yield from _fields(found.held_out_fields)
        yield "  also in training", _overlap(data)
    if data.found.get("duplicate"):
        yield "repeated rows", f"{data.found['duplicate'].n:,}"
    yield from _costs(found)


def _fields(fields: Sequence[Used]) -> Iterator[tuple[str, str]]:
    """The fields that rows are made of, and those that are not used."""
    used = [each for each in fields if each.used]
    unused = [each for each in fields if each.used < each.rows]
    yield "  made of", ", ".join(each.name for each in used) or "none"
    yield "  not used", ", ".join(f"{x.name} ({x.rows - x.used:,} rows)" for x in unused) or "none"


def _longest(data: Data) -> str:
    cut = f", cut at {data.max_length:,}" if data.max_length else ""
    takes = f", the model takes {data.context:,}" if data.context else ""
    return f"{data.longest:,}{cut}{takes}"


def _overlap(data: Data) -> str:
    known = set(data.found["leaked"].partners) if "leaked" in data.found else set()
    asked = (
        set(data.found["leaked_prompt"].partners) - known if "leaked_prompt" in data.found else []
    )
    return f"{len(known):,} with their answer, {len(asked):,} by their prompt alone"


def _costs(found: Preflight) -> Iterator[tuple[str, str]]:
    estimate = found.estimate
    if estimate.evaluations and estimate.eval_tokens:
        total = estimate.evaluations * estimate.eval_tokens
        text = f"{estimate.evaluations} x {estimate.eval_tokens:,} = {total:,} tokens"
        if estimate.eval_seconds is None:
            text += ", wrong answers are decoded besides (--time times it)"
        yield "evaluations", text
    if estimate.eval_seconds is not None:
        each = f"about {about(estimate.eval_seconds)} each"
        if estimate.evaluations:
            each += f", {about(estimate.evaluations * estimate.eval_seconds)} in all"
        yield "  time", f"{each}, from scoring {estimate.timed} examples with the untrained model"
    if estimate.free_bytes is not None:
        free = f"{_size(estimate.free_bytes)} free"
        size, need = estimate.checkpoint_bytes, estimate.disk_bytes
        if size is not None and need is not None:
            yield (
                "checkpoints",
                f"{estimate.checkpoints} x {_size(size)} = about {_size(need)}; {free}",
            )
        else:
            yield "disk", free


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"


def _finding(finding: Verdict, left_out: list[str]) -> Iterator[RenderableType]:
    head = Text(finding.level.upper(), style=STYLES[finding.level])
    yield head.append(f" {finding.rule}", style="bold default")
    yield Padding(Text(printable(finding.message)), (0, 0, 0, 2), expand=False)
    if (finding.rule, finding.scope) == ("data-unusable", "train"):
        for sentence in left_out[:SHOWN]:
            yield Padding(Text(printable(sentence), style="dim"), (0, 0, 0, 2), expand=False)
    pairs = _pairs(finding)
    if pairs:
        yield Padding(Text(pairs, style="dim"), (0, 0, 0, 2), expand=False)
    yield Padding(Text(f"-> {printable(finding.action)}", style="bold"), (0, 0, 0, 2), expand=False)


def _pairs(finding: Verdict) -> str:
    """Which row repeats which, or is held out on which line; "" for other findings."""
    held_out = finding.evidence.get("held_out_lines")
    partners = held_out or finding.evidence.get("same_as") or []
    pairs = dict(zip(finding.evidence.get("ids", []), partners, strict=False))
    if not pairs:
        return ""
    shown = ", ".join(f"{row} = {partner}" for row, partner in list(pairs.items())[:SHOWN])
    more = f" and {len(pairs) - SHOWN:,} more" if len(pairs) > SHOWN else ""
    return f"line = {'held-out' if held_out else 'earlier'} line: {shown}{more}"


def _not_checked(found: Preflight) -> Iterator[RenderableType]:
    by_reason: dict[str, list[str]] = {}
    for each in found.not_checked:
        by_reason.setdefault(each.message, []).append(each.rule)
    for reason, rules in by_reason.items():
        yield Text(f"not checked: {', '.join(rules)}", style="dim")
        yield Padding(Text(printable(reason), style="dim"), (0, 0, 0, 2), expand=False)


def _legend(coloured: bool) -> Text:
    text = Text("What is trained", style="bold").append(": ", style="not bold")
    if coloured:
        text.append("this is", style=f"{_style(True)} not bold").append(", ", style="not bold")
        text.append("this is only read", style="dim not bold")
    else:
        text.append(f"what stands between {OPEN} and {CLOSE}", style="not bold")
    return text.append("; ↵ ends a line", style="not bold")


def _example(shown: Shown, coloured: bool) -> Iterator[RenderableType]:
    counts = f"{shown.label_tokens:,} of {shown.tokens:,} tokens"
    yield Text(f"{printable(shown.place)}  {counts}", style="default")
    body = Text()
    room = MOST_TEXT // max(1, len(shown.spans))
    for span in shown.spans:
        said = printable(_shortened(span.text, room)).replace("\n", "↵\n")
        line_end = "\n" if said.endswith("\n") else ""
        said = said.removesuffix("\n")
        if coloured:
            body.append(said, style=_style(span.trained))
        else:
            body.append(f"{OPEN}{said}{CLOSE}" if span.trained else said)
        body.append(line_end)
    body.rstrip()
    yield Padding(body, (0, 0, 0, 2), expand=False)


def _style(trained: bool) -> str:
    return f"{TRAINED} not dim" if trained else "dim"


def _shortened(text: str, room: int) -> str:
    """The beginning and the end of a long text."""
    if len(text) <= room:
        return text
    half = room // 2
    return f"{text[:half]} ... {len(text) - 2 * half:,} characters ... {text[-half:]}"
