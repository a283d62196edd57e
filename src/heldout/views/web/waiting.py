"""Who waits for news of a file, and the one task that looks for it while anybody does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

KEEP_ALIVE_SECONDS = 15.0
"""After this long without news a connected page is told that there is none."""


class Waiting:
    """Pages that wait, woken together; `look` runs from the first that comes to the last that goes."""

    def __init__(self, look: Callable[[], Awaitable[None]]) -> None:
        self._look = look
        self._wakes: set[asyncio.Event] = set()
        self._looking: asyncio.Future[None] | None = None

    def __bool__(self) -> bool:
        """Whether anyone waits."""
        return bool(self._wakes)

    @contextmanager
    def joined(self) -> Iterator[asyncio.Event]:
        """Wait among the others; the event is set when there may be news. Clear it before looking."""
        wake = asyncio.Event()
        self._wakes.add(wake)
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._look())
        try:
            yield wake
        finally:
            self._wakes.discard(wake)
            if not self._wakes and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    def wake(self) -> None:
        """There may be news."""
        for wake in self._wakes:
            wake.set()


async def may_be_news(wake: asyncio.Event) -> bool:
    """Wait until there may be news; False when there was none for `KEEP_ALIVE_SECONDS`."""
    try:
        await asyncio.wait_for(wake.wait(), KEEP_ALIVE_SECONDS)
    except TimeoutError:
        return False
    return True
