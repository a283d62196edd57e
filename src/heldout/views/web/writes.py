"""Which requests may change something: those a page of ours sends, and no other site's.

A browser sends a request of another site with our cookies, but it cannot read our answers, and it
names the site it comes from. So a write needs the number that `/api/runs` gives away only to who can
read it, in a header that no plain form can set, and an origin that is our own.
"""

from __future__ import annotations

import json
from hmac import compare_digest
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request

HEADER = "x-heldout-write"
MOST_BYTES = 1 << 15


async def read_write(request: Request, key: str) -> dict[str, Any]:
    """Return the JSON object a page of ours has sent.

    Raises `HTTPException`: 403 for another site's request, 413 for a body above `MOST_BYTES`, 415 and
    400 for one that is no JSON object.
    """
    if not _is_ours(request, key):
        raise HTTPException(403, "this request does not come from this server's own page")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "send application/json")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"at most {MOST_BYTES:,} bytes are taken")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body is not JSON") from None
    if not isinstance(value, dict):
        raise HTTPException(400, "the body is no JSON object")
    return value


def _is_ours(request: Request, key: str) -> bool:
    if not compare_digest(request.headers.get(HEADER, "").encode(), key.encode()):
        return False
    site = request.headers.get("sec-fetch-site")  # no script can set it; a proxy leaves it alone
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")
