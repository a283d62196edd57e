"""What a user says about notifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from heldout.errors import ConfigError
from heldout.records import Level

LEVELS: tuple[Level, ...] = get_args(Level)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyOptions:
    """Where alerts are sent; `heldout settings` explains each field under `notify.*`.

    `urls` are Apprise addresses. They often hold a password or token, so they are never shown nor
    recorded. Raises `ConfigError` for what is no list of addresses, or no level.
    """

    urls: Sequence[str] = field(default=(), repr=False)
    level: Level = "warning"
    link: str | None = field(default=None, repr=False)
    dry_run: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.urls, str):
            raise ConfigError("notify.urls must be a list of addresses, found one text")
        wrong = [
            f"notify.urls, address {i}: must be text like 'slack://...', found {type(url).__name__}"
            for i, url in enumerate(self.urls, 1)
            if not isinstance(url, str)
        ]
        if self.level not in LEVELS:
            wrong.append(f"notify.level must be one of {', '.join(LEVELS)}, found {self.level!r}")
        if wrong:
            raise ConfigError("\n".join(wrong))

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> NotifyOptions:
        """The options among settings by dotted name (`notify.urls`)."""
        names = ("urls", "level", "link", "dry_run")
        return cls(**{name: settings[f"notify.{name}"] for name in names})

    @property
    def wanted(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.urls) or self.dry_run
