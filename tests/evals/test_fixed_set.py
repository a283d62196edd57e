from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny

from heldout.errors import DataError, EmptySet, ModelError
from heldout.evals.fixed_set import load, read_rows

GOOD = {"prompt": "What is the capital of Peru?", "response": "Lima"}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{broken", "not JSON: Expecting property name enclosed in double quotes at column 2"),
        ("[1, 2]", "expected an object, found list"),
        ({"promt": "a", "response": "b"}, "'prompt' is missing. Found keys: 'promt', 'response'."),
        ({"prompt": "a", "answr": "b"}, "Did you mean 'answer'?"),
        ({"prompt": "a", "response": ""}, "'response' must be text that is not empty, found ''"),
        ({"prompt": "a", "response": 3}, "'response' must be text that is not empty, found 3"),
        ({"messages": []}, "'messages' must be a list of at least"),
        (
            {"messages": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]},
            "the last message is the 'user''s, not the assistant's: nothing to score",
        ),
        ({"messages": [{"role": "user"}, {"role": "assistant"}]}, "each message needs 'role'"),
    ],
)
def test_a_bad_line_is_named_and_the_others_count(
    tmp_path: Path, line: object, complaint: str
) -> None:
    path = tiny.write_jsonl(tmp_path / "set.jsonl", [GOOD, line, "", {**GOOD, "prompt": "Why?"}])
    rows, skipped = read_rows(path)
    assert [row.line for row in rows] == [1, 4]
    assert len(skipped) == 1
    assert skipped[0].startswith(f"{path}:2: ")
    assert complaint in skipped[0]


def test_a_line_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_bytes(b'{"prompt": "caf\xe9", "response": "x"}\n{"prompt": "a", "response": "b"}\n')
    rows, skipped = read_rows(path)
    assert len(rows) == 1
    assert "set.jsonl:1: not UTF-8" in skipped[0]


@pytest.mark.parametrize(
    "row",
    [
        GOOD,
        {"prompt": GOOD["prompt"], "completion": "Lima"},
        {"question": GOOD["prompt"], "answer": "Lima"},
        {"user_prompt": GOOD["prompt"], "golden_response": "Lima"},
        {"instruction": GOOD["prompt"], "input": "", "output": "Lima"},
    ],
)
def test_the_usual_names_of_prompt_and_response_are_known(
    tmp_path: Path, row: dict[str, str], tokenizer: Any
) -> None:
    example = load(tiny.write_jsonl(tmp_path / "a.jsonl", [row]), tokenizer).examples[0]
    assert (example.row.prompt, example.row.response) == (GOOD["prompt"], "Lima")


def test_ids_are_the_templates_own_and_the_response_ends_at_its_first_eos(
    tmp_path: Path, tokenizer: Any
) -> None:
    path = tiny.write_jsonl(tmp_path / "a.jsonl", tiny.rows(6))
    for example, row in zip(load(path, tokenizer).examples, tiny.rows(6), strict=True):
        whole = tokenizer.apply_chat_template(row["messages"], return_dict=False)
        ids = list(example.prompt_ids + example.response_ids)
        assert whole[: len(ids)] == ids
        assert example.response_ids[-1] == tokenizer.eos_token_id
        assert example.response_ids.count(tokenizer.eos_token_id) == 1


def test_without_a_template_pairs_are_plain_text_and_chats_are_refused(tmp_path: Path) -> None:
    plain = tiny.tokenizer(template=None)
    example = load(tiny.write_jsonl(tmp_path / "a.jsonl", [GOOD]), plain).examples[0]
    assert plain.decode(example.prompt_ids) == GOOD["prompt"]
    turns = [("system", "Be brief."), ("user", "Why?"), ("assistant", "So.")]
    chat = {"messages": [{"role": role, "content": content} for role, content in turns]}
    with pytest.raises(
        EmptySet, match=r"b\.jsonl:1: it is a conversation, and .* no chat template"
    ):
        load(tiny.write_jsonl(tmp_path / "b.jsonl", [chat]), plain)
    found = load(tiny.write_jsonl(tmp_path / "c.jsonl", [chat, GOOD]), plain)
    assert (found.about.n, len(found.about.skipped)) == (1, 1)


def test_a_response_ends_with_the_templates_turn_end_also_where_eos_is_another(
    tmp_path: Path,
) -> None:
    other = tiny.tokenizer()
    other.add_special_tokens({"eos_token": "<eos>"})
    other.chat_template = tiny.TEMPLATE.replace("<|im_end|>", "<|im_start|>") + "<eos>"
    example = load(tiny.write_jsonl(tmp_path / "a.jsonl", [GOOD]), other).examples[0]
    assert other.decode(example.response_ids) == "Lima<|im_start|>"


def test_a_row_the_template_refuses_is_named_and_the_others_count(tmp_path: Path) -> None:
    strict = tiny.tokenizer()
    strict.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        + tiny.TEMPLATE
    )
    turns = [("system", "Be brief."), ("user", "Why?"), ("assistant", "So.")]
    chat = {"messages": [{"role": role, "content": content} for role, content in turns]}
    found = load(tiny.write_jsonl(tmp_path / "a.jsonl", [chat, GOOD]), strict)
    assert found.about.n == 1
    assert "a.jsonl:1: the chat template refuses it: no system role" in found.about.skipped[0]


def test_a_generation_prompt_that_training_data_lacks_is_remarked(tmp_path: Path) -> None:
    thinking = tiny.tokenizer()
    thinking.chat_template = tiny.TEMPLATE.replace("assistant\n", "assistant\n<think>\n")
    about = load(tiny.write_jsonl(tmp_path / "a.jsonl", [GOOD]), thinking).about
    assert "1 of 1 prompts open the answer otherwise" in about.remarks[0]
    assert load(tmp_path / "a.jsonl", tiny.tokenizer()).about.remarks == []


def test_without_a_tokenizer_the_error_says_how_to_give_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="tokenizer=tokenizer"):
        load(tiny.write_jsonl(tmp_path / "a.jsonl", [GOOD]), None)


def test_an_empty_prompt_is_named(tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": "a"}]}
    found = load(tiny.write_jsonl(tmp_path / "a.jsonl", [row, GOOD]), tiny.tokenizer(template=None))
    assert "a.jsonl:1: the prompt is empty" in found.about.skipped[0]


def test_an_empty_set_says_why_each_line_failed(tmp_path: Path, tokenizer: Any) -> None:
    with pytest.raises(EmptySet, match="It is empty"):
        load(tiny.write_jsonl(tmp_path / "a.jsonl", []), tokenizer)
    with pytest.raises(EmptySet, match=r"b\.jsonl:1: not JSON"):
        load(tiny.write_jsonl(tmp_path / "b.jsonl", ["nonsense"]), tokenizer)
    with pytest.raises(DataError, match="No such file"):
        load(tmp_path / "c.jsonl", tokenizer)


def test_duplicates_and_overlong_examples_are_counted_not_scored(
    tmp_path: Path, tokenizer: Any
) -> None:
    long = {"prompt": "word " * 400, "response": "x"}
    path = tiny.write_jsonl(tmp_path / "a.jsonl", [GOOD, long, GOOD])
    short = tiny.tokenizer()
    short.model_max_length = 100
    found = load(path, short)
    assert found.about.n == 1
    assert "a.jsonl:2: " in found.about.skipped[0]
    assert "the model takes 100" in found.about.skipped[0]
    assert "a.jsonl:3: the same example as line 1" in found.about.skipped[1]


def test_a_limit_takes_examples_spread_over_the_file(tmp_path: Path, tokenizer: Any) -> None:
    path = tiny.write_jsonl(tmp_path / "a.jsonl", tiny.rows(40))
    lines = [e.row.line for e in load(path, tokenizer, max_samples=4).examples]
    assert lines == [1, 11, 21, 31]


def test_the_hash_names_the_content(tmp_path: Path, tokenizer: Any) -> None:
    one = load(tiny.write_jsonl(tmp_path / "a.jsonl", tiny.rows(5)), tokenizer).about
    same = load(tiny.write_jsonl(tmp_path / "b.jsonl", tiny.rows(5)), tokenizer).about
    other = load(tiny.write_jsonl(tmp_path / "c.jsonl", tiny.rows(6)), tokenizer).about
    assert one.hash == same.hash != other.hash
