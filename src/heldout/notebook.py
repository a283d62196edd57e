"""A run in a notebook: the report file in a frame, or besides it a link to the live page."""

from __future__ import annotations

import atexit
import html
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from heldout.replay import as_recorded
from heldout.store.foreign import is_journal
from heldout.store.runs import open_run
from heldout.views.page import page
from heldout.views.report.html import html_report
from heldout.views.report.text import verdict_lines

HEIGHT = 900
_ends = ExitStack()
_pages: dict[Path, str] = {}
"""The served pages of this process by folder; they end with it."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a notebook displays of a run; as text, the verdict."""

    report: str
    """The whole HTML file, as `heldout report --html` writes it."""
    words: str
    height: int
    url: str = ""
    """The live page, where it is served."""

    def _repr_html_(self) -> str:
        """The file in a frame that can run its own script and do nothing else to the notebook."""
        link = ""
        if self.url:
            url = html.escape(self.url)
            link = (
                f'<p>Live page: <a href="{url}" target="_blank" rel="noopener">{url}</a> '
                "(below, the run as it is now)</p>"
            )
        return (
            f'{link}<iframe srcdoc="{html.escape(self.report)}" title="heldout report" '
            'sandbox="allow-scripts allow-downloads" '
            f'style="width: 100%; height: {self.height}px; border: 0"></iframe>'
        )

    def __repr__(self) -> str:
        return self.words


def show(run: str | Path, *, live: bool = False, height: int = HEIGHT) -> Shown:
    """Return the run for a notebook to display, in a frame of `height` pixels.

    `run` is what `heldout report` takes: a run's folder, a folder of runs (its latest), a journal, or another
    tool's log. With `live` its page is served on this machine until the notebook's process ends, and
    linked to; that is for runs of heldout's own. Raises `HeldoutError` when there is nothing to read.
    """
    path = Path(run)
    found = as_recorded(path)
    name = found.history.run.id if found.history.run else path.name
    return Shown(
        report=html_report(name, found.history, time.time()),
        words="\n".join(verdict_lines(found.history)),
        height=height,
        url=_served(path) if live and is_journal(path) else "",
    )


def _served(path: Path) -> str:
    """The address of the run's live page, served from now on."""
    folder = open_run(path).resolve().parent
    root = folder.parent
    if root not in _pages:
        if not _pages:
            atexit.register(_ends.close)
        _pages[root] = _ends.enter_context(page(root, 0))
    return f"{_pages[root]}run/{quote(folder.name, safe='')}"
