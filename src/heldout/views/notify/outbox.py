"""What waits to be sent to one address: never more than fits, sent by a thread that nobody waits for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from heldout.views.notify.message import Change, Message

log = logging.getLogger("heldout")

CAPACITY = 100
"""Changes that wait at most; the others are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast messages follow each other, in seconds."""

    gather: float = 1.0
    """Changes this soon after the first are told with it."""
    pause: float = 5.0
    """Between two messages: services refuse those who send faster than about one a second."""
    retries: tuple[float, ...] = (2.0, 5.0, 15.0, 60.0, 180.0, 300.0)
    """Waits before each further try; after the last, some ten minutes, what waited is given up."""


class Outbox:
    """Sends changes to one address from a thread of its own.

    `put` returns at once whatever the network does. Changes that wait are sent as one message. The
    thread is a daemon: a process that ends waits for it no longer than `close` says.
    """

    def __init__(
        self,
        name: str,
        send: Callable[[Message], bool],
        render: Callable[[Sequence[Change], int], Message],
        pace: Pace | None = None,
    ) -> None:
        self.name = name
        self._send = send
        self._render = render
        self._pace = pace or Pace()
        self._waiting: list[Change] = []
        self._untold = 0
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False

    def start(self) -> None:
        """Start the thread, unless it runs: an interpreter that ends lets no thread begin."""
        with self._change:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)
                self._thread.start()

    def put(self, change: Change) -> None:
        """Leave a change to be sent."""
        self.start()
        with self._change:
            if len(self._waiting) < CAPACITY:
                self._waiting.append(change)
                self._change.notify_all()
            else:
                self._untold += 1

    def drain(self, seconds: float) -> None:
        """Wait until everything is sent or given up, for `seconds` at most."""
        with self._change:
            self._change.wait_for(lambda: not self._waiting, max(0.0, seconds))

    def close(self, seconds: float) -> None:
        """Try once more to send what waits, without any pause, and wait `seconds` for that at most."""
        with self._change:
            self._closing = True
            self._change.notify_all()
        self.drain(seconds)

    def _work(self) -> None:
        free_at, failed = 0.0, 0
        while self._is_needed():
            with self._change:
                delay = max(self._pace.gather, free_at - time.monotonic())
                self._change.wait_for(lambda: self._closing, delay)
                last = self._closing or failed >= len(self._pace.retries)
                changes, untold = tuple(self._waiting), self._untold
            sent = self._sent(changes, untold)
            if last and not sent:
                log.warning("%d notifications to %s could not be sent", len(changes), self.name)
            with self._change:
                pause = self._pace.pause if sent or last else self._pace.retries[failed]
                failed = 0 if sent or last else failed + 1
                free_at = time.monotonic() + pause
                if sent or last:
                    del self._waiting[: len(changes)]
                    self._untold += -untold if sent else len(changes)
                    self._change.notify_all()

    def _is_needed(self) -> bool:
        """Wait for a change; False when none can come any more."""
        with self._change:
            self._change.wait_for(lambda: self._waiting or self._closing)
            if not self._waiting:
                self._thread = None
            return bool(self._waiting)

    def _sent(self, changes: Sequence[Change], untold: int) -> bool:
        try:
            return self._send(self._render(changes, untold))
        except Exception as error:  # its text may hold the address, and that a password
            log.warning("sending to %s failed: %s", self.name, type(error).__name__)
            return False
