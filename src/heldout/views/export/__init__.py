"""A run in another format; one exporter a file, each with one constant `EXPORTER`."""

from __future__ import annotations

import sys

from heldout.folder import load
from heldout.views.exporter import Exporter

EXPORTERS: dict[str, Exporter] = {
    each.name: each for each in load(sys.modules[__name__], "EXPORTER")
}
