"""Scored checkpoints in a terminal: a bar while it goes on, then the table."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from heldout.derive.comparison import Compared, Comparison, Since
from heldout.records import EvalResult
from heldout.views.terminal.plain import plain

ONE_LINE = 118
"""Columns from which a checkpoint's numbers fit on one line; below it takes two."""


class EvaluationProgress:
    """Shows which checkpoint is scored and how far, and a line for each that is done.

    Use as a context. Without a terminal the lines remain and the bar goes.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar = Progress(
            TextColumn("{task.fields[now]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed:.0f} of {task.total:.0f} examples"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task: TaskID | None = None
        self._before = self._each = 0

    def __enter__(self) -> EvaluationProgress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def begun(self, num_checkpoints: int, num_examples: int) -> None:
        """So much is to be scored."""
        self._each = num_examples
        self._task = self._bar.add_task("", total=num_checkpoints * num_examples, now="loading")

    def scored(self, name: str, num_examples: int) -> None:
        """So many examples of this checkpoint are scored."""
        if self._task is not None:
            self._bar.update(self._task, completed=self._before + num_examples, now=plain(name))

    def done(self, name: str, outcome: EvalResult | str, file: str = "") -> None:
        """A checkpoint is done, was done before as `file` says, or could not be scored."""
        self._before += self._each
        self.scored(name, 0)
        if isinstance(outcome, str):
            self.console.print(f"{plain(name)}  [red]{plain(outcome)}[/]")
            return
        seconds = f"already in {plain(file)}" if file else f"{outcome.seconds:.1f} s"
        rate = f"EM {outcome.em:.1%} [{outcome.em_low:.1%}, {outcome.em_high:.1%}] of {outcome.n}"
        self.console.print(f"{plain(name)}  {rate}  ({seconds})")


def comparison_table(found: Comparison, failed: list[str], width: int) -> Table:
    """Return the table for a terminal of `width` columns: percentages, intervals at 95 %."""
    wide = width >= ONE_LINE
    first = plain(found.rows[0].name)
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    heads = ["EM %", "token EM %", "CE nats", "ECE", "near\nties", f"EM since\n{first}"]
    table.add_column("checkpoint", overflow="fold")
    for head in heads:
        table.add_column(head, justify="left", no_wrap=True)
    if wide:
        table.add_column("", no_wrap=True)
    for row in found.rows:
        table.add_row(*_cells(row, found.facts["best_ckpt"], wide))
    for name in failed:
        table.add_row(plain(name), "failed")
    return table


def _cells(row: Compared, keep: str | None, wide: bool) -> list[str]:
    result = row.result
    name = f"[bold]{plain(row.name)}[/]" if row.name == keep else plain(row.name)
    mark = ("keep" if row.name == keep else "tied") if row.tied else ""
    apart = " " if wide else "\n"

    def with_interval(value: str, low: str, high: str) -> str:
        return plain(f"{value}{apart}[{low},{' ' if wide else ''}{high}]")

    cells = [
        name if wide or not mark else f"{name}\n{mark}",
        with_interval(*map(_percent, (result.em, result.em_low, result.em_high))),
        with_interval(*map(_percent, (result.token_em, *row.token_em))),
        with_interval(*map(_nats, (result.ce, result.ce_low, result.ce_high))),
        f"{result.ece:.3f}",
        str(result.near_ties),
        _change(row.since_first, wide),
    ]
    return [*cells, mark] if wide else cells


def _change(since: Since | None, wide: bool) -> str:
    if since is None:
        return ""
    low, high = f"{100 * since.em_change_low:+.1f}", f"{100 * since.em_change_high:+.1f}"
    change = f"{100 * since.em_change:+.1f}"
    p = "" if since.p is None else " p<.001" if since.p < 0.001 else f" p {since.p:.3f}"
    p = p.replace(" 0.", " .")
    if wide:
        return plain(f"{change} [{low}, {high}]{p}")
    return plain(f"{change}{p}\n[{low},{high}]")


def _percent(share: float) -> str:
    return "100" if share == 1 else f"{100 * share:.1f}"


def _nats(value: float) -> str:
    return f"{value:.3f}" if value < 10 else f"{value:.2f}"
