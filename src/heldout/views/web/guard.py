"""Who may read the page: the Host check, the token, and the headers every answer carries.

The server shows prompts, paths and settings of a training run, so another web site must not be
able to read it. Three things keep it out: the name in `Host` must be one we answer to (a DNS
rebinding attack arrives under a foreign name), every address beyond this machine needs the token,
and no answer allows another origin, an inline script or a frame.
"""

from __future__ import annotations

import hashlib
import html
import ipaddress
from collections.abc import Collection
from hmac import compare_digest
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

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


class Guard:
    """ASGI middleware that lets through only requests for us, from someone who may read.

    Answers 400 to a foreign `Host` and 401 to a missing or wrong token. `?token=` is taken once:
    it becomes a cookie no script can read, and the address bar loses it.
    """

    def __init__(self, app: ASGIApp, *, token: str | None, hosts: Collection[str]) -> None:
        self.app = app
        self.token = token
        self.hosts = LOOPBACK | {host.lower().strip("[]") for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass the request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        app = refusal if refusal is not None else self.app
        await app(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if not self._is_ours(host_name(headers.get("host", ""))):
            return JSONResponse({"error": "this server does not answer to that host name"}, 400)
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
            cookie_name(self.token), self.token, httponly=True, samesite="strict", path="/"
        )
        return response


def host_name(host: str) -> str:
    """Return the lower-case name in a `Host` header, without port or brackets."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def is_loopback(host: str) -> bool:
    """Tell whether `host` can be reached from this machine only."""
    return host.lower().strip("[]") in LOOPBACK


def cookie_name(token: str) -> str:
    """Name the cookie after its token: cookies ignore ports, and two servers must not collide."""
    return "heldout-" + hashlib.sha256(token.encode()).hexdigest()[:8]


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


def _with_headers(send: Send) -> Send:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return wrapped
