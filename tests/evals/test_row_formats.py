"""What each source format makes of its fields: nothing that changes the question is dropped in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny

from heldout.evals.fixed_set import load
from heldout.evals.rows import Keys, read
from heldout.evals.rows.reading import formats

LETTERS = "A. ant\nB. whale"


def only(row: dict[str, Any], **options: Any) -> Any:
    """What is read of one row."""
    found = read([row], **options)
    assert found.left_out == []
    (one,) = found.rows
    return one


def test_every_format_says_what_its_rows_are_and_what_becomes_of_them() -> None:
    assert all(each.fields and each.rule.endswith(".") for each in formats())
    assert len({each.rank for each in formats()}) == len(formats())
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text("utf-8")
    assert [each.name for each in formats() if f"| {each.fields} | {each.rule} |" not in page] == []


QUESTIONS: list[tuple[dict[str, Any], str]] = [
    ({"instruction": "When?", "context": "Ada died in 1900."}, "When?\n\nAda died in 1900."),
    ({"question": "When?", "context": "Ada died in 1900."}, "Ada died in 1900.\n\nWhen?"),
    ({"question": "When?", "passage": ["One.", "Two."]}, "One.\n\nTwo.\n\nWhen?"),
    ({"prompt": "Add.", "input": "1 2"}, "Add.\n\n1 2"),
    ({"instruction": "Add.", "input": "1 2", "context": "C"}, "Add.\n\nC\n\n1 2"),
    (
        {"prompt": "Ada died in 1900. When?", "context": "Ada died in 1900."},
        "Ada died in 1900. When?",
    ),
    ({"question": "When?", "context": "", "document": " "}, "When?"),
    ({"question": 7}, "7"),
]


def test_what_belongs_to_the_question_stands_in_the_prompt() -> None:
    found = [(only({**row, "answer": "x"}).prompt, wanted) for row, wanted in QUESTIONS]
    assert [pair for pair in found if pair[0] != pair[1]] == []


def test_a_prompt_that_you_name_stands_alone_and_the_rest_is_told() -> None:
    row = {"frage": "Wann?", "context": "Ada died.", "answer": "x", "id": 3}
    found = read([row], Keys(prompt="frage"))
    assert found.rows[0].prompt == "Wann?"
    assert [(each.name, each.used) for each in found.fields if not each.used] == [
        ("context", 0),
        ("id", 0),
    ]
    assert found.remarks[0].endswith("said, and are not used: context (1 rows)")


CHOICES: list[tuple[dict[str, Any], str]] = [
    ({"choices": ["ant", "whale"], "answer": "B"}, "B"),
    ({"choices": ["ant", "whale"], "answer": "(b)"}, "B"),
    ({"choices": ["ant", "whale"], "answer": 1}, "B"),
    ({"choices": ["ant", "whale"], "answer": "1"}, "B"),
    ({"options": ["ant", "whale"], "answer": "whale"}, "whale"),
    ({"options": {"A": "ant", "B": "whale"}, "answer_idx": "B"}, "B"),
    ({"choices": {"label": ["A", "B"], "text": ["ant", "whale"]}, "answerKey": "B"}, "B"),
    ({"options": ["A) ant", "B) whale"], "correct": "B"}, "B"),
    ({"choices": ["3", "1"], "answer": 1}, "B"),
    ({"choices": ["ant", "whale"], "answer": "It breathes air, so B."}, "It breathes air, so B."),
]


def test_choices_are_listed_with_letters_and_the_right_one_is_golden() -> None:
    wrong = []
    for row, golden in CHOICES:
        one = only({"question": "Largest?", **row})
        listed = LETTERS.replace(".", ")") if "A)" in str(row) else LETTERS
        listed = "A. 3\nB. 1" if "3" in row.get("choices", ()) else listed
        if (one.prompt, one.response) != (f"Largest?\n\n{listed}", golden):
            wrong.append((row, one.prompt, one.response))
    assert wrong == []


REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"question": "?", "choices": ["1", "2"], "answer": "1"},
        "means one choice by its label or place",
    ),
    ({"question": "?", "choices": ["ant", "whale"], "answer": "C"}, "none of the choices A to B"),
    ({"question": "?", "choices": ["ant", "whale"], "answer": 7}, "none of the choices A to B"),
    ({"question": "?", "context": {"a": 1}, "answer": "x"}, "'context' belongs to the question"),
    ({"question": "?", "history": ["a"], "answer": "x"}, "list of [question, answer] pairs"),
    ({"question": "?", "answer": "x", "images": ["0.png"]}, "images cannot be scored, only text"),
    ({"question": "?", "answer": "x", "audio": {"path": "a"}}, "it has 'audio': audios cannot"),
    (
        {"question": "?", "answer": "x", "references": ["a", {"b": 1}]},
        "'references' must be a list of",
    ),
    ({"question": "?", "answer": "x", "system": ["a"]}, "'system' must be text"),
    ({"question": "?", "answer": "x", "tools": "no"}, "'tools' must be a list of tools"),
    ({"question": "?", "answer": "x", "chat_template_kwargs": 3}, "must be an object, found 3"),
    (
        {"question": "?", "answers": {"text": [], "answer_start": []}},
        "text that is not empty, found []",
    ),
    (
        {"text": "<|im_start|>user\nHi"},
        "does not say where the answer begins. Give each row a 'prompt'",
    ),
    (
        {"text": "Good.", "label": "pos"},
        "(eval.prompt_key: text; --prompt-key text) (eval.response_key: l",
    ),
    (
        {"prompt": "?", "completion": "9", "label": False},
        "marked label: False, so its answer is neither",
    ),
    ({"prompt": "?", "completion": "9", "weight": 0}, "marked weight: 0"),
    ({"prompt": "?", "completion": "9", "loss_weight": 0.0}, "marked loss_weight: 0.0"),
    ({"prompt": "?", "completion": "9", "train": False}, "marked train: False"),
]
USER = {"role": "user", "content": "Weather?"}
SUNNY = {"role": "assistant", "content": "Sunny"}
TURNS_REFUSED: list[tuple[list[Any], str]] = [
    ([{"role": ["user"], "content": "?"}, SUNNY], "message 1 is from ['user']; known are system"),
    ([{"from": {"a": 1}, "value": "?"}, SUNNY], "message 1 is from {'a': 1}; known are"),
    ([{"role": "bot", "content": "?"}, USER, SUNNY], "Rename the role."),
    ([{**USER, "images": ["a"]}, SUNNY], "message 1 has 'images': images cannot be scored"),
    ([USER, {**SUNNY, "weight": 0}], "marked not to be trained, so it is not golden"),
    ([USER, {**SUNNY, "train": False}], "marked not to be trained, so it is not golden"),
    (
        [USER, {"role": "assistant", "function_call": {"arguments": "{}"}}],
        "must have a name and argum",
    ),
    ([USER, {"role": "assistant", "tool_calls": [3]}], "'tool_calls' of message 2 must be a list"),
    ([USER, {"from": "function_call", "value": "no JSON"}], "the call in message 2 must be JSON"),
]


def test_what_cannot_be_used_is_refused_with_what_would_work() -> None:
    rows = [*REFUSED, *(({"messages": turns}, said) for turns, said in TURNS_REFUSED)]
    wrong = []
    for row, said in rows:
        found = read([row])
        if (
            found.rows
            or said not in found.left_out[0]
            or not found.left_out[0].startswith("row 1: ")
        ):
            wrong.append((row, found.left_out))
    assert wrong == []


def test_earlier_turns_of_a_history_are_in_the_conversation() -> None:
    row = {"instruction": "And 2?", "output": "3", "system": "Be brief."}
    for history in (
        [["1?", "2"]],
        [{"role": "user", "content": "1?"}, {"role": "assistant", "content": "2"}],
    ):
        one = only({**row, "history": history})
        assert [m["content"] for m in one.messages] == ["Be brief.", "1?", "2", "And 2?", "3"]
    assert len(only({**row, "history": []}).messages) == 3


ANSWERS: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"answer": 29}, ("29",)),
    ({"answer": 2.5}, ("2.5",)),
    ({"answer": True}, ("true", "True")),
    ({"answer": [29, "29.0"]}, ("29", "29.0")),
    ({"answer": "a", "references": ["b", 3, None, True]}, ("a", "b", "3", "true")),
    ({"answer": "a", "references": ["b"], "answers": ["c"]}, ("a", "b", "c")),
    ({"answer": "a", "references": 7}, ("a", "7")),
    ({"answers": {"text": ["a", "b"], "answer_start": [1, 2]}}, ("a", "b")),
    ({"answer": {"value": "a", "aliases": ["b"]}}, ("a", "b")),
]


def test_numbers_and_truth_values_are_text_and_no_reference_is_lost() -> None:
    found = [(only({"question": "?", **row}), wanted) for row, wanted in ANSWERS]
    assert [
        (row, wanted) for row, wanted in found if (row.response, *row.references) != wanted
    ] == []


def test_the_chosen_answer_of_a_preference_is_golden() -> None:
    asked, chosen = {"role": "user", "content": "?"}, {"role": "assistant", "content": "good"}
    other = {"role": "assistant", "content": "bad"}
    usual = only({"prompt": "?", "chosen": "good", "rejected": "bad"})
    for row in (
        {"prompt": [asked], "chosen": [chosen], "rejected": [other]},
        {"chosen": [asked, chosen], "rejected": [asked, other]},
        {"prompt": "?", "chosen": [asked, chosen], "rejected": [asked, other]},
    ):
        assert only(row) == usual
    assert (usual.prompt, usual.response) == ("?", "good")


def test_calls_of_tools_reasoning_and_template_arguments_stay() -> None:
    function = {"name": "w", "arguments": {"city": "Oslo"}}
    older = {
        "role": "assistant",
        "content": "",
        "function_call": {**function, "arguments": '{"city": "Oslo"}'},
    }
    result = {"role": "function", "name": "w", "content": "sun"}
    told = {**SUNNY, "reasoning_content": "The tool says so."}
    row = {"messages": [USER, older, result, told], "functions": [{"name": "w"}]}
    one = only({**row, "chat_template_kwargs": {"enable_thinking": False}})
    call = {"type": "function", "function": function}
    assert one.messages[1] == {"role": "assistant", "content": "", "tool_calls": [call]}
    assert one.messages[2] == {"role": "tool", "name": "w", "content": "sun"}
    assert one.messages[3] == told
    assert one.tools == ({"type": "function", "function": {"name": "w"}},)
    assert one.template_kwargs == {"enable_thinking": False}
    sharegpt = [
        {"from": "human", "value": "Weather?"},
        {"from": "function_call", "value": json.dumps(function)},
        {"from": "observation", "value": "sun"},
        {"from": "gpt", "value": "Sunny"},
    ]
    same = only({"conversations": sharegpt, "tools": json.dumps([{"name": "w"}])})
    assert same.messages[1]["tool_calls"] == [call]
    assert [m["role"] for m in same.messages] == ["user", "assistant", "tool", "assistant"]
    last = only({"messages": [USER, older]})
    assert json.loads(last.response) == [call]
    beside = only({"prompt": "?", "response": "x", "reasoning_content": "because"})
    assert beside.messages[-1]["reasoning_content"] == "because"


def test_masked_turns_are_no_rows_where_all_turns_are_scored() -> None:
    turns = [USER, {**SUNNY, "weight": 0}, USER, {**SUNNY, "content": "Rain", "weight": 1}]
    assert [row.response for row in read([{"messages": turns}], turns="all").rows] == ["Rain"]


def test_fields_are_listed_with_the_rows_that_use_them(tmp_path: Path) -> None:
    rows = [
        {"messages": [USER, {**SUNNY, "mood": "gay"}], "context": "Oslo", "n": 1},
        {"prompt": "?", "response": "x", "context": "C", "rejected": "y", "weight": 1},
    ]
    found = {each.name: (each.rows, each.used) for each in read(rows).fields}
    assert found == {
        "messages": (1, 1),
        "messages[].role": (1, 1),
        "messages[].content": (1, 1),
        "messages[].mood": (1, 0),
        "context": (2, 1),
        "n": (1, 0),
        "prompt": (1, 1),
        "response": (1, 1),
        "rejected": (1, 0),
        "weight": (1, 1),
    }
    assert read(rows).remarks[0].startswith("the rows have fields that usually belong")
    assert read([{"prompt": "?", "response": "x", "id": 7}]).remarks == []


def test_calls_and_tools_are_never_dropped_by_a_template_that_cannot_show_them() -> None:
    call = {"type": "function", "function": {"name": "weather_in", "arguments": {}}}
    calling = {"role": "assistant", "content": "Let me see.", "tool_calls": [call]}
    offered = {"type": "function", "function": {"name": "weather_in"}}
    rows = [
        {"messages": [USER, calling, {"role": "tool", "content": "sun"}, SUNNY]},
        {"messages": [USER, calling]},
        {"messages": [USER, SUNNY], "tools": [offered]},
        {"messages": [USER, SUNNY]},
    ]
    found = load(rows, tiny.tokenizer())
    assert (found.about.n, len(found.about.skipped)) == (1, 3)
    assert all("leaves out the " in said and "'weather_in'" in said for said in found.about.skipped)
    shown = tiny.tokenizer()
    shown.chat_template = "{{ tools }}" + tiny.TEMPLATE.replace(
        "['content'] }}", "['content'] }}{{ m.tool_calls }}"
    )
    assert load(rows, shown).about.n == 4


@pytest.mark.parametrize("value", [None, [], {}])
def test_empty_media_are_none(value: object) -> None:
    assert only({"prompt": "?", "response": "x", "images": value}).response == "x"
