"""One conversation that ends with its golden answer: what a row of a file is once it is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]
"""`role` and `content` (text), and where the data has them `reasoning_content`, `reasoning` or
`thinking` (text), `tool_calls` (list), `name` and `tool_call_id`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Which fields hold what; None detects them by their usual names."""

    prompt: str | None = None
    response: str | None = None
    references: str | None = None
    group: str | None = None
    section: str = "eval"
    """The section of the settings that these come from, for messages: eval or data."""

    def remedy(self, what: str, key: str) -> str:
        """How to say that `key` holds the prompt or the response."""
        command = "heldout check " if self.section == "data" else ""
        return f"({self.section}.{what}_key: {key}; {command}--{what}-key {key})"


DETECT = Keys()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One conversation that ends with the golden response, and what its line says about it."""

    line: int
    """Its line, or its number where it stands on none of its own: from 1."""
    messages: tuple[Message, ...]
    pattern: str | None = None
    """The label of its pattern, where the file gives one."""
    references: tuple[str, ...] = ()
    """Further accepted answers besides the golden response."""
    group: str = ""
    """The source it shares with other rows, which are then not independent; "" is its own."""
    path: str = ""
    turn: int = 0
    """Which of its line's assistant turns this is, from 1; 0 where the line gives one row."""
    tools: tuple[dict[str, Any], ...] = ()
    """The tools that it offers, as JSON schemas."""
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the chat template that it gives (`chat_template_kwargs`)."""

    @property
    def prompt(self) -> str:
        """The user's words that patterns are recognised by."""
        return "\n".join(m["content"] for m in self.messages[:-1] if m["role"] == "user")

    @property
    def response(self) -> str:
        """The golden response; its calls of tools as JSON where it says nothing else."""
        last = self.messages[-1]
        calls = last.get("tool_calls")
        if calls and not str(last["content"]).strip():
            return json.dumps(calls, ensure_ascii=False)
        return str(last["content"])

    @property
    def place(self) -> str:
        """Where it stands: file, line, and turn where a line gives several."""
        where = f"{self.path}:{self.line}" if self.path else f"row {self.line}"
        return f"{where} turn {self.turn}" if self.turn else where
