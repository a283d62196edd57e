"""Who may read the page: the Host check, the token, and the headers every answer carries.

The server shows prompts, paths and settings of a training run, so another web site must not be
able to read it. What keeps it out: the name in `Host` must be one we answer to (a DNS rebinding attack
arrives under a foreign name), every address beyond this machine needs the token, what another
site's page asks for is refused, and no answer allows another origin, an inline script or a frame.
"""

from __future__ import annotations

import hashlib
import html
import ipaddress
import re
from collections.abc import Collection, Mapping
from hmac import compare_digest
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
MOST_TARGET_BYTES = 1 << 14
"""The longest address that is answered, its query included; eight long names make half of it."""
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9_.-]+))(?::[0-9]{1,5})?")

REMEDY = " (behind a proxy, start it as: heldout ui --public URL)"
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'self'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


FRAMED_BY = "http://localhost:* http://127.0.0.1:* https://localhost:* https://127.0.0.1:*"
"""Who may frame a page that a notebook shows: other pages of this machine."""


class Guard:
    """ASGI middleware that lets through only requests for us, from someone who may read.

    Answers 400 to a foreign `Host`, 401 to a missing or wrong token, 403 to another site's page and
    414 to an address above `MOST_TARGET_BYTES`. `?token=` is taken once: it becomes a cookie no
    script can read, and the address bar loses it; a `secure` one is sent over TLS alone. Only where
    the page is `framed` may another page hold it, and only one of this machine.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None,
        hosts: Collection[str],
        framed: bool = False,
        secure: bool = False,
    ) -> None:
        self.app = app
        self.headers = headers_of(framed=framed)
        self.token = token
        self.secure = secure
        self.hosts = LOOPBACK | {host.lower().strip("[]") for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        app = refusal if refusal is not None else self.app
        await app(scope, receive, _with_headers(send, self.headers))

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        named = headers.getlist("host")
        if len(named) != 1 or not self._is_ours(host_name(named[0])):
            text = "this server does not answer to that host name" + REMEDY
            return JSONResponse({"error": text}, 400)
        target = scope.get("raw_path") or scope["path"].encode()
        if len(target) + len(scope["query_string"]) > MOST_TARGET_BYTES:
            return JSONResponse({"error": "this address is too long"}, 414)
        if _is_another_site(headers):
            return JSONResponse({"error": "another site's page may not ask for this"}, 403)
        if self.token is None:
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        offered = dict(query).get("token")
        if offered is not None and _same(offered, self.token):
            return self._welcome(scope["path"], [pair for pair in query if pair[0] != "token"])
        if self._is_known(headers):
            return None
        return _unauthorized(scope["path"])

    def _is_ours(self, name: str) -> bool:
        # An address cannot be rebound, only a name can; so with a token any address is ours.
        return name in self.hosts or (self.token is not None and _is_address(name))

    def _is_known(self, headers: Headers) -> bool:
        assert self.token is not None
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return _same(bearer, self.token)
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except CookieError:
            return False
        cookie = cookies.get(cookie_name(self.token))
        return cookie is not None and _same(cookie.value, self.token)

    def _welcome(self, path: str, query: list[tuple[str, str]]) -> Response:
        """Set the cookie and go to the same page without the token in its address.

        A page that refreshes rather than a redirect: a redirect that began on another site would
        not carry a SameSite=Strict cookie. The target is relative, so a sub-path survives.
        """
        assert self.token is not None
        target = "./" + quote(path.rpartition("/")[2])
        if query:
            target += "?" + urlencode(query)
        page = (
            '<!doctype html><meta charset="utf-8"><title>heldout</title>'
            f'<meta http-equiv="refresh" content="0; url={html.escape(target)}">'
        )
        response = HTMLResponse(page)
        response.set_cookie(
            cookie_name(self.token),
            self.token,
            httponly=True,
            samesite="strict",
            secure=self.secure,
            path="/",
        )
        return response


def host_name(host: str) -> str:
    """Return the lower-case name in a `Host` header, without port or brackets; "" for no such header."""
    found = _HOST.fullmatch(host.strip().lower())
    return (found[1] or found[2]) if found else ""


def is_loopback(host: str) -> bool:
    """Tell whether `host` can be reached from this machine only."""
    return host.lower().strip("[]") in LOOPBACK


def cookie_name(token: str) -> str:
    """Name the cookie after its token: cookies ignore ports, and two servers must not collide."""
    return "heldout-" + hashlib.sha256(token.encode()).hexdigest()[:8]


def _is_another_site(headers: Headers) -> bool:
    """Whether a page of another origin asks for a part of ours; to be opened as a page is its right.

    No script can set these headers, and a program that is no browser sends none.
    """
    site, mode = headers.get("sec-fetch-site"), headers.get("sec-fetch-mode")
    return site in ("cross-site", "same-site") and mode != "navigate"


def _same(offered: str, token: str) -> bool:
    return compare_digest(offered.encode(), token.encode())


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _unauthorized(path: str) -> Response:
    text = "this page needs its token: open the full address that `heldout ui` printed"
    if "/api/" in path:
        return JSONResponse({"error": text}, 401)
    page = f'<!doctype html><meta charset="utf-8"><title>heldout</title><p>{html.escape(text)}</p>'
    return HTMLResponse(page, 401)


def headers_of(*, framed: bool) -> dict[str, str]:
    """The headers of every answer; of a `framed` page they name who may frame it."""
    if not framed:
        return SECURITY_HEADERS
    policy = SECURITY_HEADERS["Content-Security-Policy"]
    allowed = policy.replace("frame-ancestors 'none'", f"frame-ancestors {FRAMED_BY}")
    return SECURITY_HEADERS | {"Content-Security-Policy": allowed}


def _with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            answered = MutableHeaders(scope=message)
            for name, value in headers.items():
                answered[name] = value
            answered.setdefault("Cache-Control", "no-store")
        await send(message)

    return wrapped
