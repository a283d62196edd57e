"""The parts of a run's frame: each a title and lines for the room it gets.

Every number stands with what it was counted on; nothing is told by colour alone.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rich.text import Text

from heldout.derive.columns import Columns, Series
from heldout.derive.patterns import UNMATCHED
from heldout.views.snapshot import ACTIVE, scope
from heldout.views.terminal.progress import about
from heldout.views.terminal.watch_curve import bar, curve, is_log, sparkline
from heldout.views.terminal.watch_text import LEVELS, clean, heading, joined, rate, wrap

Lines = list[Text]
Snapshot = Mapping[str, Any]

SHADED = 12
"""Columns of a cell that has room for a shade before its number."""
SHADES = ("  ", "░░", "▒▒", "▓▓", "██")
MARKED = ("loss/step", "loss/logged", "loss/streaming")
"""The series whose values that are not finite are marked on the curve."""
CHARTS = ("loss/step", "entropy/train", "grad/norm", "learning_rate")
"""The curves that are drawn where there is room."""
PHASES = {"forward_backward": "forward and backward", "data": "waiting for data"}
BUCKETS_A_COLUMN = 16
"""Stretches of steps whose lowest and highest value a column of characters is drawn from."""
LAST_EVALS = 10
MANY = 10_000


@dataclass(frozen=True, slots=True)
class Block:
    """A part of the frame: `draw(width, height)` gives `height` lines at most, the title included."""

    draw: Callable[[int, int], Lines]
    least: int = 3
    """Lines below which it is left out."""
    elastic: bool = False
    """Whether it takes the room that others leave."""
    extra: bool = False
    """Whether it is drawn only where the others have all they want."""

    def want(self, width: int) -> int:
        """Lines it would fill."""
        return 0 if self.extra else 10 if self.elastic else len(self.draw(width, MANY))


def numbers(now: Snapshot, width: int) -> Lines:
    """Exact match, cross-entropy and calibration error: value, interval, trend of evaluations."""
    last, evals = now["fixed_eval"], now["evals"]
    if not last:
        return wrap(Text(f"EM   {_not_evaluated(now)}"), width, 2, "     ")
    trend = last["em_trend"]
    if not last["em_speaks"] and last["em_last"]:
        trend = f"cannot tell; CE {last['ce_trend']}"
    elif last["em_last"]:
        low, high = last["em_change_low"], last["em_change_high"]
        change = f"{last['em_change']:+.1%} [{low:+.1%}, {high:+.1%}]"
        trend += f" {change} since {last['em_reference']:,}" if width >= 100 else f" {change}"
    elif len(evals) == 1:
        trend = "the first evaluation"
    ce = f"{last['ce']:.3f} [{last['ce_low']:.3f}, {last['ce_high']:.3f}] nats"
    ece = f"{last['ece']:.3f} [{last['ece_low']:.3f}, {last['ece_high']:.3f}]"
    risen = ", rose > 20 %" if last["ece_rise"] else ""
    word = f"{last['calibration']}; " if last["calibration"] else ""
    rows = [
        ("EM", rate(last), "em", trend),
        ("CE", ce, "ce", ""),
        ("ECE", ece, "ece", f"{word}chance alone {last['ece_null']:.3f}{risen}"),
    ]
    room = max(len(value) for _, value, _, _ in rows)
    lines = []
    for name, value, field, note in rows:
        trace = sparkline([each[field] for each in evals], 8 if width < 100 else 24)
        line = Text.assemble((f"{name:<4} ", "bold"), f"{value:<{room}}", no_wrap=True)
        lines.append(line.append(f"  {trace}", "cyan").append(f"  {note}" if note else "", "dim"))
    return lines


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def _not_evaluated(now: Snapshot) -> str:
    if why := scope(now):
        return why
    held_out = (now["run"] or {}).get("eval_set")
    if held_out is None:
        return "this run has no fixed held-out set, so exact match is not known"
    return f"not evaluated yet; the fixed set holds {held_out['n']:,} examples"


def alerts(now: Snapshot) -> Block:
    """The open alerts with what to do, the pending ones, and what could not be checked."""
    shown = [alert for alert in now["alerts"] if alert["state"] in ACTIVE]
    shown.sort(key=lambda alert: list(LEVELS).index(alert["level"]), reverse=True)
    pending = [alert for alert in now["alerts"] if alert["state"] == "pending"]
    silent = len(now["not_checked"])

    def draw(width: int, height: int) -> Lines:
        note = f"{_many(silent, 'rule')} not checked" if silent else ""
        title = f"Alerts: {len(shown)} open" if shown else "No open alerts"
        lines = [heading(title, width, note)]
        for i, alert in enumerate(shown):
            rest = len(shown) - i
            room = height - len(lines)
            each = _alert(alert, width, room if rest == 1 else min(4, room - 1))
            if room < 3 or (not each and rest):
                lines.append(Text(f"and {rest} more: heldout report says all", style="yellow"))
                break
            lines += each
        for alert in pending[: height - len(lines)]:
            lines += wrap(Text(f"pending: {clean(alert['message'])}", style="dim"), width, 1)
        return lines[:height]

    return Block(draw, least=1)


def _alert(alert: Mapping[str, Any], width: int, most: int) -> Lines:
    """What is wrong, and below it what to do, in `most` lines; [] where that is less than two."""
    if most < 2:
        return []
    what = Text.assemble(
        (alert["level"].upper(), LEVELS[alert["level"]]),
        f" {clean(alert['message'])}",
        (f" (since step {alert['step']:,})", "dim"),
    )
    do = Text(f"→ {clean(alert['action'])}")
    action = wrap(do, width - 2, max(1, most // 2), "  ")
    told = wrap(what, width, most - len(action), "  ")
    return [*told, *(Text("  ").append_text(line) for line in action)]


def loss(now: Snapshot, columns: Columns, name: str) -> Block:
    """The smoothed training loss over steps; where any loss was not finite is marked."""
    shown = "loss/streaming" if len(columns.get("loss/streaming")) else name
    metric = now["metrics"].get(shown, {"title": "Training loss", "unit": ""})
    return _curve(columns.get(shown), columns, clean(metric["title"]), clean(metric["unit"]))


def metric(now: Snapshot, columns: Columns, name: str) -> Block:
    """Any other metric over steps, where there is room for it; nothing where it was not recorded."""
    told = now["metrics"].get(name, {"title": name, "unit": ""})
    block = _curve(columns.get(name), columns, clean(told["title"]), clean(told["unit"]))
    return replace(block, extra=True, least=6 if len(columns.get(name)) else MANY)


def _curve(series: Series, columns: Columns, title: str, unit: str) -> Block:
    def draw(width: int, height: int) -> Lines:
        if not len(series):
            return [heading(title, width), Text("no training step recorded yet", style="dim")]
        note = f"{series.last:.4g} {unit}".strip()
        broken = [_not_finite(columns.get(each)) for each in MARKED]
        marks = np.unique(np.concatenate(broken))
        steps, values = series.minmax(BUCKETS_A_COLUMN * max(1, width))
        note += ", log scale" if is_log(values) else ""
        if len(marks) == 1:
            note += f"  ✕ at step {marks[0]:,}"
        elif len(marks):
            note += f"  ✕ at {len(marks):,} steps, last {marks[-1]:,}"
        lines = curve(steps, values, marks, width, max(2, height - 1), "cyan")
        return [heading(title, width, note), *lines]

    return Block(draw, least=4, elastic=True)


def _not_finite(series: Series) -> np.ndarray[Any, np.dtype[np.int64]]:
    return series.steps[~np.isfinite(series.values)]


def exact_match(now: Snapshot) -> Block:
    """Exact match at each evaluation with its interval; saved checkpoints tied for best are marked."""
    evals = now["evals"]
    tied = set(now["fixed_eval"].get("tied", []))
    steps = {saved["step"] for saved in now["checkpoints"] if saved["path"] in tied}

    def draw(width: int, height: int) -> Lines:
        best = "◆ saved, and best or tied with it" if tied else ""
        lines = [heading("Exact match", width, best)]
        shown = evals[-min(LAST_EVALS, height - 1) :] if height > 1 else []
        notes = [f" [{x['em_low']:.1%}, {x['em_high']:.1%}] of {x['n']}" for x in shown]
        widest = max(map(len, notes), default=0)
        for result, note in zip(shown, notes, strict=True):
            mark = "◆" if result["step"] in steps else " "
            left = f"{result['step']:>7,} {mark} {result['em']:>6.1%} "
            room = width - len(left) - widest
            scale = _interval(result["em"], result["em_low"], result["em_high"], room)
            line = Text(left, no_wrap=True).append(scale, "cyan")
            lines.append(line.append(f"{note:>{widest}}", "dim"))
        return lines

    return Block(draw, least=3)


def _interval(value: float, low: float, high: float, width: int) -> str:
    """A scale from 0 to 1 of `width` characters with the interval and the value on it."""
    if width < 8 or not all(map(math.isfinite, (value, low, high))):
        return ""
    at, first, last = (min(width - 1, int(x * width)) for x in (value, low, high))
    row = ["─" if first <= i <= last else "·" for i in range(width)]
    row[at] = "●"
    return "".join(row)


TRAINED = " training"
"""The head of the column that says which share of the training rows is of a pattern."""


def heatmap(now: Snapshot) -> Block:
    """Exact match by pattern and answer length, with n; too few examples to know say so.

    Where the training rows were counted, each pattern's share of them stands at the end.
    """
    matrix = now["bucket_matrix"]

    def draw(width: int, height: int) -> Lines:
        title = "Pattern × length"
        if not matrix.get("patterns"):
            return [heading(title, width), Text(_not_evaluated(now), style="dim")][:height]
        rows = sorted(matrix["rows"], key=lambda row: (row["em"] is None, row["em"] or 0.0))
        first = min(max(len(_pattern(row["pattern"])) for row in rows), max(8, width // 4)) + 1
        counted = any(row["train_share"] is not None for row in rows)
        bins, each, dropped = _columns(matrix, width - first - (len(TRAINED) if counted else 0))
        note = "EM, n" + (f"; {dropped} rarer lengths left out" if dropped else "")
        head = " " * first + "".join(f"{name:<{each}}" for name in [*bins, "all"])
        head += TRAINED if counted else ""
        lines = [heading(title, width, note), Text(head, style="dim", no_wrap=True)]
        room = height - len(lines)
        more = len(rows) - room
        cells = {(cell["pattern"], cell["bin"]): cell for cell in matrix["cells"]}
        for row in rows[: room - 1 if more > 0 else room]:
            name = _pattern(row["pattern"])[: first - 1]
            line = Text(f"{name:<{first}}", no_wrap=True)
            for cell in [*(cells.get((row["pattern"], name)) for name in bins), row]:
                line.append_text(_cell(cell, each))
            if counted:
                line.append(f"{row['train_share']:>{len(TRAINED)}.1%}", "dim")
            lines.append(line)
        if more > 0:
            lines.append(Text(f"and {more + 1} patterns with higher EM", style="dim"))
        return lines[:height]

    return Block(draw, least=4)


def _columns(matrix: Mapping[str, Any], width: int) -> tuple[list[str], int, int]:
    """The length bins that fit beside "all", a column's width, and how many bins had to go.

    Those with the most examples stay; the columns are wide enough for shades where all fit so.
    """
    seen: Counter[str] = Counter()
    for cell in matrix["cells"]:
        seen[cell["bin"]] += cell["seen"]
    bins = [name for name in matrix["bins"] if seen[name]]
    widest = max(len(f"{row['correct']}/{row['seen']}") for row in matrix["rows"])
    wide, narrow = max(SHADED, widest + 5), max(9, widest + 3)
    each = wide if (len(bins) + 1) * wide <= width else narrow
    kept = sorted(bins, key=lambda name: -seen[name])[: max(1, width // each - 1)]
    return [name for name in bins if name in kept], each, len(bins) - len(kept)


def _pattern(name: str) -> str:
    return "unmatched" if name == UNMATCHED else clean(name)


def _cell(cell: Mapping[str, Any] | None, width: int) -> Text:
    if cell is None or not cell["seen"]:
        return Text(f"{'·':<{width}}", style="dim")
    if not cell["known"]:
        return Text(f"{'? ' + str(cell['correct']) + '/' + str(cell['seen']):<{width}}", "dim")
    em = cell["em"]
    cell_text = Text(no_wrap=True)
    if width >= SHADED:
        shade = SHADES[min(len(SHADES) - 1, int(em * len(SHADES)))]
        cell_text.append(f"{shade} ", "cyan")
    cell_text.append(f"{em:>4.0%} ").append(str(cell["seen"]), "dim")
    cell_text.truncate(width, pad=True)
    return cell_text


def lora(now: Snapshot) -> Block:
    """The five layers that moved most, how much the loss depends on them, and what is wrong."""
    found = now["lora"]

    def draw(width: int, height: int) -> Lines:
        relative = found["movement"] == "relative"
        measure = "moved, ‖ΔW‖/‖W₀‖" if relative else "moved, ‖ΔW‖"
        top = found["top_moved"]
        lines = [heading("LoRA layers", width, measure if top else "")]
        if not top:
            return [*lines, *wrap(Text(clean(found["note"]), style="dim"), width, 2)][:height]
        field = "relative" if relative else "delta_norm"
        most = max((layer[field] for layer in top if math.isfinite(layer[field])), default=0.0)
        names = [_layer(layer, found["stacks"]) for layer in top]
        if height - 1 < len(top):
            return [*lines, *_layers_in_short(top, names, field, relative, width)][:height]
        first = min(max(map(len, names)), width // 3)
        for name, layer in list(zip(names, top, strict=True))[: height - 1]:
            value = layer[field]
            moved = _moved(value, relative)
            share = layer["impact_share"]
            note = "" if share is None else f" impact {share:.0%}"
            state = "" if layer["state"] == "ok" else f" {layer['state']}"
            room = max(0, width - first - 8 - 12 - len(state))
            line = Text(f"{name[:first]:<{first}} {moved:>6} ", no_wrap=True)
            filled = bar(value / most if most > 0 else 0.0, min(room, 40))
            line.append(f"{filled:<{min(room, 40)}}", "cyan").append(note, "dim")
            lines.append(line.append(state, "bold red"))
        for each in found["states"]:
            text = f"{each['state']}: {_many(each['modules'], 'module')}, {each['meaning']}"
            lines += wrap(Text(clean(text), style="red"), width, 2)
        if found["sentence"]:
            lines += wrap(Text(clean(found["sentence"]), style="dim"), width, 3)
        return lines[:height]

    return Block(draw)


def _layers_in_short(
    top: Sequence[Mapping[str, Any]], names: Sequence[str], field: str, relative: bool, width: int
) -> Lines:
    """The same on as few lines as can be, without bars."""
    shown = [name.removeprefix("layer ") for name in names]
    told = [
        f"{name} {_moved(layer[field], relative)}" for name, layer in zip(shown, top, strict=True)
    ]
    return wrap(Text(f"layers {', '.join(told)}"), width, MANY)


def _moved(value: float, relative: bool) -> str:
    if not math.isfinite(value):
        return "not finite"
    return f"{100 * value:.2g}%" if relative else f"{value:.3g}"


def _layer(layer: Mapping[str, Any], stacks: Mapping[str, str]) -> str:
    if layer["layer"] < 0:
        return "outside"
    stack = clean(stacks[layer["stack"]]) + " " if layer["stack"] and len(stacks) > 1 else ""
    return f"{stack}layer {layer['layer']}"


def seconds_left(now: Snapshot) -> float:
    """Seconds to the end of training; 0 where that is not known, or nothing goes on."""
    goes_on = now["state"] in ("starting", "running")
    return float(now["throughput"].get("eta_seconds", 0.0)) if goes_on else 0.0


def speed(now: Snapshot, left: float) -> Block:
    """Tokens a second, a step's time and where it goes, memory, and the seconds `left` if any."""
    found, latest = now["throughput"], now["latest"]
    parts = []
    if "tokens_per_sec" in found:
        parts.append(f"{found['tokens_per_sec']:,.0f} tokens/s")
    if left > 0:
        parts.append(f"about {about(left)} left")
    if "step_seconds" in found:
        parts.append(f"{found['step_seconds']:.3g} s a step")
    if "mfu" in found:
        parts.append(f"MFU {found['mfu']:.0%}")
    if "total_tokens" in found:
        parts.append(f"{found['total_tokens']:,.0f} tokens in all")
    if "padding" in found:
        parts.append(f"padding {found['padding']:.0%}")
    for name, word in (("memory/device_peak", "device"), ("memory/host", "host")):
        if math.isfinite(latest.get(name, math.nan)):
            parts.append(f"{word} {latest[name] / 2**30:.1f} GiB")
    shares = sorted(found.get("time", {}).items(), key=lambda pair: -pair[1])
    split = [f"{PHASES.get(phase, phase)} {share:.0%}" for phase, share in shares if share >= 0.01]

    def draw(width: int, height: int) -> Lines:
        lines = joined(parts, width) or [Text("not measured yet", style="dim")]
        if split:
            text = Text("time: ", style="dim").append(", ".join(split))
            lines += wrap(text, width, min(2, height - 1 - len(lines)), "      ")
        return [heading("Speed", width), *lines][:height]

    return Block(draw, least=2)
