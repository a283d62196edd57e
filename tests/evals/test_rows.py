from __future__ import annotations

import codecs
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from heldout.errors import ConfigError, DataError
from heldout.evals.rows import Keys, Row, read_rows

GOOD = {"prompt": "What is the capital of Peru?", "response": "Lima"}
ASKED = [{"role": "user", "content": GOOD["prompt"]}]
ANSWERED = [{"role": "assistant", "content": "Lima"}]


def read(path: Path, *lines: object, **options: Any) -> list[Row]:
    """The rows of a file with these lines, all of which must be usable."""
    rows, skipped = read_rows(tiny.write_jsonl(path / "set.jsonl", lines), **options)
    assert skipped == []
    return rows


def complaint(path: Path, line: object, **options: Any) -> str:
    """What is said about the only line of a file, behind its place."""
    file = tiny.write_jsonl(path / "set.jsonl", [line])
    rows, skipped = read_rows(file, **options)
    assert rows == []
    (sentence,) = skipped
    assert sentence.startswith(f"{file}:1: ")
    return sentence.removeprefix(f"{file}:1: ")


@pytest.mark.parametrize(
    "row",
    [
        GOOD,
        {"prompt": GOOD["prompt"], "completion": "Lima"},
        {"question": GOOD["prompt"], "answer": "Lima"},
        {"user_prompt": GOOD["prompt"], "golden_response": "Lima"},
        {"instruction": GOOD["prompt"], "input": "", "output": "Lima"},
        {"input": GOOD["prompt"], "target": "Lima"},
        {"question": GOOD["prompt"], "answer": ["Lima"]},
        {"question": GOOD["prompt"], "answers": ["Lima"]},
        {**GOOD, "messages": None, "input": None},
        {"messages": ASKED + ANSWERED},
        {"messages": ASKED + ANSWERED, "prompt": "something else"},
        {"prompt": ASKED, "completion": ANSWERED},
        {"prompt": ASKED, "answer": "Lima"},
        {"prompt": GOOD["prompt"], "completion": ANSWERED},
        {
            "conversations": [
                {"from": "human", "value": GOOD["prompt"]},
                {"from": "gpt", "value": "Lima"},
            ]
        },
        {"conversations": ASKED + ANSWERED},
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is the capital"},
                        {"type": "text", "text": " of Peru?"},
                    ],
                },
                {"role": "assistant", "content": [{"type": "text", "text": "Lima"}]},
            ]
        },
    ],
)
def test_every_form_of_the_same_content_is_the_same_row(
    tmp_path: Path, row: dict[str, Any]
) -> None:
    (found,) = read(tmp_path, row)
    (usual,) = read(tmp_path, GOOD)
    assert found == usual
    assert (found.prompt, found.response) == (GOOD["prompt"], "Lima")


def test_the_input_of_an_instruction_follows_it(tmp_path: Path) -> None:
    (row,) = read(tmp_path, {"instruction": "Add.", "input": "1 2", "output": "3"})
    assert row.prompt == "Add.\n\n1 2"


@pytest.mark.parametrize("key", ["system", "system_prompt"])
def test_a_system_field_becomes_the_first_message_unless_there_is_one(
    tmp_path: Path, key: str
) -> None:
    system = {"role": "system", "content": "Be brief."}
    (pair,) = read(tmp_path, {**GOOD, key: "Be brief."})
    assert pair.messages == (system, *ASKED, *ANSWERED)
    (chat,) = read(tmp_path, {"messages": [system, *ASKED, *ANSWERED], key: "Be long."})
    assert chat.messages == pair.messages


def test_mapped_fields_win_over_detected_ones(tmp_path: Path) -> None:
    line = {"messages": [*ASKED, {"role": "assistant", "content": "a"}], "prompt": "b", "gold": "c"}
    keys = Keys(response="gold")
    (row,) = read(tmp_path, line, keys=keys)
    assert (row.prompt, row.response) == ("b", "c")
    (row,) = read(tmp_path, {**line, "q": "d"}, keys=Keys(prompt="q", response="gold"))
    assert (row.prompt, row.response) == ("d", "c")


@pytest.mark.parametrize(
    ("fields", "accepted"),
    [
        ({"response": "Lima", "references": ["Lima, Peru", "Lima"]}, ("Lima, Peru",)),
        ({"response": "Lima", "references": "lima"}, ("lima",)),
        ({"response": ["Lima", "lima", "Lima"]}, ("lima",)),
        ({"answer": "Lima", "answers": ["Lima", "lima"]}, ("lima",)),
        ({"answers": ["Lima", "lima"]}, ("lima",)),
        ({"response": "Lima", "references": [{"url": "https://peru.example"}]}, ()),
        ({"response": "Lima", "references": None}, ()),
    ],
)
def test_further_accepted_answers_are_references(
    tmp_path: Path, fields: dict[str, Any], accepted: tuple[str, ...]
) -> None:
    (row,) = read(tmp_path, {"prompt": GOOD["prompt"], **fields})
    assert (row.response, row.references) == ("Lima", accepted)


@pytest.mark.parametrize(
    ("fields", "group"),
    [
        ({}, ""),
        ({"group": "text 7"}, "text 7"),
        ({"group": 7}, "7"),
        ({"source": "gsm8k"}, ""),
        ({"document_id": "d", "group": "g"}, "g"),
        ({"group": True}, ""),
        ({"group": ["a"]}, ""),
    ],
)
def test_a_shared_source_is_the_group(tmp_path: Path, fields: dict[str, Any], group: str) -> None:
    assert read(tmp_path, GOOD | fields)[0].group == group


TURNS = {
    "conversations": [
        {"from": "system", "value": "Be brief."},
        {"from": "gpt", "value": "Hello."},
        {"from": "human", "value": "1 + 1?"},
        {"from": "gpt", "value": "2"},
        {"from": "human", "value": "And 1?"},
        {"from": "gpt", "value": "3"},
    ],
    "references": ["three"],
}


def test_the_last_turn_is_scored_unless_all_are_asked_for(tmp_path: Path) -> None:
    (row,) = read(tmp_path, TURNS)
    assert (len(row.messages), row.response, row.turn, row.group) == (6, "3", 0, "")
    assert row.place == f"{tmp_path / 'set.jsonl'}:1"


def test_all_turns_that_answer_something_are_rows_of_one_group(tmp_path: Path) -> None:
    first, second = read(tmp_path, TURNS, turns="all")
    assert [m["content"] for m in first.messages] == ["Be brief.", "Hello.", "1 + 1?", "2"]
    assert [len(first.messages), len(second.messages)] == [4, 6]
    assert [row.response for row in (first, second)] == ["2", "3"]
    assert [row.references for row in (first, second)] == [(), ("three",)]
    assert first.group == second.group == "line 1"
    assert first.place == f"{tmp_path / 'set.jsonl'}:1 turn 1"
    assert second.place.endswith(":1 turn 2")
    given = read(tmp_path, {**TURNS, "group": "g"}, turns="all")
    assert {row.group for row in given} == {"g"}


def test_all_turns_of_one_question_are_one_independent_row(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD, turns="all") == read(tmp_path, GOOD)


def test_only_the_completion_of_a_pair_is_scored(tmp_path: Path) -> None:
    more = {"role": "user", "content": "And of Cuba?"}
    line = {
        "prompt": [*ASKED, *ANSWERED, more],
        "completion": [{"role": "assistant", "content": "Havana"}],
    }
    (row,) = read(tmp_path, line, turns="all")
    assert (row.response, row.turn) == ("Havana", 0)


def test_other_turns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"eval\.turns must be 'last' or 'all', found 'first'"):
        read(tmp_path, GOOD, turns="first")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{broken", "not JSON: Expecting property name enclosed in double quotes at column 2"),
        ("3", "expected an object, found int"),
        (
            {"promt": "a", "response": "b"},
            "'prompt' is missing. Found keys: 'promt', 'response'. Did you mean 'promt'? "
            "(eval.prompt_key: promt; --prompt-key promt)",
        ),
        (
            {"prompt": "a", "answr": "b"},
            "Did you mean 'answr'? (eval.response_key: answr; --response-key answr)",
        ),
        (
            {"prompt": "a", "gold": "b"},
            "'response' is missing. Found keys: 'prompt', 'gold'. Name the field: "
            "(eval.response_key: FIELD; --response-key FIELD)",
        ),
        ({}, "Found keys: none."),
        ({str(i): i for i in range(14)}, "'11' and 2 more."),
        ({"prompt": "a", "response": ""}, "'response' must be text that is not empty, found ''"),
        ({"prompt": "a", "response": {}}, "'response' must be text that is not empty, found {}"),
        (
            '{"prompt": "a", "response": NaN}',
            "'response' must be text that is not empty, found nan",
        ),
        ({"prompt": "a", "response": []}, "'response' must be text that is not empty, found []"),
        ({"prompt": "a", "response": ["b", {}]}, "must be text that is not empty, found {}"),
        ({"messages": []}, "'messages' must be a list of at least a user's"),
        ({"messages": "a"}, "'messages' must be a list of at least a user's"),
        ({"messages": ANSWERED}, "'messages' must hold at least a user's"),
        ({"messages": ["a", "b"]}, "message 1: expected an object, found str"),
        (
            {"messages": ANSWERED + ASKED},
            "the last message is the 'user''s, not the assistant's: nothing to score",
        ),
        ({"messages": [{"content": "a"}]}, "message 1 has no role"),
        ({"messages": [{"role": "user"}]}, "'content' of message 1 is None"),
        (
            {"conversations": [{"from": "robot", "value": "a"}]},
            "message 1 is from 'robot'; known are system, developer, user, human, assistant, gpt,",
        ),
        (
            {"messages": [*ASKED, {"role": "assistant", "content": " "}]},
            "the assistant's answer is empty (message 2)",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "message 1 has a part of type 'image_url'; only text can be scored",
        ),
        ({"messages": [{"role": "user", "content": ["a"]}]}, "a part of type 'str'"),
        ('{"prompt": "\\ud800", "response": "a"}', "it holds half a character (\\ud800)"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_line_is_named_with_what_would_work(tmp_path: Path, line: object, said: str) -> None:
    assert said in complaint(tmp_path, line)


def test_a_mapped_field_that_is_missing_names_its_setting(tmp_path: Path) -> None:
    said = complaint(tmp_path, {**GOOD, "gold": "a"}, keys=Keys(response="golt", section="data"))
    assert "'golt', which data.response_key names, is missing." in said
    remedy = "(data.response_key: gold; heldout check --response-key gold)"
    assert said.endswith(f"Did you mean 'gold'? {remedy}")


def test_a_mapped_field_of_references_must_hold_texts(tmp_path: Path) -> None:
    said = complaint(tmp_path, {**GOOD, "also": [{}]}, keys=Keys(references="also"))
    assert said == "'also' must be a list of texts, found [{}]"
    assert read(tmp_path, GOOD, keys=Keys(references="also"))[0].references == ()


def test_a_conversation_in_which_nobody_asks_is_named(tmp_path: Path) -> None:
    said = complaint(tmp_path, {"messages": ANSWERED + ASKED}, turns="all")
    assert said.startswith("no message is the assistant's answer to something")


def test_the_other_lines_count_and_keep_their_numbers(tmp_path: Path) -> None:
    path = tiny.write_jsonl(tmp_path / "set.jsonl", [GOOD, "{", "", {**GOOD, "prompt": "Why?"}])
    rows, skipped = read_rows(path)
    assert [row.line for row in rows] == [1, 4]
    assert [sentence.split(": ")[0] for sentence in skipped] == [f"{path}:2"]


def test_a_line_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_bytes(b'{"prompt": "caf\xe9", "response": "x"}\n{"prompt": "a", "response": "b"}\n')
    rows, skipped = read_rows(path)
    assert len(rows) == 1
    assert "set.jsonl:1: not UTF-8 at byte 15" in skipped[0]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_lines_end_with_lf_or_crlf_and_nothing_else(
    tmp_path: Path, end: bytes, mark: bytes
) -> None:
    odd = "a\x0bb\x0cc\x1cd\x1ee\x85f\u2028g\u2029h"
    escaped = json.dumps(GOOD | {"prompt": odd}).encode()
    raw = escaped.replace(b"\\u2028", "\u2028".encode()).replace(b"\\u2029", "\u2029".encode())
    path = tmp_path / "set.jsonl"
    path.write_bytes(mark + end.join([escaped, raw, b"", escaped]) + end)
    rows, skipped = read_rows(path)
    assert skipped == []
    assert [(row.line, row.prompt) for row in rows] == [(1, odd), (2, odd), (4, odd)]


def test_a_control_character_that_json_forbids_is_named_on_its_own_line(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_bytes(b'{"prompt": "a\x0bb\x1cc", "response": "x"}\n' + json.dumps(GOOD).encode())
    rows, skipped = read_rows(path)
    assert [row.line for row in rows] == [2]
    assert "set.jsonl:1: not JSON: Invalid control character" in skipped[0]


def test_a_file_in_utf16_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set.jsonl").write_text(json.dumps(GOOD), encoding="utf-16")
    with pytest.raises(DataError, match=r"set\.jsonl: it is UTF-16\. Save it as UTF-8\."):
        read_rows(tmp_path / "set.jsonl")


def test_an_empty_file_has_no_rows_and_no_bad_lines(tmp_path: Path) -> None:
    assert read(tmp_path) == []


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.jsonl: cannot be read: No such file"):
        read_rows(tmp_path / "a.jsonl")


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "from", "value", "type"]), inner)
    ),
    max_leaves=6,
)
FIELDS = ["messages", "conversations", "prompt", "response", "answers", "group", "system", "input"]


@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), VALUES) | VALUES, max_size=4))
def test_any_json_gives_rows_or_a_sentence_for_each_line(
    tmp_path_factory: pytest.TempPathFactory, lines: list[object]
) -> None:
    texts = [json.dumps(line) for line in (GOOD, *lines)]
    path = tiny.write_jsonl(tmp_path_factory.mktemp("any") / "set.jsonl", texts)
    for turns in ("last", "all"):
        rows, skipped = read_rows(path, turns=turns)
        assert len({row.line for row in rows}) + len(skipped) == len(lines) + 1
        assert all(row.response.strip() for row in rows)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_by_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "set.jsonl"
    path.write_bytes(data)
    with contextlib.suppress(DataError):
        read_rows(path)
