"""Each rule about the training data as a table: what was found in it, and what the rule says."""

from __future__ import annotations

from typing import Any

import pytest
from facts import history, run

from heldout.records import Data, EvalSet, Rows
from heldout.verdicts.judge import Judge
from heldout.verdicts.rule import Finding, NotChecked, Rule
from heldout.verdicts.rules import (
    data_chat_template,
    data_double_bos,
    data_duplicates,
    data_label_share,
    data_leakage,
    data_masked,
    data_no_embedding,
    data_no_end,
    data_too_long,
    data_unusable,
)

RULES: list[Rule[Any]] = [
    data_chat_template.RULE,
    data_double_bos.RULE,
    data_duplicates.RULE,
    data_label_share.RULE,
    data_leakage.RULE,
    data_masked.RULE,
    data_no_embedding.RULE,
    data_no_end.RULE,
    data_too_long.RULE,
    data_unusable.RULE,
]
KINDS = (
    *("empty", "masked", "cut", "cut_away", "no_end", "double_bos", "unmarked", "foreign_marks"),
    *("no_embedding", "unusable", "no_template", "duplicate", "leaked", "leaked_prompt"),
)
ROWS = 200


def data(*, partners: dict[str, list[int]] | None = None, **kinds: Any) -> Data:
    """Facts of 200 rows of which so many are of each kind: `data(masked=3, tokens=10)`."""
    partners = partners or {}
    counts = {kind: kinds.pop(kind, 0) for kind in KINDS}
    found = {
        kind: Rows(n=n, rows=list(range(1, n + 1)), partners=partners.get(kind, []))
        for kind, n in counts.items()
        if n is not None
    }
    fields = {"time": 1.0, "path": "t.jsonl", "rows": ROWS, "looked_at": ROWS, "held_out": 100}
    fields |= {"tokens": 4000, "label_tokens": 2000, "longest": 40, "max_length": 64}
    return Data(**{**fields, "found": found, **kinds})


def look(rule: Rule[Any], facts: Data) -> list[Finding] | NotChecked:
    return rule.look(history(run(), facts))


def levels(rule: Rule[Any], facts: Data) -> list[str]:
    outcome = look(rule, facts)
    assert not isinstance(outcome, NotChecked)
    return [finding.level for finding in outcome]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_no_rule_finds_anything_in_clean_data_and_none_is_silent_without_facts(
    rule: Rule[Any],
) -> None:
    assert levels(rule, data()) == []
    assert isinstance(rule.look(history(run())), NotChecked)
    none_looked_for = data(found={}, looked_at=0, tokens=0, label_tokens=0, remarks=["no model"])
    outcome = look(rule, none_looked_for)
    if rule is not data_unusable.RULE:
        assert isinstance(outcome, NotChecked)
        assert outcome.reason == "no model"


@pytest.mark.parametrize(
    ("rule", "facts", "expected"),
    [
        (data_masked, {"masked": 2}, []),  # 1 %
        (data_masked, {"masked": 3}, ["warning"]),
        (data_masked, {"masked": 10}, ["warning"]),
        (data_masked, {"empty": 2, "cut_away": 1}, ["warning"]),
        (data_masked, {"masked": 60}, ["warning"]),
        (data_masked, {"masked": 100}, ["warning"]),  # 50 %
        (data_masked, {"masked": 101}, ["critical"]),
        (data_masked, {"masked": ROWS, "label_tokens": 0}, ["critical"]),
        (data_masked, {"label_tokens": 0}, ["critical"]),
        (data_label_share, {"label_tokens": 80}, []),  # 2 %
        (data_label_share, {"label_tokens": 79}, ["warning"]),
        (data_label_share, {"label_tokens": 0}, []),  # that is data-masked
        (data_no_end, {"no_end": 100}, []),
        (data_no_end, {"no_end": 101}, ["warning"]),
        (data_no_end, {"no_end": ROWS}, ["error"]),
        (data_no_end, {"no_end": 100, "cut": 60, "masked": 40}, ["error"]),  # all that could end
        (data_no_end, {"no_end": 51, "cut": 100}, ["warning"]),
        (data_no_end, {"cut": ROWS}, []),
        (data_no_embedding, {"no_embedding": 0}, []),
        (
            data_no_embedding,
            {"no_embedding": 1, "beyond": "token 7 has none. Resize it"},
            ["error"],
        ),
        (data_double_bos, {"double_bos": 2}, []),
        (data_double_bos, {"double_bos": ROWS}, ["warning"]),
        (data_chat_template, {"foreign_marks": 2}, []),
        (data_chat_template, {"foreign_marks": 3}, ["warning"]),
        (data_chat_template, {"foreign_marks": 101}, ["error"]),
        (data_chat_template, {"unmarked": 100}, []),
        (data_chat_template, {"unmarked": 101}, ["warning"]),
        (data_chat_template, {"no_template": 1}, ["warning"]),
        (data_chat_template, {"no_template": ROWS}, ["error"]),
        (data_chat_template, {"no_template": ROWS, "foreign_marks": None}, ["error"]),
        (data_duplicates, {"duplicate": 10}, []),
        (data_duplicates, {"duplicate": 11}, ["warning"]),
        (data_too_long, {"cut": 10}, []),
        (data_too_long, {"cut": 6, "cut_away": 5}, ["warning"]),
        (data_too_long, {"longest": 65, "context": 64}, []),  # it is cut at 64
        (data_too_long, {"longest": 65, "context": 32}, ["warning"]),
        (data_too_long, {"longest": 65, "context": 64, "max_length": None}, ["warning"]),
        (data_too_long, {"cut": 11, "longest": 65, "context": 32}, ["warning", "warning"]),
        (data_unusable, {"unusable": 2}, ["info"]),
        (data_unusable, {"unusable": 3}, ["warning"]),
    ],
)
def test_limits(rule: Any, facts: dict[str, Any], expected: list[str]) -> None:
    assert levels(rule.RULE, data(**facts)) == expected


@pytest.mark.parametrize(
    ("leaked", "asked", "held_out", "expected"),
    [
        ([7], [], 200, []),  # 0.5 %
        ([7, 8], [], 200, ["error"]),
        ([7, 7, 7], [], 200, []),  # one example, three times
        ([], [7, 8], 200, ["warning"]),
        ([7, 8], [7, 8], 200, ["error"]),  # with its answer once is worse than by its prompt
        ([1, 2], [3, 4], 100, ["error", "warning"]),
    ],
)
def test_leakage_is_a_share_of_the_held_out_examples(
    leaked: list[int], asked: list[int], held_out: int, expected: list[str]
) -> None:
    partners = {"leaked": leaked, "leaked_prompt": asked}
    facts = data(leaked=len(leaked), leaked_prompt=len(asked), held_out=held_out, partners=partners)
    assert levels(data_leakage.RULE, facts) == expected


@pytest.mark.parametrize(
    ("n", "skipped", "level"), [(200, 2, "info"), (200, 3, "warning"), (0, 1, "error")]
)
def test_held_out_lines_that_cannot_be_used_are_told(n: int, skipped: int, level: str) -> None:
    lines = [f"e.jsonl:{i}: the answer is empty" for i in range(1, skipped + 1)]
    about = EvalSet(path="e.jsonl", hash="x", n=n, skipped=lines)
    outcome = data_unusable.RULE.look(history(run(eval_set=about), data()))
    assert not isinstance(outcome, NotChecked)
    assert [finding.level for finding in outcome] == [level]
    assert "e.jsonl:1: the answer is empty" in outcome[0].message


def test_a_message_names_lines_of_a_file_and_rows_of_a_dataset_and_says_how_many_more() -> None:
    found = look(data_masked.RULE, data(masked=10))
    assert isinstance(found, list)
    assert "10 of 200 rows (5.0%; lines 1, 2, 3, 4, 5, 6, 7, 8 and 2 more)" in found[0].message
    assert found[0].evidence["ids"] == list(range(1, 11))
    found = look(data_masked.RULE, data(masked=3, path=""))
    assert isinstance(found, list)
    assert "rows 1, 2, 3)" in found[0].message


def test_an_answer_behind_the_cut_has_another_remedy_than_a_mask_over_it() -> None:
    cut, masked = look(data_masked.RULE, data(cut_away=9)), look(data_masked.RULE, data(masked=9))
    assert isinstance(cut, list)
    assert isinstance(masked, list)
    assert "Raise max_length" in cut[0].action
    assert "their mask covers" in masked[0].action


def test_repeated_rows_are_a_share_of_the_file_or_of_the_rows_looked_at() -> None:
    sparse = {"duplicate": 11, "looked_at": 20}
    assert levels(data_duplicates.RULE, data(**sparse, rows=2000)) == []
    assert levels(data_duplicates.RULE, data(**sparse, rows=2000, path="")) == ["warning"]


def test_the_judge_asks_these_rules_as_the_facts_come_in() -> None:
    judge = Judge()
    judge.feed(run())
    judged = judge.feed(data(masked=101))
    opened = [v.rule for v in judged if getattr(v, "state", "") == "open"]
    assert opened == ["data-masked"]
