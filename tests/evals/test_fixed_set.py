from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from heldout.errors import DataError, EmptySet, ModelError
from heldout.evals.evaluate import FixedEvalSet
from heldout.evals.fixed_set import FixedSet, load, most_tokens
from heldout.evals.overlap import Overlap, overlap
from heldout.evals.rendering import Style
from heldout.evals.rows import Keys, Message, Row, read_rows

GOOD = {"prompt": "What is the capital of Peru?", "response": "Lima"}


def asked(text: str) -> Message:
    return {"role": "user", "content": text}


def answer(text: str) -> Message:
    return {"role": "assistant", "content": text}


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


def test_a_generation_prompt_that_training_data_lacks_is_told_and_either_can_be_scored(
    tmp_path: Path,
) -> None:
    thinking = tiny.tokenizer()
    thinking.chat_template = tiny.TEMPLATE.replace("assistant\n", "assistant\n<think>\n")
    path = tiny.write_jsonl(tmp_path / "a.jsonl", [GOOD])
    for prompt, end in (("trained", "assistant\n"), ("served", "assistant\n<think>\n")):
        found = load(path, thinking, style=Style(prompt=prompt))
        assert thinking.decode(found.examples[0].prompt_ids).endswith(end)
        assert thinking.decode(found.examples[0].response_ids) == "Lima<|im_end|>"
        assert (found.about.unlike, found.about.prompt) == (1, prompt)
        assert "assistant\\n<think>\\n'" in found.about.difference
    assert load(path, tiny.tokenizer()).about.unlike == 0


def test_without_a_tokenizer_the_error_says_how_to_give_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="tokenizer=tokenizer"):
        load(tiny.write_jsonl(tmp_path / "a.jsonl", [GOOD]), None)


def test_an_empty_prompt_is_named(tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": "a"}]}
    found = load(tiny.write_jsonl(tmp_path / "a.jsonl", [row, GOOD]), tiny.tokenizer(template=None))
    assert "a.jsonl:1: no token of a prompt is left" in found.about.skipped[0]


def test_an_empty_set_says_why_each_line_failed(tmp_path: Path, tokenizer: Any) -> None:
    with pytest.raises(EmptySet, match="It is empty"):
        load(tiny.write_jsonl(tmp_path / "a.jsonl", []), tokenizer)
    with pytest.raises(EmptySet, match=r"b\.jsonl:1: not JSON"):
        load(tiny.write_jsonl(tmp_path / "b.jsonl", ["nonsense"]), tokenizer)
    with pytest.raises(DataError, match="No such file"):
        load(tmp_path / "c.jsonl", tokenizer)


def test_duplicates_are_named_with_both_lines(tmp_path: Path, tokenizer: Any) -> None:
    again = {"messages": [{"role": "user", "content": GOOD["prompt"]}, answer("Lima")]}
    path = tiny.write_jsonl(tmp_path / "a.jsonl", [GOOD, {**GOOD, "pattern": "p"}, again])
    about = load(path, tokenizer).about
    assert about.n == 1
    assert about.skipped == [f"{path}:{line}: the same example as line 1" for line in (2, 3)]


def test_overlong_examples_are_counted_and_reported_not_cut(tmp_path: Path) -> None:
    long = {"prompt": "word " * 400, "response": "x"}
    path = tiny.write_jsonl(tmp_path / "a.jsonl", [GOOD, long])
    short = tiny.tokenizer()
    short.model_max_length = 100
    about = load(path, short).about
    assert (about.n, about.too_long) == (1, 1)
    assert about.skipped[0].startswith(f"{path}:2: ")
    assert about.skipped[0].endswith(" tokens, the model takes 100")
    assert about.remarks == [
        "1 of 2 examples are longer than the model or eval.max_tokens allows: left out, not cut"
    ]


def test_an_example_of_just_as_many_tokens_as_the_limit_fits(
    tmp_path: Path, tokenizer: Any
) -> None:
    path = tiny.write_jsonl(tmp_path / "a.jsonl", [GOOD, {"prompt": "a", "response": "b"}])
    example = load(path, tokenizer).examples[0]
    size = len(example.prompt_ids) + len(example.response_ids)
    assert load(path, tokenizer, max_tokens=size).about.too_long == 0
    about = load(path, tokenizer, max_tokens=size - 1).about
    assert (about.n, about.too_long) == (1, 1)
    assert f"a.jsonl:1: {size} tokens, more than the limit of {size - 1} (" in about.skipped[0]


def test_the_most_tokens_are_the_least_of_the_models_and_the_setting() -> None:
    config = tiny.config(max_position_embeddings=512)
    assert most_tokens(config) == most_tokens(config, 600) == 512
    assert most_tokens(config, 100) == most_tokens(object(), 100) == 100
    assert most_tokens(object()) is None
    assert most_tokens(SimpleNamespace(text_config=config)) == 512


def test_a_limit_takes_examples_spread_over_the_file(tmp_path: Path, tokenizer: Any) -> None:
    path = tiny.write_jsonl(tmp_path / "a.jsonl", tiny.rows(40))
    lines = [e.row.line for e in load(path, tokenizer, max_samples=4).examples]
    assert lines == [1, 11, 21, 31]


def test_the_hash_names_the_content_alone(tmp_path: Path, tokenizer: Any) -> None:
    path = tiny.write_jsonl(tmp_path / "a.jsonl", tiny.rows(5))
    labelled = [{**row, "pattern": "p", "group": i} for i, row in enumerate(tiny.rows(5))]
    pairs = [
        {"question": row["messages"][0]["content"], "answer": row["messages"][1]["content"]}
        for row in reversed(tiny.rows(5))
    ]
    other = tiny.tokenizer()
    other.chat_template = "{{ bos_token }}" + tiny.TEMPLATE.replace("<|im_end|>", "!<|im_end|>")
    hashes = {
        load(path, tokenizer).about.hash,
        load(path, other).about.hash,
        load(tiny.write_jsonl(tmp_path / "b.jsonl", labelled), tokenizer).about.hash,
        load(tiny.write_jsonl(tmp_path / "c.jsonl", pairs), tiny.tokenizer(None)).about.hash,
    }
    assert len(hashes) == 1
    more = load(tiny.write_jsonl(tmp_path / "d.jsonl", tiny.rows(6)), tokenizer).about.hash
    accepted = [{**row, "references": ["other"]} for row in tiny.rows(5)]
    wider = load(tiny.write_jsonl(tmp_path / "e.jsonl", accepted), tokenizer).about.hash
    assert len(hashes | {more, wider}) == 3


@pytest.mark.parametrize("text", ["im", "end", "e", "Lima<|im_end|>"])
def test_an_answer_that_the_turns_end_holds_too_is_ended_as_any_other(
    tmp_path: Path, text: str
) -> None:
    ends = tiny.tokenizer()
    path = tiny.write_jsonl(tmp_path / "a.jsonl", [{**GOOD, "response": text}])
    for template in (tiny.TEMPLATE, tiny.TEMPLATE.replace("assistant\n", "assistant\n<think>")):
        ends.chat_template = template
        (example,) = load(path, ends).examples
        assert ends.decode(example.response_ids) == text.removesuffix("<|im_end|>") + "<|im_end|>"


def test_an_answer_of_nothing_but_its_end_is_left_out(tmp_path: Path) -> None:
    path = tiny.write_jsonl(tmp_path / "a.jsonl", [GOOD, {**GOOD, "response": "<|im_end|>"}])
    about = load(path, tiny.tokenizer()).about
    assert about.n == 1
    assert about.skipped == [f"{path}:2: the answer has no token before the one that ends it"]


def test_an_answer_that_the_template_strips_ends_its_turn_too(tmp_path: Path) -> None:
    strips = tiny.tokenizer()
    strips.chat_template = tiny.TEMPLATE.replace("m['content']", "m['content'] | trim")
    path = tiny.write_jsonl(tmp_path / "a.jsonl", [{**GOOD, "response": "Lima\n"}])
    (example,) = load(path, strips).examples
    assert strips.decode(example.response_ids) == "Lima<|im_end|>"
    assert not example.unlike


def test_other_special_tokens_in_an_answer_do_not_end_it(tmp_path: Path) -> None:
    thinks = tiny.tokenizer()
    thinks.add_special_tokens({"additional_special_tokens": ["<think>"]})
    path = tiny.write_jsonl(tmp_path / "a.jsonl", [{**GOOD, "response": "<think>Peru. Lima"}])
    (example,) = load(path, thinks).examples
    assert thinks.decode(example.response_ids) == "<think>Peru. Lima<|im_end|>"


def test_tokens_that_merge_over_the_border_are_the_answers_as_they_are_trained(
    tmp_path: Path,
) -> None:
    plain = tiny.tokenizer(template=None)
    merging = next(w for w in ("capital", "content", "role") if len(plain.tokenize(w)) == 1)
    row = {"prompt": f"The {merging[:3]}", "response": merging[3:]}
    found = load(tiny.write_jsonl(tmp_path / "a.jsonl", [row, GOOD]), plain)
    merged = found.examples[0]
    whole = plain(row["prompt"] + row["response"] + plain.eos_token)["input_ids"]
    assert [*merged.prompt_ids, *merged.response_ids] == whole
    assert [bool(example.unlike) for example in found.examples] == [True, False]
    assert (found.about.unlike, found.about.difference) == (1, merged.unlike)


def test_each_turn_is_an_example_of_its_own(tmp_path: Path, tokenizer: Any) -> None:
    turns = [asked("1 + 1?"), answer("2"), asked("And 1?"), answer("3")]
    path = tiny.write_jsonl(tmp_path / "a.jsonl", [{"messages": turns}, GOOD])
    found = load(path, tokenizer, turns="all").examples
    assert [example.row.response for example in found] == ["2", "3", "Lima"]
    assert [example.row.group for example in found] == ["line 1", "line 1", ""]
    assert len({example.id for example in found}) == 3
    assert load(path, tokenizer).about.n == 2


def test_mapped_keys_are_used(tmp_path: Path, tokenizer: Any) -> None:
    path = tiny.write_jsonl(tmp_path / "a.jsonl", [{**GOOD, "gold": "Cusco"}])
    (example,) = load(path, tokenizer, keys=Keys(response="gold")).examples
    assert example.row.response == "Cusco"


def test_one_group_for_all_is_ignored_and_few_groups_are_remarked(
    tmp_path: Path, tokenizer: Any
) -> None:
    def grouped(groups: list[object]) -> FixedSet:
        rows = [{**row, "group": group} for row, group in zip(tiny.rows(40), groups, strict=True)]
        return load(tiny.write_jsonl(tmp_path / "a.jsonl", rows), tokenizer)

    one = grouped(["squad"] * 40)
    assert {example.row.group for example in one.examples} == {""}
    assert one.about.remarks == [
        "all examples are of one group, 'squad', so it says nothing: ignored"
    ]
    few = grouped([i % 2 for i in range(40)])
    assert {example.row.group for example in few.examples} == {"0", "1"}
    assert "all examples are of only 2 groups, so intervals are rough" in few.about.remarks[0]
    assert grouped([i % 20 for i in range(40)]).about.remarks == []


def test_one_prompt_with_two_golden_responses_is_remarked(tmp_path: Path, tokenizer: Any) -> None:
    path = tiny.write_jsonl(tmp_path / "a.jsonl", [GOOD, {**GOOD, "response": "Cusco"}])
    about = load(path, tokenizer).about
    assert about.n == 2
    assert about.remarks[0].startswith("1 of 2 examples repeat the prompt of another one")
    assert f"{path}:2 has the prompt of {path}:1." in about.remarks[0]


# What the training set gives away.


def shared(tmp_path: Path, held_out: list[Any], train: list[Any]) -> Overlap:
    one = read_rows(tiny.write_jsonl(tmp_path / "eval.jsonl", held_out))[0]
    other = read_rows(tiny.write_jsonl(tmp_path / "train.jsonl", train))[0]
    found = overlap(one, other)

    def short(sentences: list[str]) -> list[str]:
        return [sentence.replace(f"{tmp_path}/", "") for sentence in sentences]

    return Overlap(same=short(found.same), other_answer=short(found.other_answer))


def test_examples_that_are_also_trained_on_are_named_with_both_lines(tmp_path: Path) -> None:
    rows = tiny.rows(6)
    found = shared(tmp_path, rows[:3], [rows[5], rows[1], rows[4], rows[1]])
    assert found == Overlap(
        same=["eval.jsonl:2 is also train.jsonl:2 (and 1 more)"], other_answer=[]
    )


def test_a_prompt_that_is_trained_on_with_another_answer_is_named_apart(tmp_path: Path) -> None:
    found = shared(tmp_path, [GOOD], [{**GOOD, "response": "Cusco"}])
    assert found.same == []
    assert found.other_answer == [
        "eval.jsonl:1 has the prompt of train.jsonl:1, with another answer"
    ]
    both = shared(tmp_path, [GOOD], [{**GOOD, "response": "Cusco"}, GOOD])
    assert (both.same, both.other_answer) == (["eval.jsonl:1 is also train.jsonl:2"], [])


def test_overlap_ignores_case_whitespace_keys_and_for_the_same_answer_the_system_message(
    tmp_path: Path,
) -> None:
    shouted = {"question": " WHAT is\nthe capital  of peru? ", "answer": "lima "}
    assert shared(tmp_path, [GOOD], [shouted]).same == ["eval.jsonl:1 is also train.jsonl:1"]
    assert shared(tmp_path, [GOOD], [{**GOOD, "system": "Be brief."}]).same
    other = {**GOOD, "response": "Lima (Quechua)", "system": "Answer in Quechua."}
    assert shared(tmp_path, [GOOD], [other]) == Overlap(same=[], other_answer=[])


def test_overlap_looks_at_references_and_at_earlier_turns_of_training(tmp_path: Path) -> None:
    wide = {**GOOD, "response": "Lima, Peru", "references": ["Lima"]}
    assert shared(tmp_path, [wide], [GOOD]).same
    assert shared(tmp_path, [GOOD], [wide]).same
    turns = [asked(GOOD["prompt"]), answer("Lima"), asked("And of Cuba?"), answer("Havana")]
    assert shared(tmp_path, [GOOD], [{"messages": turns}]).same


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), max_size=8), st.data())
def test_overlap_is_what_comparing_all_pairs_gives(
    pairs: list[tuple[str, str]], data: st.DataObject
) -> None:
    def rows(texts: list[tuple[str, str]]) -> list[Row]:
        return [Row(line=i, messages=(asked(a), answer(b))) for i, (a, b) in enumerate(texts)]

    cut = data.draw(st.integers(0, len(pairs)))
    held_out, train = pairs[:cut], pairs[cut:]
    found = overlap(rows(held_out), rows(train))
    same = [i for i, pair in enumerate(held_out) if pair in train]
    prompts = {prompt for prompt, _ in train}
    other = [i for i, p in enumerate(held_out) if p[0] in prompts and i not in same]
    assert [int(text.split()[1]) for text in found.same] == same
    assert [int(text.split()[1]) for text in found.other_answer] == other


def test_the_sets_overlap_with_training_is_recorded_and_remarked(
    tmp_path: Path, tokenizer: Any
) -> None:
    rows = tiny.rows(8)
    path = tiny.write_jsonl(tmp_path / "eval.jsonl", rows[:6])
    changed = {"prompt": rows[5]["messages"][0]["content"], "response": "no"}
    train = read_rows(tiny.write_jsonl(tmp_path / "train.jsonl", [*rows[:5], changed]))[0]
    about = load(path, tokenizer, train_rows=train).about
    assert len(about.overlap) == 6
    first, second = about.remarks
    assert first.startswith("5 of 6 examples are also in the training set")
    assert f"{path}:1 is also {tmp_path / 'train.jsonl'}:1; " in first
    assert first.endswith("; and 2 more.")
    assert second.startswith("1 of 6 prompts are also in the training set with another answer")
    assert load(path, tokenizer, train_rows=train[:0]).about.overlap == []


def test_a_path_is_recorded_from_the_root_and_rows_in_memory_have_none(
    tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.write_jsonl(tmp_path / "a.jsonl", tiny.rows(4))
    monkeypatch.chdir(tmp_path)
    from_file, given = load("a.jsonl", tokenizer), load(tiny.rows(4), tokenizer)
    assert (from_file.about.path, given.about.path) == (str(tmp_path / "a.jsonl"), "")
    assert given.about.hash == from_file.about.hash
    assert given.examples[0].row.place == "row 1"


def test_reasoning_that_the_template_does_not_write_is_told(tokenizer: Any) -> None:
    row = {"messages": [asked("1+1?"), answer("2") | {"reasoning_content": "one and one"}]}
    (said,) = load([row], tokenizer).about.remarks
    assert said.startswith(
        "1 of 1 answers come with reasoning that the chat template does not write"
    )
    writes = tiny.TEMPLATE.replace(
        "{{ m['content'] }}", "{{ m.reasoning_content }}{{ m['content'] }}"
    )
    assert load([row], tiny.tokenizer(writes)).about.remarks == []


def test_a_column_that_names_the_data_set_is_no_cluster_unless_you_say_so(tokenizer: Any) -> None:
    rows = [{**row, "source": i % 3} for i, row in enumerate(tiny.rows(30))]
    assert {each.row.group for each in load(rows, tokenizer).examples} == {""}
    named = load(rows, tokenizer, keys=Keys(group="source"))
    assert {each.row.group for each in named.examples} == {"0", "1", "2"}
    assert "only 3 groups" in named.about.remarks[0]


def test_tokens_without_an_embedding_are_named_before_the_pass() -> None:
    larger = tiny.tokenizer()
    larger.add_tokens([f"<label-{i}>" for i in range(200)])
    rows = [*tiny.rows(3), {"prompt": "Which?", "response": "<label-150>"}]
    model = tiny.model()
    token = larger.convert_tokens_to_ids("<label-150>")
    said = f"token {token} '<label-150>' has no embedding, the model has 400 (0 to 399). Call "
    found = load(rows, larger, embeddings=400)
    assert found.about.n == 3
    assert found.about.skipped[0].startswith(f"row 4: {said}model.resize_token_embeddings")
    fixed = FixedEvalSet(rows, larger)
    assert fixed.evaluate(model, step=0)["n"] == len(fixed) == 3
    most = [*rows[2:], {"prompt": "And?", "response": "<label-151>"}]
    with pytest.raises(ModelError, match="2 of 3 rows: row 2: token"):
        load(most, larger, embeddings=400)
    with pytest.raises(ModelError, match="2 of 3 examples: row 2: token"):
        FixedEvalSet(most, larger).evaluate(model, step=0)
