"""How fast, how light and how true the dashboard is, beside other trackers' on the same numbers.

    python benchmarks/dashboard --size 100k
    python benchmarks/dashboard --size all --repeats 3 --out dashboard.json --env mlflow=VENV
    python benchmarks/dashboard --size 1m20 --peers heldout --parts first_metrics,first_picture

Every dashboard serves the same numbers from a store of its own: 100,000 steps of 20 scalars, a
million of one, a million of 20. In every repeat each takes its turn, on a freshly started server. A
peer gets a virtual environment of its own under `--work`, made when it is not there, or the one that
`--env` names; its store is filled by the fastest way it has, and kept. What takes longer than
`--limit` is reported as not finished. The page cache is warm; what heldout's server keeps beside a
journal is removed before every start. Pages are drawn by a headless Chromium on the CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from browser import TALL, WINDOW, chromium
from environments import python_of, version
from frames import pan_and_zoom
from idle import idle_tab
from live import log_to_pixel
from oddities import in_answers, in_pixels
from opening import first_metrics, first_picture
from peers import Peer
from playwright.sync_api import Browser
from playwright.sync_api import Error as BrowserError
from serving import NotFinished
from table import markdown
from tabs import hundred_tabs
from tools import PEERS
from workload import LIVE, SIZES, Size

REPEATED = ("first_metrics", "first_picture", "whole_picture")
"""Parts that are timed, and therefore measured in every repeat; the others are measured once."""
HELDOUT_ONLY = ("in_pixels", "hundred_tabs", "pan_and_zoom")

Part = Callable[[Peer, Browser, float], Any]
Readings = dict[str, dict[str, list[Any]]]
PARTS: Mapping[str, Part] = {
    "first_metrics": lambda peer, _, limit: first_metrics(peer, limit),
    "first_picture": lambda peer, browser, limit: first_picture(peer, browser, WINDOW, limit),
    "whole_picture": lambda peer, browser, limit: first_picture(peer, browser, TALL, limit),
    "in_answers": lambda peer, _, limit: in_answers(peer, limit),
    "in_pixels": in_pixels,
    "idle_tab": idle_tab,
}
"""What is measured at every size."""
ONCE: Mapping[str, Part] = {
    "log_to_pixel": lambda peer, browser, limit: log_to_pixel(peer.on(LIVE), browser, limit),
    "hundred_tabs": lambda peer, browser, limit: hundred_tabs(peer.on(LIVE), browser, limit),
    "pan_and_zoom": pan_and_zoom,
}
"""What is measured once: on live runs, and on the first size."""


def measure(
    peers: Mapping[str, Peer],
    parts: Mapping[str, Part],
    repeats: int,
    limit_seconds: float,
    readings: Readings,
    save: Callable[[], None],
) -> None:
    """Give every dashboard its turn; `readings` are by title, then by part, and saved after each."""
    readings.update({title: {} for title in peers})
    with chromium() as browser:
        for name, part in parts.items():
            for repeat in range(repeats if name in REPEATED else 1):
                for title, peer in peers.items():
                    if name in HELDOUT_ONLY and peer.name != "heldout":
                        continue
                    say(f"{peer.size.name}: {name} {repeat + 1}: {title}")
                    peer.forget()
                    work = partial(part, peer, browser, limit_seconds)
                    readings[title].setdefault(name, []).append(attempt(work))
                    save()
    say("")


def fill(peer: Peer, limit_seconds: float) -> None:
    """Fill a store and start its server once: some finish their storage's work only then."""
    if peer.fill(limit_seconds) and peer.name != "heldout":
        first_metrics(peer, limit_seconds)


def found(name: str, work: Path, size: Size, venvs: Mapping[str, Path]) -> tuple[str, Peer]:
    """Return a dashboard and its title. Raises `NotFinished` where it cannot be installed."""
    if name == "heldout":
        return "heldout", PEERS[name](work, size, Path(sys.executable))
    package = PEERS[name].package
    python = python_of(package, venvs.get(name, work / "environments" / name))
    return f"{name} {version(package, python)}", PEERS[name](work, size, python)


def attempt(work: Callable[[], Any]) -> Any:
    """Do it, or say in one field why it failed."""
    try:
        return work()
    except (NotFinished, BrowserError, OSError, ValueError, LookupError) as error:
        traceback.print_exc()
        return {"failed": str(error).strip().splitlines()[-1] or type(error).__name__}


def say(what: str) -> None:
    print(f"\r\x1b[K{what}", end="", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=[*SIZES, "all"], default="100k")
    parser.add_argument("--peers", help="names with commas between them", default=",".join(PEERS))
    parts = ",".join((*PARTS, *ONCE))
    parser.add_argument("--parts", help=f"the same, of what to measure: {parts}", default=parts)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for any one thing")
    parser.add_argument("--fill-limit", type=float, default=900.0, help="seconds to fill a store")
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="PEER=VENV",
        help="a virtual environment that has the peer; repeatable",
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir()) / "heldout-dashboard",
        help="folder of the numbers, the stores and the environments; what is there is used again",
    )
    parser.add_argument("--out", type=Path, help="write the readings there as JSON")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers end as well
    sizes = list(SIZES.values()) if given.size == "all" else [SIZES[given.size]]
    asked = given.parts.split(",")
    readings: dict[str, Any] = {"when": time.strftime("%Y-%m-%d %H:%M"), "machine": machine()}
    print(readings["machine"], flush=True)

    def save() -> None:
        readings["machine at the end"] = machine()
        if given.out:
            given.out.write_text(json.dumps(readings, indent=1) + "\n")

    for size in sizes:
        failures: Readings = {}
        of_size = {name: part for name, part in PARTS.items() if name in asked}
        of_all = {name: part for name, part in ONCE.items() if name in asked}
        peers = ready(size, given, failures, filled=bool(of_size))
        if of_size:
            readings[size.name] = of_peers = {**failures}
            measure(peers, of_size, given.repeats, given.limit, of_peers, save)
            print(f"\n{markdown(size.title, of_peers)}\n{machine()}", flush=True)
        if of_all and size == sizes[0]:
            live: Readings = {}
            readings["live"] = live
            measure(peers, of_all, 1, given.limit, live, save)
            title = f"Live, and gestures at {size.title}"
            print(f"\n{markdown(title, live)}\n{machine()}", flush=True)


def ready(
    size: Size, given: argparse.Namespace, failures: Readings, *, filled: bool
) -> dict[str, Peer]:
    """Return the dashboards by title, `filled` their stores; what cannot be filled is a failure."""
    venvs = {name: Path(venv) for name, _, venv in (each.partition("=") for each in given.env)}
    peers = {}
    for name in given.peers.split(","):
        say(f"{size.name}: filling {name}")
        try:
            title, peer = found(name, given.work.absolute(), size, venvs)
        except NotFinished as error:
            print(f"\r{name}: {error}")
            continue
        reading = attempt(partial(fill, peer, given.fill_limit)) if filled else None
        if reading is None:
            peers[title] = peer
        else:
            failures[title] = {"first_metrics": [reading]}
    return peers


def machine() -> str:
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}"


if __name__ == "__main__":
    main()
