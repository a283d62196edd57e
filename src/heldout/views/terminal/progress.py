"""Progress while training, as a listener of the watch: a bar, and a line for what matters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from heldout.derive.history import History
from heldout.records import AnyRecord, Checkpoint, EvalResult, Note, Verdict
from heldout.views.terminal.plain import plain

STYLES = {"info": "cyan", "warning": "yellow", "error": "red", "critical": "bold red"}


class TrainingProgress:
    """Shows step, streaming CE, tokens/s and time left, and prints evaluations and alerts.

    Use as a context and pass it on as a listener. Without a terminal the lines remain and the bar
    goes.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar = Progress(
            TextColumn("step {task.completed:.0f} of {task.total:.0f}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[numbers]}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def __call__(self, records: Sequence[AnyRecord], history: History) -> None:
        """Show new records."""
        if self._task is None and history.run is not None:
            total = history.run.total_steps
            self._task = self._bar.add_task("", total=total, numbers="evaluating the base model")
        for record in records:
            self._tell(record)
        if self._task is not None and history.latest:
            self._bar.update(self._task, completed=history.step, numbers=_numbers(history))

    def _tell(self, record: AnyRecord) -> None:
        if isinstance(record, EvalResult):
            score = f"EM {record.em:.1%} [{record.em_low:.1%}, {record.em_high:.1%}] of {record.n}"
            rest = f"CE {record.ce:.3f}  ECE {record.ece:.3f}  ({record.seconds:.0f} s)"
            self.console.print(f"step {record.step:>5}  {score}  {rest}", highlight=False)
        elif isinstance(record, Verdict) and record.state in ("open", "escalated"):
            style = STYLES[record.level]
            text = f"{record.level}: {record.message} -> {record.action}"
            self.console.print(f"step {record.step:>5}  [{style}]{plain(text)}[/]")
        elif isinstance(record, Note) and record.topic in ("failure", "lost", "resume"):
            self.console.print(f"step {record.step:>5}  {plain(record.text)}", style="yellow")
        elif isinstance(record, Checkpoint):
            self.console.print(f"step {record.step:>5}  saved {plain(record.path)}", style="dim")


def _numbers(history: History) -> str:
    loss = history.columns.get("loss/streaming")
    speed = history.columns.get("throughput/tokens_per_second")
    parts = [f"CE {loss.last:.3f}"] if len(loss) else []
    parts += [f"{speed.last:,.0f} tokens/s"] if len(speed) else []
    parts += [f"EM {history.evals[-1].em:.1%}"] if history.evals else []
    left = history.columns.get("time/remaining").last
    parts += [f"about {about(left)} left"] if left > 0 and math.isfinite(left) else []
    return "  ".join(parts)


def about(seconds: float) -> str:
    """A length of time as roughly as it can be foretold: 40 s, 12 min, 2 h 10 min, 3 d 4 h."""
    if seconds < 90:
        return f"{5 * round(seconds / 5)} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 36 * 60:
        hours, rest = divmod(10 * round(minutes / 10), 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    days, hours = divmod(round(minutes / 60), 24)
    return f"{days} d {hours} h" if hours else f"{days} d"
