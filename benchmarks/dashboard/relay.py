"""A relay between a browser and a server that counts what the server sends, streams included."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from serving import free_port

BLOCK = 65536


@dataclass(slots=True, kw_only=True)
class Relay:
    """The port to connect to, and the bytes that have come from the server so far."""

    port: int
    sent_bytes: int = 0

    async def _serve(self, to: int, ready: threading.Event) -> None:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", to)
                await asyncio.gather(
                    self._copy(reader, inner_writer, counted=False),
                    self._copy(inner_reader, writer, counted=True),
                )

        async with await asyncio.start_server(connected, "127.0.0.1", self.port):
            ready.set()
            await asyncio.Event().wait()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(BLOCK):
                self.sent_bytes += len(data) * counted
                writer.write(data)
                await writer.drain()
        writer.close()


@contextmanager
def relay(to: int) -> Iterator[Relay]:
    """Relay to the server on port `to` from a thread."""
    found = Relay(port=free_port())
    loop, ready = asyncio.new_event_loop(), threading.Event()
    task = loop.create_task(found._serve(to, ready))

    def run() -> None:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        for left in asyncio.all_tasks(loop):
            left.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    try:
        yield found
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
