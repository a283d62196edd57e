"""The live page for a notebook: a process of its own, which ends with the one that started it.

    python -m heldout.framed RUNS

It prints its address and serves until its input ends, which the system sees to however the notebook's
kernel ends, and looks meanwhile whether the runs' trainers live. A process and not a thread, so that
drawing takes no time from a training in that kernel.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from heldout.guard import Guard, guarding
from heldout.views.web.app import serve


def main(runs: Path) -> None:
    """Serve `runs` on a free port of this machine, to be framed by its pages."""
    threading.Thread(target=_end_with_the_input, daemon=True).start()
    with guarding(Guard(runs)):
        serve(runs, framed=True, ready=lambda address: print(address, flush=True))


def _end_with_the_input() -> None:
    while sys.stdin.buffer.read(1):
        pass
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
