"""A dashboard: how it is filled, started and asked, and where its page draws; heldout's own.

A dashboard's `requests` are all that its own page sends to draw every chart once: the first metrics
are there when all of them are answered, and sending them again is one refresh.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import journals
import numpy as np
from serving import Answer, Request
from workload import Floats, Size, values_file

Series = Mapping[str, tuple[Floats, Floats]]
"""Steps and values by metric; a value that is missing at a recorded step is None and reads as a gap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charts:
    """Where a page draws."""

    path: str
    """The page's address on its server."""
    each: str
    """CSS selector of the canvas or SVG of every chart, in the order of the metrics."""
    plots: str = ""
    """Of the part of each chart that its line is drawn in, where it is known."""
    unfold: str = ""
    """The same of what has to be clicked for all charts to be drawn."""
    latest: str = ""
    """Of the text that tells a chart's latest value, where there is one."""


class Peer(ABC):
    """A dashboard on data of one size; `folder` holds what it stores."""

    name: ClassVar[str]
    package: ClassVar[str]
    says: ClassVar[str] = ""
    """What its server prints when it may be asked, where listening is not enough."""

    def __init__(self, work: Path, size: Size, python: Path) -> None:
        self.work = work
        self.size = size
        self.python = str(python)
        self.folder = work / self.name / size.name

    def on(self, size: Size) -> Peer:
        """Return the same dashboard on data of another size."""
        return type(self)(self.work, size, Path(self.python))

    @abstractmethod
    def fill(self, limit_seconds: float) -> bool:
        """Store the numbers, unless they are there; returns whether. Raises `NotFinished`."""

    @abstractmethod
    def command(self, port: int) -> list[str]:
        """Return what starts the server."""

    @abstractmethod
    def requests(self, first: int | None = None, last: int | None = None) -> list[Request]:
        """Return what the page asks to draw every chart, between two steps if it asks for those."""

    @abstractmethod
    def series(self, answers: Sequence[Answer]) -> Series:
        """Read the answers."""

    @abstractmethod
    def charts(self) -> Charts:
        """Return where the page draws."""

    def forget(self) -> None:
        """Remove what an earlier server left behind to be faster; most leave nothing."""
        return

    def environment(self) -> dict[str, str]:
        """Return what the server's environment needs besides the present one."""
        return {}

    def complete(self, answers: Sequence[Answer]) -> bool:
        """Whether every metric is there, to its end but for what thinning may leave out."""
        if any(answer.status != 200 for answer in answers):
            return False
        found = self.series(answers)
        enough = 0.9 * self.size.steps
        return all(
            name in found and len(found[name][0]) > 1 and max(found[name][0]) >= enough
            for name in self.size.names
        )


class Heldout(Peer):
    name = package = "heldout"

    def fill(self, limit_seconds: float) -> bool:
        return journals.write(self.folder, self.size, values_file(self.work, self.size))

    def forget(self) -> None:
        journals.forget_what_was_kept(self.folder)

    def command(self, port: int) -> list[str]:
        options = ["--port", str(port), "--no-browser"]
        return [self.python, "-m", "heldout", "ui", str(self.folder), *options]

    def requests(self, first: int | None = None, last: int | None = None) -> list[Request]:
        path = f"/api/runs/{journals.RUN}"
        return [Request(path=path if first is None else f"{path}/series?first={first}&last={last}")]

    def series(self, answers: Sequence[Answer]) -> Series:
        return heldout_series(json.loads(answers[0].body)["series"])

    def charts(self) -> Charts:
        return Charts(
            path="/",
            each="#panel-signals canvas",
            plots="#panel-signals .glass",
            latest="#panel-signals .readout b",
        )


def heldout_series(wire: Mapping[str, Any]) -> Series:
    """Decode the field `series` of heldout's answers; the one place that knows its form.

    Of the steps the first is sent, and the distance of every other one from the one before.
    """
    return {
        name: (np.cumsum(each["steps"]).astype(float), floats(each["values"]))
        for name, each in wire.items()
    }


def floats(values: Sequence[Any]) -> Floats:
    """Numbers of any spelling as floats; what is missing becomes a NaN like one that was logged."""
    return np.array([math.nan if value is None else float(value) for value in values])
