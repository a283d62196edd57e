"""One run as a frame of lines: the verdict on top, then the panels in as many columns as fit.

Pure: a snapshot, its curves, a size and the time in, lines out. At 80 x 24 all of it is there, shortened;
what was left out says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from heldout.derive.columns import Columns
from heldout.derive.history import History
from heldout.views.report.text import capital
from heldout.views.snapshot import snapshot
from heldout.views.terminal import watch_blocks as blocks
from heldout.views.terminal.progress import about
from heldout.views.terminal.watch_blocks import Block, Lines
from heldout.views.terminal.watch_curve import bar
from heldout.views.terminal.watch_text import (
    DECISIONS,
    STATES,
    beside,
    clean,
    fit,
    wrap,
)

TWO_COLUMNS = 76
THREE_COLUMNS = 150
MOST_GROWN = 8
"""Lines a curve takes beyond what it wants, where there is room."""
QUIET_SECONDS = 120.0
"""A running run silent for longer is pointed out, as on the page."""
KEYS = "q quit   b runs"
LOG_KEYS = "q quit"
"""For another tool's log, beside which no others are listed."""
WORDS = {
    "stop": "STOP",
    "roll-back": "ROLL BACK",
    "continue": "CONTINUE",
    "resume": "RESUME",
    "look": "LOOK",
    "none": "DONE",
}
BEST = "Best so far:"
USE = {
    "stop": "Use",
    "roll-back": "Use",
    "continue": BEST,
    "resume": BEST,
    "look": BEST,
    "none": "Use",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What a frame is drawn from."""

    name: str
    now: Mapping[str, Any]
    columns: Columns
    loss: str
    """The series that is the training loss of this run."""

    @classmethod
    def of(cls, name: str, history: History) -> Shown:
        """The state of `history`, under the name of its folder."""
        return cls(name, snapshot(history), history.columns, history.loss)


def frame(shown: Shown, clock: float, width: int, height: int | None, keys: str = KEYS) -> Lines:
    """Return the lines of a frame, `height` of them at most and none wider than `width`.

    Without a `height` it is as long as what there is to say. `clock` is the present, Unix seconds.
    """
    now = shown.now
    tall = height is None or height >= 34
    head = _head if tall else _head_line
    lines = [*head(shown, clock, width), *_decision(now, width, 6 if tall else 3)]
    lines += [Text()] if tall else []
    lines += blocks.numbers(now, width)
    charts = {name: blocks.metric(now, shown.columns, name) for name in blocks.CHARTS}
    left = [blocks.loss(now, shown.columns, shown.loss)]
    if now["evals"] and tall:
        left.append(blocks.exact_match(now))
    left.append(charts["loss/step"])
    right = [blocks.heatmap(now), blocks.lora(now), charts["grad/norm"]]
    speed, alerts = blocks.speed(now, _left(now, clock)), blocks.alerts(now)
    foot = [Text(keys, style="dim", no_wrap=True)] if keys else []
    room = None if height is None else max(0, height - len(lines) - len(foot))
    if width >= THREE_COLUMNS:
        third = [alerts, speed, charts["entropy/train"], charts["learning_rate"]]
        lines += _columns([left, right, third], width, room)
    else:
        most = blocks.MANY if room is None else max(1, room // 2)
        told = alerts.draw(width, most)
        lines += told
        room = None if room is None else room - len(told)
        stacks = [[*left, speed], right]
        lines += _columns(stacks if width >= TWO_COLUMNS else [[*left, *right, speed]], width, room)
    if height is not None:
        lines = lines[: height - len(foot)]
        lines += [Text()] * (height - len(foot) - len(lines))
    return [fit(line, width) if line.cell_len > width else line for line in [*lines, *foot]]


def reading(name: str, share: float | None, width: int, height: int, keys: str = KEYS) -> Lines:
    """The frame while a long journal is read for the first time; without a `share`, another tool's log."""
    done = "  reading the log" if share is None else f"  reading the journal, {share:.0%}"
    told = Text.assemble((clean(name), "bold"), done, no_wrap=True)
    lines = [told, Text(bar(share or 0.0, max(1, width - 1)), style="cyan")]
    lines += [Text()] * (height - 3)
    return [fit(line, width) for line in [*lines, Text(keys, style="dim")]][:height]


def age(now: Mapping[str, Any], clock: float) -> str:
    """How long ago the last record was written; "" where that is not known."""
    seconds = clock - now["time"]
    return about(max(0.0, seconds)) if now["time"] > 0 else ""


def short(checkpoint: str) -> str:
    """A checkpoint's name beside another: -500 for checkpoint-500."""
    return clean(checkpoint).removeprefix("checkpoint")


def _head(shown: Shown, clock: float, width: int) -> Lines:
    now = shown.now
    run = now["run"] or {}
    first = Text.assemble((clean(shown.name), "bold"), f"  {clean(run.get('model', ''))}")
    since = age(now, clock)
    quiet = _is_quiet(now, clock)
    if since and not quiet:
        first.append(f"   last record {since} ago", "dim")
    second = _progress(now, 20, since if quiet else "")
    for line in (first, second):
        line.truncate(width, overflow="ellipsis")
    if first.cell_len + 3 + second.cell_len <= width:
        return [first.append("   ").append_text(second)]
    return [first, second]


def _progress(now: Mapping[str, Any], length: int, silent: str = "") -> Text:
    """State, how long it has been silent if so, step, a bar of `length`, time left and speed."""
    total, step, state = (now["run"] or {}).get("total_steps", 0), now["step"], now["state"]
    line = Text.assemble((state, STATES.get(state, "")), no_wrap=True)
    line.append(f", silent {silent}" if silent else "", "bold yellow").append(f"  step {step:,}")
    if total:
        share = min(1.0, step / total)
        line.append(f" of {total:,}  ").append(f"{bar(share, length):░<{length}}", "cyan")
        line.append(f" {share:.0%}")
    left = blocks.seconds_left(now)
    line.append(f"  about {about(left)} left" if left > 0 and not silent else "")
    speed = now["throughput"].get("tokens_per_sec")
    return line.append("" if speed is None else f"  {speed:,.0f} tokens/s")


def _is_quiet(now: Mapping[str, Any], clock: float) -> bool:
    return bool(now["state"] == "running" and clock - now["time"] > QUIET_SECONDS)


def _left(now: Mapping[str, Any], clock: float) -> float:
    """Seconds to the end of training; 0 where that is not known, and in silence."""
    return 0.0 if _is_quiet(now, clock) else blocks.seconds_left(now)


def _head_line(shown: Shown, clock: float, width: int) -> Lines:
    """The head on one line, for a small terminal."""
    now = shown.now
    since, quiet = age(now, clock), _is_quiet(now, clock)
    rest = _progress(now, 8 if width >= TWO_COLUMNS else 0, since if quiet else "")
    if since and not quiet and not blocks.seconds_left(now) > 0:
        rest.append(f"  {since} ago", "dim")
    name = Text.assemble((clean(shown.name), "bold"), no_wrap=True)
    name.truncate(max(8, width - rest.cell_len - 2), overflow="ellipsis")
    return [name.append("  ").append_text(rest)]


def _decision(now: Mapping[str, Any], width: int, most: int) -> Lines:
    decision = now["decision"]
    if decision is None:
        text = "No verdict yet: it comes with the first evaluation on the held-out set."
        return wrap(Text(text, style="dim"), width, most)
    action, checkpoint = decision["action"], decision["checkpoint"]
    broken = action == "none" and decision["evidence"].get("fault")
    word, colour = ("DO NOT USE", "red") if broken else (WORDS[action], DECISIONS[action])
    said = Text.assemble((f" {word} ", f"bold reverse {colour}"))
    if checkpoint and not broken:
        said.append(f" {USE[action]} {clean(checkpoint)}.", "bold")
        others = [short(name) for name in decision["tied"] if name != checkpoint]
        said.append(f" Tied with {', '.join(others)}." if others else "")
    said.append(f" {clean(capital(decision['reason']))}")
    advice = now["advice"]
    lines = wrap(said, width, most - bool(advice), "  ")
    for each in advice[: max(1, most - len(lines))]:
        told = Text(f"Next run: {clean(each['message'])}")
        lines += wrap(told, width, max(1, most - len(lines)), "  ")
    return lines[:most]


def _columns(stacks: Sequence[Sequence[Block]], width: int, room: int | None) -> Lines:
    """The stacks of blocks beside each other, sharing `room` lines, or as long as they want to be."""
    each = (width - 3 * (len(stacks) - 1)) // len(stacks)
    if room is None:
        room = max(sum(block.want(each) for block in stack) for stack in stacks)
    drawn = [(_stack(stack, each, room), each) for stack in stacks]
    return beside(drawn, room) if len(drawn) > 1 else drawn[0][0]


def _stack(stack: Sequence[Block], width: int, room: int) -> Lines:
    lines: Lines = []
    for block, height in zip(stack, _shares(stack, width, room), strict=True):
        if height:
            lines += block.draw(width, height)
    return lines


def _shares(stack: Sequence[Block], width: int, room: int) -> list[int]:
    """The lines each block gets: the least of each in order, what they want, extras, the rest."""
    shares = [0] * len(stack)
    for i, block in enumerate(stack):
        if block.least <= room and not block.extra:
            shares[i] = block.least
            room -= block.least
    for i, block in enumerate(stack):
        if shares[i]:
            more = max(0, min(room, block.want(width) - shares[i]))
            shares[i] += more
            room -= more
    for i, block in enumerate(stack):
        if block.extra and block.least <= room:
            shares[i] = block.least
            room -= block.least
    growing = [i for i, block in enumerate(stack) if shares[i] and block.elastic]
    for i in growing:
        shares[i] += min(MOST_GROWN, room // len(growing))
    return shares
