"""The address at which a proxy shows the page: what people open, and what browsers call its origin."""

from __future__ import annotations

import re
from dataclasses import dataclass

from heldout.errors import ConfigError

_URL = re.compile(
    r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::([0-9]{1,5}))?(/[a-z0-9._~%/@:+,=-]*)?", re.I
)
_USUAL = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Public:
    """A page's address, taken apart."""

    host: str
    """Lower case, without port or brackets, as `heldout.views.web.guard.host_name` gives it."""
    origin: str
    """As browsers write it: scheme, host, and the port where it is not the scheme's own."""
    path: str
    """With a slash at both ends."""

    @property
    def address(self) -> str:
        """The whole address."""
        return self.origin + self.path

    @property
    def is_secure(self) -> bool:
        """Whether it is reached over TLS."""
        return self.origin.startswith("https:")

    @classmethod
    def of(cls, url: str) -> Public:
        """Take `url` apart. Raises `ConfigError` where it is no plain http(s) address."""
        found = _URL.fullmatch(url.strip())
        if found is None or not 1 <= int(found[3] or 1) <= 65535:
            raise ConfigError(
                f"public address {url!r}: give the whole address that people open, without ? and #, "
                "like https://gpu.example.org/heldout/"
            )
        scheme, host, port = found[1].lower(), found[2].lower(), found[3]
        port = "" if port is None or int(port) == _USUAL[scheme] else f":{int(port)}"
        path = (found[4] or "/").rstrip("/") + "/"
        return cls(host=host.strip("[]"), origin=f"{scheme}://{host}{port}", path=path)
