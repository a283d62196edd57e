"""The readings as a table: a line a measure, a column a dashboard, medians over repeats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

Reading = Mapping[str, Any]
"""What was measured of one dashboard on one size: by part, a list of repeats or one result."""


def seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 0.1 else f"{value * 1000:.0f} ms"


def milliseconds(value: float) -> str:
    return f"{value:.1f} ms"


def size(value: float) -> str:
    return f"{value / 1e6:.2f} MB" if value >= 1e6 else f"{value / 1e3:.1f} kB"


def count(value: float) -> str:
    return f"{value:g}"


def share(value: float) -> str:
    return f"{100 * value:.2f} %"


Line = tuple[str, str, str, Callable[[float], str]]
LINES: Sequence[Line] = (
    ("first metrics, cold", "first_metrics", "cold", seconds),
    ("refresh of all charts, warm", "first_metrics", "warm", seconds),
    ("requests of a refresh", "first_metrics", "requests", count),
    ("points a metric", "first_metrics", "points", count),
    ("bytes of a refresh", "first_metrics", "wire_bytes", size),
    ("first chart painted", "first_picture", "first", seconds),
    ("the same, in a window that holds all charts", "whole_picture", "first", seconds),
    ("all charts painted there", "whole_picture", "all", seconds),
    ("charts painted there", "whole_picture", "charts", count),
    ("page assets", "first_picture", "assets", size),
    ("memory, steady", "first_metrics", "memory", size),
    ("memory, peak", "first_metrics", "memory_peak", size),
    ("server CPU to the first metrics", "first_metrics", "cold_cpu", seconds),
    ("server CPU of a refresh", "first_metrics", "warm_cpu", seconds),
    ("server CPU for an idle tab, of a core", "idle_tab", "cpu_share", share),
    ("the same with no tab open", "idle_tab", "cpu_share_without", share),
    ("bytes of an idle minute", "idle_tab", "bytes_per_minute", size),
    ("log to answer, p50", "log_to_pixel", "answer_p50", seconds),
    ("log to answer, p95", "log_to_pixel", "answer_p95", seconds),
    ("log to page, p50", "log_to_pixel", "page_p50", seconds),
    ("log to page, p95", "log_to_pixel", "page_p95", seconds),
    ("log to page, max", "log_to_pixel", "page_max", seconds),
    ("steps seen in the page", "log_to_pixel", "page_n", count),
    ("in the page means", "log_to_pixel", "page_is", str),
    ("100 tabs, steps behind: median tab's p95", "hundred_tabs", "p95_median", seconds),
    ("100 tabs: worst tab's p95", "hundred_tabs", "p95_worst", seconds),
    ("100 tabs: worst step of any tab", "hundred_tabs", "worst", seconds),
    ("100 tabs: p95 of the 3 real pages", "hundred_tabs", "pages_p95", seconds),
    ("100 tabs: clients that got steps", "hundred_tabs", "clients", count),
    ("100 tabs: server CPU, of a core", "hundred_tabs", "cpu_share", share),
    *(
        (f"{what}: {told}", "pan_and_zoom", f"{what}_{key}", show)
        for what in ("rest", "zoom", "pan")
        for key, told, show in (
            ("median", "frame, median", milliseconds),
            ("p95", "frame, p95", milliseconds),
            ("frames", "frames", count),
            ("late", "frames over 16.7 ms", count),
            ("very_late", "frames over 33 ms", count),
            ("redrawn", "frames with a picture of their own", share),
        )
    ),
)


def markdown(title: str, readings: Mapping[str, Reading]) -> str:
    """Return the table of one size; `readings` are by the dashboards' titles."""
    lines = [f"**{title}**", "", row("", list(readings)), row(":--", ["--:"] * len(readings))]
    for label, part, key, show in LINES:
        cells = [cell(reading.get(part), key, show) for reading in readings.values()]
        if any(cells):
            lines.append(row(label, cells))
    for part, where in (("in_answers", "sent"), ("in_pixels", "drawn")):
        for kind in ("spike", "dip", "NaN", "Infinity"):
            cells = [told(reading.get(part), kind) for reading in readings.values()]
            if any(cells):
                lines.append(row(f"{kind}, {where}: all, 1/4, 1/50, 1/1000", cells))
    lines += ["", *failures(readings)]
    return "\n".join(lines) + "\n"


def failures(readings: Mapping[str, Reading]) -> Iterator[str]:
    """Say what there is no number of, and why."""
    for title, reading in readings.items():
        for part, repeats in reading.items():
            for reason in dict.fromkeys(each["failed"] for each in repeats if "failed" in each):
                yield f"{title}, {part}: {reason}  "


def row(label: str, cells: Sequence[str]) -> str:
    return "| " + " | ".join([label, *cells]) + " |"


def cell(part: Any, key: str, show: Callable[[float], str]) -> str:
    """One number: the median over repeats, with the range where they differ."""
    if not part:
        return ""
    found = [each[key] for each in part if key in each]
    if not found:
        return "-"
    if isinstance(found[0], str):
        return str(found[0])
    middle = show(median(found))
    low, high = show(min(found)), show(max(found))
    return middle if low == high else f"{middle} ({low} - {high})"


def told(part: Any, kind: str) -> str:
    """What became of one odd step at every zoom, said once where it is the same."""
    if not part:
        return ""
    if "failed" in part[0]:
        return "-"
    states = list(part[0][kind].values())
    return states[0] if len(set(states)) == 1 else ", ".join(states)
