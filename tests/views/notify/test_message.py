"""What a notification says, and that no text of a run can do harm with it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heldout.records import encode
from heldout.views.notify.message import Change, clean, render

HOSTILE = (
    "\x1b[31mred\x1b[0m \u202eevil\u202c <!channel> <@U1> @everyone <script> \ud800 \x00 é ✓ 模型"
)


def change(n: int = 1, **changes: Any) -> Change:
    fields: dict[str, Any] = {
        "run": "r",
        "level": "error",
        "head": f"loss-spike opened at step {n} of 100",
        "text": "the loss jumped to 3.2",
        "action": "Look at the batch.",
        "evidence": {"value": 3.25, "limit": 1},
    }
    return Change(**fields | changes)


def test_one_change_is_told_in_full() -> None:
    message = render([change(12)], link="http://host:8765/")
    assert message.title == "[error] r: loss-spike opened at step 12 of 100"
    assert message.body.splitlines() == [
        "ERROR loss-spike opened at step 12 of 100",
        "the loss jumped to 3.2",
        "What to do: Look at the batch.",
        "Evidence: value 3.25, limit 1",
        "",
        "http://host:8765/run/r",
    ]
    assert message.level == "error"


@pytest.mark.parametrize(
    ("link", "run", "page"),
    [
        ("http://host", "a", "http://host/run/a"),
        ("http://host/sub/", "a", "http://host/sub/run/a"),
        ("https://host/?token=t", "a b/../é", "https://host/run/a%20b%2F..%2F%C3%A9?token=t"),
    ],
)
def test_the_link_leads_to_the_run(link: str, run: str, page: str) -> None:
    assert render([change(run=run)], link=link).body.endswith(f"\n\n{page}")


def test_changes_of_one_burst_are_one_message_with_the_worst_level() -> None:
    changes = [change(1, level="info"), change(2, level="critical"), change(3, level="warning")]
    message = render(changes)
    assert message.title == "[critical] r: 3 changes"
    assert message.body.count("What to do") == 3


def test_changes_of_several_runs_name_them() -> None:
    message = render([change(1, run="a"), change(2, run="b")], link="http://host/")
    assert message.title == "[error] 2 runs: 2 changes"
    assert "ERROR a: loss-spike" in message.body
    assert "ERROR b: loss-spike" in message.body
    assert message.body.endswith("\n\nhttp://host/")


def test_a_flood_is_counted_and_not_told_in_full() -> None:
    changes = [
        change(n, text="x" * 1000, evidence={str(i): "y" * 900 for i in range(9)})
        for n in range(90)
    ]
    message = render(changes, untold=7)
    assert "85 more changes: loss-spike opened at step 5" in message.body
    assert "7 earlier changes could not be sent" in message.body
    assert len(message.body) < 2000


def test_evidence_is_short_and_of_any_kind() -> None:
    evidence = {
        "nan": float("nan"),
        "rows": list(range(1000)),
        "none": None,
        "nested": {"a": [1.5]},
    }
    body = render([change(evidence=evidence)]).body
    (line,) = [line for line in body.splitlines() if line.startswith("Evidence")]
    assert line.startswith("Evidence: nan nan, rows [0,1,2,")
    assert 'none null, nested {"a":[1.5]}' in line
    assert len(line) < 300


def test_hostile_text_is_one_harmless_line() -> None:
    message = render([change(run=HOSTILE, head=HOSTILE, text=HOSTILE, action=HOSTILE)])
    for text in (message.title, message.body):
        for bad in ("\x1b", "\u202e", "\ud800", "\x00", "<!", "<@", "<s", "@e"):
            assert bad not in text
    assert "red" in message.title
    assert "é ✓ 模型" in message.body
    encode([message.title, message.body]).decode("utf-8")


@given(st.text())
def test_any_text_becomes_one_line_that_can_be_sent(text: str) -> None:
    shown = clean(text)
    shown.encode("utf-8")
    assert shown.replace("\N{ZERO WIDTH SPACE}", "").isprintable()
