"""Trained, scored and served in one form, or told which not."""

from __future__ import annotations

from typing import Any

import pytest
from facts import history, run

from heldout.records import Data, EvalSet, Rows
from heldout.verdicts.rule import NotChecked
from heldout.verdicts.rules import prompt_mismatch


def found(kinds: dict[str, int] | None, **about: Any) -> list[tuple[str, str]]:
    """The scope and level of what the rule says of 100 rows and 100 examples."""
    facts: list[Any] = [run(eval_set=EvalSet(path="e.jsonl", hash="h", n=100, **about))]
    if kinds is not None:
        rows = {kind: Rows(n=n, rows=list(range(n))) for kind, n in kinds.items()}
        facts.append(
            Data(
                time=1.0,
                rows=100,
                looked_at=100,
                tokens=9,
                label_tokens=4,
                found=rows,
                opening="A:",
            )
        )
    said = prompt_mismatch.RULE.look(history(*facts))
    assert not isinstance(said, NotChecked)
    return [(each.scope, each.level) for each in said]


@pytest.mark.parametrize(
    ("kinds", "about", "expected"),
    [
        (None, {}, []),
        ({"opened_otherwise": 0, "plain_text": 0}, {}, []),
        ({"opened_otherwise": 50}, {}, []),
        ({"opened_otherwise": 51}, {}, [("trained", "error")]),
        ({"plain_text": 100}, {}, [("trained", "warning")]),  # continued pretraining may be meant
        (None, {"unlike": 50, "difference": "they differ"}, [("served", "info")]),
        (None, {"unlike": 51, "difference": "they differ"}, [("served", "warning")]),
        (None, {"unlike": 100, "difference": "x", "prompt": "served"}, [("served", "info")]),
    ],
)
def test_limits(kinds: Any, about: Any, expected: list[tuple[str, str]]) -> None:
    assert found(kinds, **about) == expected


def test_without_a_held_out_set_there_is_nothing_to_compare() -> None:
    assert isinstance(prompt_mismatch.RULE.look(history(run())), NotChecked)
