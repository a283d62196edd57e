"""What is seen of a Trainer's data before the first step, by faults put into real tokenised rows."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from datasets import Dataset
from datasets import IterableDataset as Stream
from torch.utils.data import DataLoader
from transformers import DataCollatorForLanguageModeling, Trainer, TrainingArguments
from trl import SFTConfig, SFTTrainer
from watched import collate, encoded

import heldout
from heldout.adapters.training_data import training_data
from heldout.derive.history import History
from heldout.evals.fixed_set import FixedSet, load
from heldout.records import Data, Decision, Sample, Verdict
from heldout.store.journal import read
from heldout.verdicts.judge import Judge, judge
from heldout.verdicts.life import LEVELS

Item = dict[str, list[int]]


def looked(rows: Any, tokenizer: Any, collator: Any = collate, **more: Any) -> Data:
    loader = DataLoader(rows, batch_size=4, collate_fn=collator)
    return training_data(loader, tokenizer, tiny.model(), **{"most": 10_000, **more})


def counts(data: Data) -> dict[str, int]:
    """How many rows of each kind there are, where there are any."""
    return {kind: rows.n for kind, rows in data.found.items() if rows.n}


def findings(data: Data, fixed: FixedSet | None = None) -> dict[str, str]:
    """The worst level of each rule's alerts."""
    from facts import run

    judge_ = Judge()
    judge_.feed(run(eval_set=fixed.about) if fixed else run())
    judged = judge_.feed(data)
    opened = [v for v in judged if isinstance(v, Verdict) and v.state == "open"]
    opened.sort(key=lambda verdict: LEVELS.index(verdict.level))
    return {verdict.rule: verdict.level for verdict in opened}


def items(tokenizer: Any, n: int = 100) -> list[Item]:
    return [dict(row) for row in encoded(tokenizer, n)]


def test_clean_rows_are_counted_as_a_slow_count_does_and_nothing_is_found(tokenizer: Any) -> None:
    rows = items(tokenizer)
    data = looked(rows, tokenizer)
    assert (data.rows, data.looked_at) == (100, 100)
    assert data.tokens == sum(len(row["input_ids"]) for row in rows)
    assert data.label_tokens == sum(x != -100 for row in rows for x in row["labels"][1:])
    assert data.longest == max(len(row["input_ids"]) for row in rows)
    assert data.context == 512
    assert counts(data) == {}
    assert data.remarks == []
    assert findings(data) == {}


def masked(row: Item) -> Item:
    return {**row, "labels": [-100] * len(row["labels"])}


def without_end(row: Item) -> Item:
    return {**row, "labels": [-100 if x == 0 else x for x in row["labels"]]}


def doubled_begin(row: Item) -> Item:
    return {
        "input_ids": [1, *row["input_ids"]],
        "attention_mask": [1, *row["attention_mask"]],
        "labels": [-100, *row["labels"]],
    }


@pytest.mark.parametrize(
    ("fault", "rows", "kind", "found"),
    [
        (masked, range(100), "masked", {"data-masked": "critical"}),
        (masked, range(0, 100, 3), "masked", {"data-masked": "warning"}),
        (masked, range(0, 100, 20), "masked", {"data-masked": "warning"}),
        (without_end, range(100), "no_end", {"data-no-end": "error"}),
        (without_end, range(60), "no_end", {"data-no-end": "warning"}),
        (without_end, range(30), "no_end", {}),
        (doubled_begin, range(100), "double_bos", {"data-double-bos": "warning"}),
    ],
)
def test_a_fault_in_the_rows_is_found_with_the_rows_that_have_it(
    tokenizer: Any, fault: Callable[[Item], Item], rows: range, kind: str, found: dict[str, str]
) -> None:
    faulty = [fault(row) if i in rows else row for i, row in enumerate(items(tokenizer))]
    data = looked(faulty, tokenizer)
    assert counts(data) == {kind: len(rows)}
    assert data.found[kind].rows == list(rows)
    assert findings(data) == found


def test_a_collator_that_masks_every_padding_token_masks_the_end_that_is_the_same(
    tokenizer: Any,
) -> None:
    rows = [{"input_ids": row["input_ids"][:-1]} for row in items(tokenizer, 40)]  # ends with EOS
    data = looked(rows, tokenizer, DataCollatorForLanguageModeling(tokenizer, mlm=False))
    assert findings(data) == {"data-no-end": "error"}


def chat(tokenizer: Any, text: str) -> Item:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": ids}


@pytest.mark.parametrize(
    "text",
    [
        "<s>[INST] Question {} [/INST] Answer",
        "<|start_header_id|>user<|end_header_id|>\n\nQuestion {}<|eot_id|>",
        "<start_of_turn>user\nQuestion {}<end_of_turn>\n",
        "### Instruction:\nQuestion {}\n\n### Response:\nAnswer",
    ],
    ids=["llama 2", "llama 3", "gemma", "alpaca"],
)
def test_another_models_template_is_found_and_the_mark_is_named(tokenizer: Any, text: str) -> None:
    data = looked([chat(tokenizer, text.format(i) + "<|im_end|>") for i in range(50)], tokenizer)
    assert findings(data) == {"data-chat-template": "error"}
    assert data.found["foreign_marks"].n == 50
    assert data.strange.split(" as plain text")[0] in text


def test_answers_trained_without_the_templates_marks_are_warned_about(tokenizer: Any) -> None:
    rows = [chat(tokenizer, f"Question {i}? Answer<|im_end|>") for i in range(50)]
    end, begin = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|im_start|>"])
    plain = tiny.tokenizer()
    plain.eos_token = "<|endoftext|>"
    plain.add_special_tokens({"eos_token": "<|endoftext|>"})
    for row in rows:
        row["input_ids"] = [plain.eos_token_id if x == end else x for x in row["input_ids"]]
        row["labels"] = [-100] * 3 + row["input_ids"][3:]
    assert begin in set(encoded(tokenizer, 1)[0]["input_ids"])
    assert findings(looked(rows, plain)) == {"data-chat-template": "warning"}
    plain.chat_template = None
    assert findings(looked(rows, plain)) == {}


def held_out(tmp_path: Path, tokenizer: Any, rows: list[dict[str, Any]]) -> FixedSet:
    return load(tiny.write_jsonl(tmp_path / "e.jsonl", rows), tokenizer)


def test_held_out_rows_are_found_in_tokens_whatever_their_case_and_whitespace(
    tmp_path: Path, tokenizer: Any
) -> None:
    every = tiny.rows(120)
    fixed = held_out(tmp_path, tokenizer, every[100:])
    leaked = [
        {"messages": [{**m, "content": change(m["content"])} for m in row["messages"]]}
        for row, change in zip(every[100:106], [str, str.upper, str.lower] * 2, strict=True)
    ]
    leaked[3]["messages"][0]["content"] = "  " + leaked[3]["messages"][0]["content"] + "\n\n"
    asked = {"messages": [every[110]["messages"][0], {"role": "assistant", "content": "other"}]}
    train = [*every[:100], *leaked, asked]
    data = looked(rendered(tokenizer, train), tokenizer, held_out=fixed.examples)
    assert data.held_out == 20
    assert data.found["leaked"].rows == list(range(100, 106))
    assert data.found["leaked"].partners == [1, 2, 3, 4, 5, 6]
    assert (data.found["leaked_prompt"].rows, data.found["leaked_prompt"].partners) == ([106], [11])
    assert findings(data) == {"data-leakage": "error"}
    clean = looked(rendered(tokenizer, every[:100]), tokenizer, held_out=fixed.examples)
    assert counts(clean) == {}


def rendered(tokenizer: Any, rows: list[dict[str, Any]]) -> list[Item]:
    found = []
    for row in rows:
        ids = tokenizer.apply_chat_template(row["messages"], return_dict=False)
        prompt = tokenizer.apply_chat_template(
            row["messages"][:-1], add_generation_prompt=True, return_dict=False
        )
        labels = [-100] * len(prompt) + ids[len(prompt) :]
        found.append({"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels})
    return found


def test_answers_that_are_trained_in_another_form_than_they_are_scored_in_are_told(
    tmp_path: Path, tokenizer: Any
) -> None:
    fixed = held_out(tmp_path, tokenizer, tiny.rows(40)[30:])
    train = tiny.rows(30)
    data = looked(rendered(tokenizer, train), tokenizer, held_out=fixed.examples)
    assert data.opening == "<|im_start|>assistant\n"
    assert (data.found["opened_otherwise"].n, data.found["plain_text"].n) == (0, 0)
    texts = [tokenizer(f"{a['content']}\nAnswer: {b['content']}<|im_end|>")["input_ids"]
             for a, b in (row["messages"] for row in train)]  # fmt: skip
    for masked, level in ((0, "warning"), (3, "error")):  # all of it trained, or the answer alone
        rows = [{"input_ids": ids, "labels": [-100] * masked + ids[masked:]} for ids in texts]
        data = looked(rows, tokenizer, held_out=fixed.examples, collator=lambda rows: plain(rows))
        assert findings(data, fixed)["prompt-mismatch"] == level


def plain(rows: Any) -> dict[str, Any]:
    """A batch of one row as it is."""
    return {name: torch.tensor([rows[0][name]]) for name in rows[0]}


def test_the_same_prompt_with_another_label_token_is_no_leaked_answer(tmp_path: Path) -> None:
    labels = tiny.tokenizer()
    labels.add_special_tokens({"additional_special_tokens": ["<|yes|>", "<|no|>"]})
    asked = [{"role": "user", "content": "Is 3 odd?"}]
    yes, no = (
        {"messages": [*asked, {"role": "assistant", "content": t}]} for t in ("<|yes|>", "<|no|>")
    )
    fixed = held_out(tmp_path, labels, [yes])
    data = looked(rendered(labels, [no, yes]), labels, held_out=fixed.examples)
    assert (data.found["leaked_prompt"].rows, data.found["leaked"].rows) == ([0], [1])


def test_rows_that_repeat_name_the_first_of_their_kind(tokenizer: Any) -> None:
    rows = items(tokenizer, 50)
    data = looked([*rows, *rows[10:14]], tokenizer)
    assert data.found["duplicate"].rows == [50, 51, 52, 53]
    assert data.found["duplicate"].partners == [10, 11, 12, 13]
    assert findings(data) == {"data-duplicates": "warning"}


@pytest.mark.parametrize("told", [True, False])
def test_a_row_that_is_cut_ends_without_an_end_rightly(tokenizer: Any, told: bool) -> None:
    long = [
        {"messages": [row["messages"][0], {"role": "assistant", "content": "word " * (60 + i)}]}
        for i, row in enumerate(tiny.rows(20))
    ]
    cut = [{k: v[:80] for k, v in row.items()} for row in rendered(tokenizer, long)]
    data = looked([*items(tokenizer), *cut], tokenizer, max_length=80 if told else None)
    assert counts(data) == {"cut": 20}
    assert data.found["cut"].rows == list(range(100, 120))
    assert (data.max_length, data.longest) == (80, 80)
    assert findings(data) == {"data-too-long": "warning"}


def test_no_tokenizer_still_counts_labels_and_says_what_was_not_looked_for(tokenizer: Any) -> None:
    data = looked([masked(row) for row in items(tokenizer)], None)
    assert "no_end" not in data.found
    assert "there is no tokenizer" in data.remarks[0]
    assert findings(data) == {"data-masked": "critical"}


class Counted(torch.utils.data.Dataset[Any]):
    """A dataset with state of its own."""

    def __init__(self, rows: list[Item]) -> None:
        self.rows = rows
        self.generator = torch.Generator()
        self.asked = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Item:
        self.asked += 1
        return self.rows[index]


def test_what_keeps_a_state_of_its_own_is_left_alone(tokenizer: Any) -> None:
    rows = Counted(items(tokenizer))
    data = looked(rows, tokenizer)
    assert (data.rows, data.looked_at, rows.asked) == (100, 0, 0)
    assert "keeps a state of its own (generator)" in data.remarks[0]


def test_a_stream_is_said_and_not_consumed(tokenizer: Any) -> None:
    consumed = []

    def generate() -> Iterator[Item]:
        for row in items(tokenizer, 8):
            consumed.append(row)
            yield row

    data = looked(Stream.from_generator(generate), tokenizer)
    assert "it is a stream" in data.remarks[0]
    assert consumed == []
    assert findings(data) == {}


@pytest.mark.parametrize(
    ("batch", "reason"),
    [
        ({"prompt_ids": 1}, "no input_ids with labels, found prompt_ids"),
        ({"input_ids": [[1, 2]], "labels": [3]}, "labels are not by token: 1 for 2"),
    ],
)
def test_rows_of_another_kind_of_training_are_said(
    tokenizer: Any, batch: dict[str, Any], reason: str
) -> None:
    data = looked(items(tokenizer, 8), tokenizer, lambda _: batch)
    assert data.looked_at == 0
    assert reason in data.remarks[0]


def test_looking_is_bounded_in_rows_and_in_time_and_evenly_spread(tokenizer: Any) -> None:
    rows = [masked(row) for row in items(tokenizer)]
    few = looked(rows, tokenizer, most=10)
    assert few.found["masked"].rows == list(range(0, 100, 10))
    assert few.remarks == ["10 of 100 rows were looked at, evenly spaced"]
    none = looked(rows, tokenizer, seconds=-1.0)
    assert none.looked_at == 0
    assert "until time was up" in none.remarks[0]


def test_looking_leaves_every_random_state_as_it_was(tokenizer: Any) -> None:
    def draw(rows: list[Item]) -> dict[str, Any]:
        torch.rand(1), np.random.rand(1), random.random()  # noqa: NPY002
        return collate(rows)

    def states() -> list[Any]:
        numpy = np.random.get_state()  # noqa: NPY002
        return [torch.get_rng_state().tolist(), numpy[1].tolist(), numpy[2], random.getstate()]

    before = states()
    looked(items(tokenizer), tokenizer, draw)
    assert states() == before


def journal(tmp_path: Path) -> list[Any]:
    return read(tmp_path / "runs" / "r" / "journal.jsonl")[0]


def test_an_sft_run_records_its_data_before_the_first_step_and_replay_agrees(
    tmp_path: Path, tokenizer: Any
) -> None:
    rows = [row["messages"] for row in tiny.rows(24)]
    SFTTrainer(
        model=tiny.lora_model(),
        args=SFTConfig(
            output_dir=str(tmp_path / "out"),
            max_steps=2,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            activation_checkpointing=False,
        ),
        train_dataset=Dataset.from_dict(
            {"prompt": [r[:-1] for r in rows], "completion": [r[-1:] for r in rows]}
        ),
        processing_class=tokenizer,
        callbacks=[heldout.Monitor(None, runs=tmp_path / "runs", run="r")],
    ).train()
    records = journal(tmp_path)
    (data,) = (record for record in records if isinstance(record, Data))
    first = next(i for i, record in enumerate(records) if isinstance(record, Sample))
    assert records.index(data) < first
    assert (data.rows, data.looked_at, data.max_length) == (24, 24, 1024)
    assert counts(data) == {}
    live = [record for record in records if isinstance(record, Verdict | Decision)]
    facts = [record for record in records if not isinstance(record, Verdict | Decision)]
    assert judge(facts) == live


@pytest.mark.parametrize("check_data", [True, False])
def test_a_masked_run_is_alerted_before_its_first_step_unless_told_not_to_look(
    tmp_path: Path, tokenizer: Any, check_data: bool
) -> None:
    Trainer(
        model=tiny.lora_model(),
        args=TrainingArguments(
            output_dir=str(tmp_path / "out"),
            max_steps=1,
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        ),
        train_dataset=encoded(tokenizer).map(masked),
        data_collator=collate,
        processing_class=tokenizer,
        callbacks=[heldout.Monitor(None, runs=tmp_path / "runs", run="r", check_data=check_data)],
    ).train()
    opened = [v for v in journal(tmp_path) if isinstance(v, Verdict) and v.rule == "data-masked"]
    assert [(v.step, v.level) for v in opened if v.state == "open"] == (
        [(0, "critical")] if check_data else []
    )
    assert (History.of(journal(tmp_path)).data is not None) is check_data


def test_training_on_rows_that_are_drawn_as_they_are_read_is_bit_equal_when_they_are_looked_at(
    tmp_path: Path, tokenizer: Any
) -> None:
    def drawn(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        keep = [int(torch.randint(2, len(ids), ())) for ids in batch["input_ids"]]
        return {key: [x[:n] for x, n in zip(batch[key], keep, strict=True)] for key in batch}

    weights = []
    for look in (False, True):
        model = tiny.lora_model(lora_dropout=0.2)
        monitor = heldout.Monitor(None, runs=tmp_path / str(look), check_data=look)
        Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=str(tmp_path / "out"),
                max_steps=3,
                learning_rate=1e-2,
                report_to="none",
                disable_tqdm=True,
                use_cpu=True,
                seed=3,
            ),
            train_dataset=encoded(tokenizer).with_transform(drawn),
            data_collator=collate,
            processing_class=tokenizer,
            callbacks=[monitor],
        ).train()
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*weights)
