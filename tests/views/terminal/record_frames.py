"""Write the frames that test_watch.py compares with; look at what changed before you keep it."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]
sys.path += [str(TESTS), str(TESTS / "views" / "web")]

from test_watch import CASES, CLOCK, FRAMES, SIZES, shown, text  # noqa: E402

from heldout.views.terminal.watch_frame import frame  # noqa: E402

for case, records in CASES.items():
    for width, height in SIZES:
        lines = frame(shown(records()), CLOCK, width, height)
        (FRAMES / f"{case}-{width}x{height}.txt").write_text(text(lines), "utf-8")
