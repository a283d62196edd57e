"""A folder with a recorded run, and a server on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from recorded_run import recorded, write
from serving import serving


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder of runs with the recorded one in it."""
    root = tmp_path / "runs"
    write(root / "first", recorded())
    return root


@pytest.fixture
def server(runs: Path) -> Iterator[str]:
    with serving(runs) as address:
        yield address
