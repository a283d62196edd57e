"""The check before training as data: the JSON contract of `heldout check --json`."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec

from heldout.derive.preflight import Preflight
from heldout.records import SCHEMA, Data
from heldout.views.report.data import EXIT_CODES

FIELDS = ("rule", "scope", "level", "message", "action", "evidence")


def preflight_data(found: Preflight) -> dict[str, Any]:
    """Return `{schema, data, held_out, fields, findings, not_checked, estimate, examples}`."""
    return {
        "schema": SCHEMA,
        "data": {
            **_plain(found.data),
            "end_tokens": found.ends,
            "chat_template": found.template,
            "left_out": found.left_out,
        },
        "held_out": msgspec.to_builtins(found.held_out),
        "fields": {
            "train": [dataclasses.asdict(each) for each in found.fields],
            "held_out": [dataclasses.asdict(each) for each in found.held_out_fields],
        },
        "findings": [{field: getattr(each, field) for field in FIELDS} for each in found.findings],
        "not_checked": [{"rule": each.rule, "reason": each.message} for each in found.not_checked],
        "estimate": dataclasses.asdict(found.estimate),
        "examples": [dataclasses.asdict(each) for each in found.examples],
    }


def preflight_exit_code(found: Preflight) -> int:
    """0 when nothing above information was found, 1 for warnings, 2 for errors and critical ones."""
    return max((EXIT_CODES[each.level] for each in found.findings), default=0)


def _plain(data: Data) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(data)
    del fields["type"]
    return fields
