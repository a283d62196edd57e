"""What is scored is what is trained and served, for every chat template that TRL ships."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import memory
import pytest
import tiny

from heldout.errors import EmptySet
from heldout.evals.evaluate import Evaluator, FixedEvalSet
from heldout.evals.options import EvalOptions

NAMES = ("Paris", "Rome", "Madrid", "Lima", "Havana", "Oslo", "Tokyo", "Cairo")
PARTS = ("idefics3", "llava_next", "smolvlm")
"""Templates that drop or refuse text: they take messages as lists of parts."""
ROWS = [
    [
        {"role": "user", "content": f"Capital number {i}?"},
        {"role": "assistant", "content": name},
    ]
    for i, name in enumerate(NAMES)
]


def answered(kind: str) -> Iterator[list[dict[str, str]]]:
    """Eight rows without thoughts; three with thoughts beside the answer, or with thoughts in its text."""
    for (question, answer), name in zip(ROWS[: 8 if kind == "plain" else 3], NAMES, strict=False):
        if kind == "beside":
            yield [question, {**answer, "reasoning_content": f"It begins with {name[0]}."}]
        elif kind == "inside":
            text = f"<think>\nIt begins with {name[0]}.\n</think>\n\n{name}"
            yield [question, {**answer, "content": text}]
        else:
            yield [question, answer]


def cases() -> Iterator[tuple[str, str, dict[str, bool], str]]:
    """Every template with every way to ask for thoughts or not."""
    for path in sorted(memory.TEMPLATES.glob("*.jinja")):
        template = path.read_text(encoding="utf-8")
        if path.stem.removesuffix("_training") in PARTS:
            continue
        switch = "enable_thinking" in template
        for kwargs in ({}, {"enable_thinking": True}, {"enable_thinking": False}):
            for kind in ("plain", "beside", "inside") if switch or not kwargs else ():
                yield path.stem, template, kwargs, kind


def sample(template: str, kwargs: dict[str, bool], kind: str) -> tuple[str, str]:
    """What a server is asked and what TRL trains, as text, of the first row."""
    tokenizer = memory.tokenizer(template)
    messages = next(answered(kind))
    asked = {"tokenize": False, "add_generation_prompt": True}
    return (
        tokenizer.apply_chat_template(messages[:-1], **asked, **kwargs),
        tokenizer.apply_chat_template(messages, tokenize=False, **kwargs),
    )


class Case:
    """One template, its arguments and rows: what TRL trains, and what a server is asked."""

    def __init__(self, template: str, kwargs: dict[str, bool], kind: str) -> None:
        self.tokenizer = tokenizer = memory.tokenizer(template)
        self.rows = list(answered(kind))
        self.streams: list[list[int]] = []
        self.served: list[list[int]] = []
        self.golden: list[list[int]] = []
        for messages in self.rows:
            whole = tokenizer.apply_chat_template(messages, return_dict=False, **kwargs)
            asked = tokenizer.apply_chat_template(
                messages[:-1], return_dict=False, add_generation_prompt=True, **kwargs
            )
            text = tokenizer.apply_chat_template(messages, tokenize=False, **kwargs)
            behind = tokenizer(text.rpartition(messages[1]["content"][-3:])[2])["input_ids"]
            special = [token for token in behind if token in tokenizer.all_special_ids]
            self.end = (special or [tokenizer.eos_token_id])[0]
            same = [a == b for a, b in zip(asked, whole, strict=False)] + [False]
            split = same.index(False)
            answer = whole[split:]
            if self.end in answer:
                answer = answer[: answer.index(self.end) + 1]
            self.streams.append(whole)
            self.served.append(asked)
            self.golden.append(answer)

    @property
    def alike(self) -> bool:
        """Whether a server is asked with what training shows in front of the answers."""
        pairs = zip(self.served, self.streams, strict=True)
        return all(whole[: len(asked)] == asked for asked, whole in pairs)

    def ce(self) -> float:
        """The cross-entropy per answer token of a model that has learned the streams."""
        sums, count = 0.0, 0
        for whole, answer in zip(self.streams, self.golden, strict=True):
            begin = next(i for i in range(len(whole)) if whole[i : i + len(answer)] == answer)
            for place in range(begin, begin + len(answer)):
                logit = memory.Memory.certainty(place)
                sums += math.log(math.exp(logit) + len(self.tokenizer) - 1) - logit
                count += 1
        return sums / count


def test_a_model_that_has_learned_all_rows_scores_100_percent_with_every_template(
    tmp_path: Path,
) -> None:
    wrong, unlike, known = [], set(), set()
    for name, template, kwargs, kind in cases():
        if (shown := sample(template, kwargs, kind)) in known:
            continue
        known.add(shown)
        case = Case(template, kwargs, kind)
        model = memory.Memory(case.streams, len(case.tokenizer), case.end).eval()
        path = tiny.write_jsonl(tmp_path / "set.jsonl", [{"messages": row} for row in case.rows])
        options = EvalOptions(template_kwargs=kwargs)
        found = FixedEvalSet(path, case.tokenizer, options=options)
        result = found.evaluate(model, 0)
        said = [tiny.generate(model, asked, 40) for asked in case.served[:2]]
        right = {
            "em": result["em"] == result["token_em"] == 1.0,
            "ce": abs(result["ce"] - case.ce()) < 1e-5,
            "generate": (said == case.golden[:2]) == case.alike or case.end not in case.golden[0],
            "rechecked": (result["rechecked"], result["mismatched"]) == (len(case.rows), []),
            "told": bool(found.fixed.about.difference) != case.alike,
        }
        if not case.alike:
            unlike.add(name)
        if not all(right.values()):
            wrong.append((name, kwargs, kind, [k for k, v in right.items() if not v]))
    assert wrong == []
    assert len(known) > 60
    assert {"deepseek_r1_distill", "nemotron_3_nano"} <= unlike
    assert {"qwen3_training", "llama3", "gptoss"}.isdisjoint(unlike)


def test_label_tokens_are_answers_and_saying_nothing_is_none(tmp_path: Path) -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|yes|>", "<|no|>"]})
    labels = ["<|yes|>", "<|no|>", "<|no|>", "<|no|>"]
    rows = [
        [{"role": "user", "content": f"Is {i} odd?"}, {"role": "assistant", "content": label}]
        for i, label in enumerate(labels)
    ]
    path = tiny.write_jsonl(tmp_path / "set.jsonl", [{"messages": row} for row in rows])
    found = FixedEvalSet(path, tokenizer)
    assert (len(found), found.fixed.about.skipped) == (4, [])
    for always, share in (("<|yes|>", 0.25), ("<|no|>", 0.75), ("", 0.0)):
        streams = [
            tokenizer.apply_chat_template(
                [row[0], {"role": "assistant", "content": always}], return_dict=False
            )
            for row in rows
        ]
        model = memory.Memory(streams, len(tokenizer), tokenizer.eos_token_id).eval()
        result = found.evaluate(model, 0)
        assert (result["em"], result["mismatched"]) == (share, [])


def test_a_prompt_that_no_server_makes_is_found_out_by_generate(tmp_path: Path) -> None:
    template = (memory.TEMPLATES / "qwen3.jinja").read_text(encoding="utf-8")
    case = Case(template, {}, "plain")
    model = memory.Memory(case.streams, len(case.tokenizer), case.end).eval()
    path = tiny.write_jsonl(tmp_path / "set.jsonl", [{"messages": row} for row in case.rows])
    right = FixedEvalSet(path, case.tokenizer).fixed
    block = len(case.tokenizer("<think>\n\n</think>\n\n")["input_ids"])
    wrong = [
        replace(
            each,
            prompt_ids=each.prompt_ids + each.response_ids[:block],
            response_ids=each.response_ids[block:],
        )
        for each in right.examples
    ]
    for examples, mismatched in ((right.examples, 0), (tuple(wrong), 8)):
        evaluator = Evaluator(replace(right, examples=examples), case.tokenizer)
        _, result = evaluator.evaluate(model, 0, check=True)
        assert (result.em, result.rechecked, len(result.mismatched)) == (1.0, 8, mismatched)


def test_texts_are_compared_without_the_thoughts_in_front_of_them(tmp_path: Path) -> None:
    template = (memory.TEMPLATES / "qwen3.jinja").read_text(encoding="utf-8")
    golden, other = Case(template, {}, "plain"), Case(template, {}, "beside")
    path = tiny.write_jsonl(tmp_path / "set.jsonl", [{"messages": row} for row in golden.rows])
    found = FixedEvalSet(path, golden.tokenizer)
    wrong = [[*asked, *golden.tokenizer("<think>\nNo.")["input_ids"]] for asked in golden.served]
    for streams, em in ((golden.streams, 1.0), (other.streams, 3 / 8), (wrong, 0.0)):
        model = memory.Memory(streams, len(golden.tokenizer), golden.end).eval()
        result = found.evaluate(model, 0)
        assert (result["em"], result["token_em"]) == (em, float(streams is golden.streams))


def test_a_template_that_drops_the_text_of_messages_is_told(tmp_path: Path) -> None:
    text = (memory.TEMPLATES / "smolvlm.jinja").read_text(encoding="utf-8")
    path = tiny.write_jsonl(tmp_path / "set.jsonl", [{"messages": ROWS[0]}])
    with pytest.raises(
        EmptySet, match=r"leaves out message 1, .* It takes messages in another form"
    ):
        FixedEvalSet(path, memory.tokenizer(text))
