"""Addresses as things to send by: Apprise, or the terminal for a dry run."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from heldout.errors import ConfigError
from heldout.views.notify.message import Message
from heldout.views.notify.options import NotifyOptions

READ_SECONDS = 20.0
"""An answer is waited for this long: a slow service that is given up may have sent, and sends twice."""
TYPES = {"info": "info", "warning": "warning", "error": "failure", "critical": "failure"}
TALKATIVE = ("apprise", "urllib3.connectionpool", "urllib3.connection", "urllib3.util.retry")
"""Loggers that name addresses, and with them passwords."""

Channel = tuple[str, Callable[[Message], bool]]
"""A name that shows no secret, and what sends a message and says whether that worked."""

_sending = threading.local()


def channels(options: NotifyOptions) -> list[Channel]:
    """Return what sends to each address, or prints where nothing shall be sent.

    Raises `ConfigError` when Apprise is missing, and naming every address it cannot use, by number
    and kind and never by its text.
    """
    if not options.urls:
        return [("the terminal", _print)] if options.dry_run else []
    try:
        import apprise
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"notify.urls needs the package {error.name}. "
            "Install it with: pip install 'heldout[notify]'"
        ) from None
    _hush()
    names, senders, wrong = [], [], []
    for number, url in enumerate(options.urls, 1):
        names.append(f"address {number} ({kind(url)})")
        sender = _sender(apprise, url)
        if sender is None:
            wrong.append(
                f"notify.urls, address {number}: Apprise cannot use it as {kind(url)}. "
                "Its form is at https://github.com/caronc/apprise/wiki"
            )
        else:
            senders.append(sender)
    if wrong:
        raise ConfigError("\n".join(wrong))
    if options.dry_run:
        return [(", ".join(names), _print)]
    return list(zip(names, senders, strict=True))


def kind(url: str) -> str:
    """The kind of an address, such as `slack://`, without anything of what it holds."""
    scheme, colon, _ = url.partition("://")
    plain = scheme.isascii() and scheme.replace("+", "").isalnum() and len(scheme) < 20
    return f"{scheme}://" if colon and plain else "an address without a kind"


def _sender(apprise: Any, url: str) -> Callable[[Message], bool] | None:
    # Without a limit of its own Apprise sends from the calling thread: its pool would outlive ours.
    asset = apprise.AppriseAsset(app_id="heldout", async_mode=False, service_timeout=0)
    address = apprise.Apprise(asset=asset)
    with _quietly():
        if not address.add(url):
            return None
    for service in address:
        service.socket_read_timeout = max(READ_SECONDS, service.socket_read_timeout)

    def send(message: Message) -> bool:
        with _quietly():
            return bool(
                address.notify(
                    title=message.title,
                    body=message.body,
                    notify_type=TYPES[message.level],
                    body_format="text",
                )
            )

    return send


def _print(message: Message) -> bool:
    print(f"notification (dry run): {message.title}\n{message.body}\n", flush=True)
    return True


@contextmanager
def _quietly() -> Iterator[None]:
    _sending.now = True
    try:
        yield
    finally:
        _sending.now = False


def _is_ours(record: logging.LogRecord) -> bool:
    return not getattr(_sending, "now", False)


def _hush() -> None:
    """Keep what libraries log while they send for us out of every log."""
    for name in TALKATIVE:
        logging.getLogger(name).addFilter(_is_ours)
