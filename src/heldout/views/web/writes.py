"""What pages may write, and which requests may: those a page of ours sends, and no other site's.

A browser sends a request of another site with our cookies, but it cannot read our answers, and it
names the site it comes from. So a write needs the number that `/api/runs` gives away only to who can
read it, in a header that no plain form can set, and an origin that is our own.
"""

from __future__ import annotations

import json
from hmac import compare_digest
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request

from heldout.derive.history import History
from heldout.errors import ConfigError, HeldoutError
from heldout.records import Verdict
from heldout.store.annotations import Annotation, Opening, acknowledge, annotate, read_annotation
from heldout.views.web.guard import REMEDY

HEADER = "x-heldout-write"
MOST_BYTES = 1 << 15
ACTIVE = ("open", "escalated")
OF_ALERTS = ("acknowledge", "withdraw")
"""Each is `{rule, scope, step}`: the opening of an alert that somebody has seen, or has not after all."""


async def read_write(request: Request, key: str, public: str = "") -> dict[str, Any]:
    """Return the JSON object a page of ours has sent, from `public` too, its origin behind a proxy.

    Raises `HTTPException`: 403 for another site's request, 413 for a body above `MOST_BYTES`, 415 and
    400 for one that is no JSON object.
    """
    if not _is_ours(request, key, public):
        raise HTTPException(403, "this request does not come from this server's own page" + REMEDY)
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


def write_down(folder: Path, said: dict[str, Any]) -> dict[str, Any]:
    """Keep the tags and the note that a page has sent, and return them as they stand now.

    Raises `ConfigError` for what is none, `DataError` for too much, `HeldoutError` where the file
    cannot be written.
    """
    tags, note = said.get("tags", []), said.get("note", "")
    if not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        raise ConfigError("tags must be a list of texts")
    if not isinstance(note, str):
        raise ConfigError("the note must be a text")
    stands = annotate(folder, tags, note)
    return {"tags": stands.tags, "note": stands.note}


def write_seen(folder: Path, said: dict[str, Any], history: History) -> dict[str, Any]:
    """Keep that an alert was acknowledged, or no more so, and return what stands now.

    Raises as `write_down` does, and `HeldoutError` where the alert is not, or no longer, open so.
    """
    withdraw = "withdraw" in said
    named = said["withdraw" if withdraw else "acknowledge"]
    if not isinstance(named, dict):
        raise ConfigError("an alert is named by its rule, scope and step")
    rule, scope, step = (named.get(name) for name in ("rule", "scope", "step"))
    if not (isinstance(rule, str) and isinstance(scope, str) and type(step) is int):
        raise ConfigError("an alert is named by its rule, scope and step")
    alert = history.alerts.get((rule, scope))
    if alert is None or alert.state not in ACTIVE or alert.step != step:
        raise HeldoutError("this alert has changed since; look at it again")
    return _told(acknowledge(folder, Opening.of(alert), withdraw=withdraw), history)


def what_stands(folder: Path, history: History) -> dict[str, Any]:
    """The tags, the note, and which of the alerts that are open now were acknowledged, and when."""
    return _told(read_annotation(folder), history)


def _told(stands: Annotation, history: History) -> dict[str, Any]:
    seen = [
        {"rule": alert.rule, "scope": alert.scope, "step": alert.step, "time": time}
        for alert in history.alerts.values()
        if (time := _seen_at(alert, stands)) is not None
    ]
    return {"tags": stands.tags, "note": stands.note, "acknowledged": seen}


def _seen_at(alert: Verdict, stands: Annotation) -> float | None:
    """When this opening was acknowledged; None where it was not, or the alert is not open."""
    return stands.acknowledged.get(Opening.of(alert)) if alert.state in ACTIVE else None


def _is_ours(request: Request, key: str, public: str) -> bool:
    if not compare_digest(request.headers.get(HEADER, "").encode(), key.encode()):
        return False
    site = request.headers.get("sec-fetch-site")  # no script can set it; a proxy leaves it alone
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    if origin is None or (public and origin == public):  # a proxy may put another Host in
        return True
    return urlsplit(origin).netloc == request.headers.get("host")
