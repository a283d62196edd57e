"""Many pages that follow one run, without browsers: each reads the event stream and notes the steps.

    python clients.py PORT PATH COUNT SECONDS OUT.json

Leaves in OUT a list a client of [step, time]: the latest step of each event, and when it was read.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from pathlib import Path

LONGEST_LINE = 1 << 24
BETWEEN_SECONDS = 0.02


async def follow(port: int, path: str, until: float) -> list[tuple[int, float]]:
    """Read events until the time is up."""
    seen: list[tuple[int, float]] = []
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=LONGEST_LINE)
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: text/event-stream\r\n\r\n"
    writer.write(head.encode())
    try:
        while (left := until - time.time()) > 0:
            line = await asyncio.wait_for(reader.readline(), left)
            if not line:
                break
            if line.startswith(b"data:"):
                seen.append((latest_step(line), time.time()))
    except TimeoutError:
        pass
    finally:
        writer.close()
    return seen


def latest_step(data: bytes) -> int:
    """Return the latest step an event tells of; the one place that knows the form of events."""
    return max(map(int, re.findall(rb'"step":\s*(\d+)', data)), default=0)


async def main() -> None:
    port, path, count, seconds, out = sys.argv[1:]
    until = time.time() + float(seconds)
    tasks = []
    for _ in range(int(count)):
        tasks.append(asyncio.create_task(follow(int(port), path, until)))
        await asyncio.sleep(BETWEEN_SECONDS)
    Path(out).write_text(json.dumps(await asyncio.gather(*tasks)))


if __name__ == "__main__":
    asyncio.run(main())
