"""The report as one HTML file: the page's own panels with the run inside, and no request to anywhere.

The script and the styles are the ones built from `web/`; the run stands in the file as JSON that is never
executed. The file's own policy names both by hash and forbids everything else, so text from the run
stays text. Without a script the verdict is there in words.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from heldout.derive.history import History
from heldout.errors import HeldoutError
from heldout.records import encode
from heldout.views.report.examples import examples_data
from heldout.views.report.text import verdict_lines
from heldout.views.series import thinned
from heldout.views.snapshot import lora, snapshot

BUILT = Path(__file__).parent / "static"
READINGS_BYTES = 2_000_000
"""Most that the earlier readings of the layers may take; of more, evenly spread ones are held."""

_ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>"
    "<rect width='16' height='16' rx='4' fill='#1f6aa5'/></svg>"
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="heldout {version}">
<title>{title}</title>
<link rel="icon" href="data:image/svg+xml;base64,{icon}">
<style>{style}</style>
</head>
<body>
<div id="page"></div>
<noscript><pre>{words}</pre></noscript>
<script type="application/json" id="heldout-data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def html_report(
    name: str,
    history: History,
    written: float,
    *,
    built: Path = BUILT,
    examples_from: Path | None = None,
) -> str:
    """Return the file for the run called `name`, as of `written` (Unix seconds).

    With the run's folder as `examples_from` it holds the Examples page too; else it says that it does not.
    Raises `HeldoutError` when the page was not built.
    """
    try:
        script = (built / "report.js").read_text("utf-8")
        style = (built / "report.css").read_text("utf-8")
    except OSError as error:
        raise HeldoutError(
            f"{error.filename}: the report's page is not built. In a source checkout: make web"
        ) from error
    # Inside the element: no end tag, and nothing that HTML takes for the begin of a comment.
    script = re.sub(r"<(?=/script|!--)", r"\\x3c", script, flags=re.IGNORECASE)
    style = re.sub(r"</(?=style)", r"<\\/", style, flags=re.IGNORECASE)
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    data = encode(report_data(name, history, written, examples_from=examples_from)).decode()
    return _PAGE.format(
        policy=policy,
        version=version("heldout"),
        title=html.escape(_readable(f"{name} · heldout report")),
        icon=base64.b64encode(_ICON.encode()).decode(),
        style=style,
        words=html.escape(_readable("\n".join(verdict_lines(history)))),
        data=data.replace("<", "\\u003c"),
        script=script,
    )


def report_data(
    name: str, history: History, written: float, *, examples_from: Path | None = None
) -> dict[str, Any]:
    """What the file holds: the run as the server would send it, and what its panels would ask for."""
    run = {
        "id": name,
        "snapshot": snapshot(history),
        "series": thinned(history),
        "thinned": False,  # nothing finer can be asked for
        "cursor": 0,
        "now": written,
        "exports": [],
    }
    return {
        "run": run,
        "answers": _layers(name, history),
        "examples": examples_data(history, examples_from) if examples_from else None,
        "written": written,
    }


def _layers(name: str, history: History) -> dict[str, Any]:
    """The earlier readings of the layers, by the path the page asks for them."""
    readings = history.layers
    if not readings:
        return {}
    size = len(encode(lora(readings)))
    most = max(1, READINGS_BYTES // size)
    every = -(-len(readings) // most)
    path = f"api/runs/{_component(name)}/layers"
    ends = range(len(readings), 0, -every)
    return {f"{path}/{readings[end - 1].step}": lora(readings[:end]) for end in ends}


def _component(text: str) -> str:
    """What the page's `encodeURIComponent` makes of a name."""
    return quote(_readable(text), safe="!'()*")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _readable(text: str) -> str:
    """`text` without what UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode()
