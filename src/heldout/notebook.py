"""A run in a notebook: the report in a frame, or the live page with the report folded below it."""

from __future__ import annotations

import atexit
import html
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from heldout.errors import HeldoutError
from heldout.guard import look_once
from heldout.replay import as_recorded
from heldout.store.foreign import is_journal
from heldout.store.runs import open_run
from heldout.views.report.html import html_report
from heldout.views.report.text import verdict_lines

HEIGHT = 900
STOP_SECONDS = 5.0
REMOTE = {
    "JUPYTERHUB_SERVICE_PREFIX": "JupyterHub",
    "COLAB_RELEASE_TAG": "Google Colab",
    "KAGGLE_KERNEL_RUN_TYPE": "Kaggle",
    "DATABRICKS_RUNTIME_VERSION": "Databricks",
    "SAGEMAKER_INTERNAL_IMAGE_URI": "SageMaker",
    "VSCODE_PID": "VS Code",
    "SSH_CONNECTION": "a connection over SSH",
}
"""Variables by which a kernel can tell that the browser may not reach its machine's own addresses, or
(VS Code) that the notebook is no page of this machine and may not frame one."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a notebook displays of a run; as text, the verdict."""

    report: str
    """The whole HTML file, as `heldout report --html` writes it."""
    words: str
    height: int
    url: str = ""
    """The live page, where it is served."""
    remote: str = ""
    """Why the live page is linked to and not shown; empty where it is shown."""
    stop: Callable[[], None] = lambda: None
    """End the server of the live page; it ends with the kernel too."""

    def _repr_html_(self) -> str:
        """The report in a frame that can run its own script and do nothing else to the notebook."""
        report = self._frame(
            f'srcdoc="{html.escape(self.report)}" title="heldout report" '
            'sandbox="allow-scripts allow-downloads"'
        )
        if not self.url:
            return report
        url = html.escape(self.url)
        link = f'<a href="{url}" target="_blank" rel="noopener">{url}</a>'
        if self.remote:
            return (
                f"<p>The live page is served by the kernel at {link}, but this looks like "
                f"{html.escape(self.remote)}, where a browser elsewhere cannot show it in here. Forward its "
                "port and open the address, or show the run again for news. Below, the run as it is "
                f"now.</p>{report}"
            )
        live = self._frame(
            f'src="{url}" title="heldout, live" '
            'sandbox="allow-scripts allow-same-origin allow-downloads allow-popups"'
        )
        return (
            f"{live}<details><summary>Live at {link} while the kernel runs. Nothing above, because it has "
            "ended or runs elsewhere? Here is the run as it was when this was shown.</summary>"
            f"{report}</details>"
        )

    def _frame(self, attributes: str) -> str:
        return f'<iframe {attributes} style="width: 100%; height: {self.height}px; border: 0"></iframe>'

    def __repr__(self) -> str:
        return self.words


def show(run: str | Path, *, live: bool = False, height: int = HEIGHT) -> Shown:
    """Return the run for a notebook to display, in a frame of `height` pixels.

    `run` is what `heldout report` takes: a run's folder, a folder of runs (its latest), a journal, or another
    tool's log. With `live` its page is served on this machine and shown, until the notebook's process
    ends or `stop` is called on what is returned; that is for runs of heldout's own. Where the browser
    is likely to be elsewhere (`REMOTE`) the page is linked to and the report shown. Raises `HeldoutError`
    when there is nothing to read.
    """
    path = Path(run)
    if live:
        look_once(path)
    found = as_recorded(path)
    name = found.history.run.id if found.history.run else path.name
    folder = open_run(path).resolve().parent if live and is_journal(path) else None
    server = _served(folder.parent) if folder else None
    return Shown(
        report=html_report(name, found.history, time.time()),
        words="\n".join(verdict_lines(found.history)),
        height=height,
        url=f"{server.address}run/{quote(folder.name, safe='')}" if server and folder else "",
        remote=elsewhere(os.environ),
        stop=server.stop if server else lambda: None,
    )


def elsewhere(environment: Mapping[str, str]) -> str:
    """What says that the browser cannot show this machine's own pages; "" where nothing does."""
    return next((name for variable, name in REMOTE.items() if environment.get(variable)), "")


class _Server:
    """The live page of a folder of runs, in a process that ends when its input does."""

    def __init__(self, root: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "heldout.framed", str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # interrupting a cell interrupts the kernel's whole group
        )
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip()
        if not self.address:
            self.stop()
            raise HeldoutError(f"the live page of {root} cannot be served")

    @property
    def runs(self) -> bool:
        """Whether it still answers."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End it; an ended one stays so."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


_servers: dict[Path, _Server] = {}
"""By folder of runs; they end with this process."""


def _served(root: Path) -> _Server:
    server = _servers.get(root)
    if server is None or not server.runs:
        server = _servers[root] = _Server(root)
        atexit.register(server.stop)
    return server
