"""What a notification says: the changes since the last one, made safe for any chat or mailbox."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from heldout.records import Level, encode
from heldout.views.notify.options import LEVELS

TITLE_LIMIT = 120
TEXT_LIMIT = 400
"""Characters of one field."""
BODY_LIMIT = 1500
"""Characters of what changed; with the rest it stays below a chat's limit (2,000 in Discord)."""
FULL = 5
"""Changes told in full in one message; the others are named."""
EVIDENCE = 6
_COLOUR = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_MENTION = re.compile(r"@(?=\w)|<(?=[!@#/\w])")
GAP = "\N{ZERO WIDTH SPACE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing to tell: an alert that changed, or the end of a run."""

    run: str
    level: Level
    head: str
    """What changed: "loss-spike opened at step 120 of 1,000"."""
    text: str
    action: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sent: plain text."""

    title: str
    body: str
    level: Level


def render(changes: Sequence[Change], untold: int = 0, link: str | None = None) -> Message:
    """One message of `changes`, and of how many more there were that could not be told."""
    runs = list(dict.fromkeys(change.run for change in changes))
    told = [_lines(change, named=len(runs) > 1) for change in changes[:FULL]]
    body = "\n\n".join(told)
    if len(body) > BODY_LIMIT:
        body = body[:BODY_LIMIT] + "..."
    rest = changes[FULL:]
    if rest:
        heads = "; ".join(clean(change.head, 60) for change in rest[:FULL])
        more = "; ..." if len(rest) > FULL else ""
        body += f"\n\n{len(rest)} more changes: {heads}{more}"
    if untold:
        body += f"\n\n{untold} earlier changes could not be sent."
    if link:
        body += "\n\n" + _page(link, runs[0] if len(runs) == 1 else "")
    levels: list[Level] = [change.level for change in changes]
    level = max(levels, key=LEVELS.index)
    return Message(title=_title(changes, runs, level), body=body, level=level)


def clean(text: object, limit: int = TEXT_LIMIT) -> str:
    """Text of a run as one line that can do nothing: no control, colour or direction codes, no mentions."""
    plain = _COLOUR.sub("", str(text))
    plain = "".join(" " if c.isspace() else c for c in plain)
    plain = "".join(c for c in plain if unicodedata.category(c)[0] != "C")
    plain = plain if len(plain) <= limit else plain[: limit - 3] + "..."
    return _MENTION.sub(lambda found: found.group() + GAP, plain)


def _title(changes: Sequence[Change], runs: Sequence[str], level: Level) -> str:
    where = clean(runs[0], 60) if len(runs) == 1 else f"{len(runs)} runs"
    what = clean(changes[0].head, 80) if len(changes) == 1 else f"{len(changes)} changes"
    return f"[{level}] {where}: {what}"[:TITLE_LIMIT]


def _lines(change: Change, named: bool) -> str:
    where = f"{clean(change.run, 60)}: " if named else ""
    lines = [f"{change.level.upper()} {where}{clean(change.head, 120)}", clean(change.text)]
    if change.action:
        lines.append(f"What to do: {clean(change.action)}")
    if change.evidence:
        lines.append(f"Evidence: {_evidence(change.evidence)}")
    return "\n".join(line for line in lines if line)


def _evidence(evidence: Mapping[str, Any]) -> str:
    shown = [f"{clean(key, 40)} {_value(evidence[key])}" for key in list(evidence)[:EVIDENCE]]
    return ", ".join(shown) + (", ..." if len(evidence) > EVIDENCE else "")


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, str | int):
        return clean(value, 80)
    return clean(encode(value).decode(), 80)


def _page(link: str, run: str) -> str:
    """The dashboard's address, at the run's own page where there is one run."""
    if not run:
        return link
    parts = urlsplit(link)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/run/{quote(run, safe='')}"))


TEST = Message(
    title="[info] heldout: a test",
    body="If you can read this, alerts of your runs will reach you here.",
    level="info",
)
"""What `heldout notify` sends."""
