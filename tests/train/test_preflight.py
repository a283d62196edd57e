"""The check before training: TRL's rows row for row, the mission's faults, and what it stops."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import memory
import pytest
import tiny
import yaml
from trl import SFTConfig, SFTTrainer

from heldout.config import SETTINGS, load
from heldout.derive.history import History
from heldout.derive.preflight import Preflight
from heldout.errors import DataError
from heldout.records import Data
from heldout.store.journal import read
from heldout.train.data import as_conversations, load_rows
from heldout.train.estimate import evaluation_steps, most_checkpoints
from heldout.train.preflight import check
from heldout.train.run import train
from heldout.train.tokens import rendered, tokens_of, training_renderer

Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small local model with its tokenizer."""
    folder = tmp_path_factory.mktemp("model")
    tiny.model().save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


def settings(model: Path | None, train_set: Path, eval_set: Path | None, **more: Any) -> Any:
    values = {setting.name: setting.default for setting in SETTINGS}
    given = {
        "model.name": str(model) if model else None,
        "data.train": str(train_set),
        "eval.data": str(eval_set) if eval_set else None,
        "output.runs": str(train_set.parent / "runs"),
    }
    return values | given | more


def checked(
    tmp_path: Path,
    model: Path | None,
    rows: Sequence[object],
    held_out: Sequence[object],
    **more: Any,
) -> Preflight:
    train_set = tiny.write_jsonl(tmp_path / "train.jsonl", rows)
    eval_set = tiny.write_jsonl(tmp_path / "eval.jsonl", held_out)
    return check(settings(model, train_set, eval_set, **more))


def levels(found: Preflight) -> dict[str, str]:
    """The worst level of each rule; findings come worst first."""
    return {each.rule: each.level for each in reversed(found.findings)}


def long_rows(n: int) -> Lines:
    words = random.Random(1)
    return [
        {
            "prompt": f"Say {i} words.",
            "response": " ".join(words.choices(["ten", "a"], k=i % 60 + 1)),
        }
        for i in range(n)
    ]


@pytest.mark.parametrize("template", [tiny.TEMPLATE, None], ids=["chat", "plain"])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"completion_only_loss": False},
        {"max_length": 40},
        {"max_length": None},
    ],
    ids=lambda more: "-".join(more) or "as it is",
)
def test_tokens_and_labels_are_those_that_the_sft_trainer_makes(
    tmp_path: Path, template: str | None, more: dict[str, Any]
) -> None:
    tokenizer = tiny.tokenizer(template)
    rows = load_rows(tiny.write_jsonl(tmp_path / "t.jsonl", [*long_rows(60), *tiny.rows(20)])).rows
    args = SFTConfig(
        output_dir=str(tmp_path),
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        activation_checkpointing=False,
        **{"completion_only_loss": True, **more},
    )
    renderer = training_renderer(tokenizer, args, {})
    ours = list(tokens_of(rendered(rows, renderer)[0], renderer, args))
    trainer = SFTTrainer(
        model=tiny.model(),
        args=args,
        train_dataset=as_conversations(rows, renderer, ""),
        processing_class=tokenizer,
    )
    trained = [each for each in ours if (each.labels != -100).any()]  # TRL drops the others
    assert [each.ids.tolist() for each in trained] == list(trainer.train_dataset["input_ids"])
    assert [each.labels.tolist() for each in trained] == list(trainer.train_dataset["labels"])
    assert [each.row.line for each in ours] == list(range(1, 81))
    assert max(each.length for each in ours) > 40


def test_clean_data_is_ok_and_every_fact_is_there(tmp_path: Path, model: Path) -> None:
    found = checked(tmp_path, model, tiny.rows(60), tiny.rows(80)[60:])
    data, estimate = found.data, found.estimate
    assert found.findings == []
    assert found.not_checked == []
    assert (data.rows, data.looked_at, data.context, data.held_out) == (60, 60, 512, 20)
    assert found.ends == ["<|im_end|>"]
    assert found.template is True
    assert estimate.eval_examples == 20
    assert estimate.eval_tokens > 20 * 10
    assert estimate.evaluations == 3
    assert len(found.examples) == 3
    shown = found.examples[0]
    assert "".join(span.text for span in shown.spans) == (
        "<|im_start|>user\nCalculate 0 + 1<|im_end|>\n<|im_start|>assistant\n1<|im_end|>\n"
    )
    assert [span.text for span in shown.spans if span.trained] == ["1<|im_end|>\n"]


@pytest.mark.train
def test_the_demos_data_is_clean() -> None:
    config = Path(__file__).parents[2] / "examples" / "demo.yaml"
    wanted = load(config, ["output.runs=runs"])
    wanted |= {name: str(config.parent / wanted[name]) for name in ("data.train", "eval.data")}
    found = check(wanted)
    assert [each for each in found.findings if each.rule != "disk-space"] == []
    assert found.not_checked == []
    assert found.data.looked_at == found.data.rows > 1000


def varied(row: dict[str, Any], how: int) -> dict[str, Any]:
    """The same row in other letters and spaces."""
    changes = [str, str.upper, str.lower, lambda t: f"  {t}\n", lambda t: t.replace(" ", "\t ")]
    change: Any = changes[how % len(changes)]
    return {"messages": [{**m, "content": change(m["content"])} for m in row["messages"]]}


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("with_model", [True, False], ids=["tokens", "texts"])
def test_leaked_rows_are_found_by_their_lines(
    tmp_path: Path, model: Path, share: float, with_model: bool
) -> None:
    chance = random.Random(int(100 * share))
    rows = tiny.rows(700)
    train_set, held_out = rows[:400], rows[400:]
    leaked = chance.sample(range(300), int(300 * share))
    lines = sorted(chance.sample(range(len(train_set)), len(leaked)))
    for line, i in zip(lines, leaked, strict=True):
        train_set.insert(line, varied(held_out[i], i))
    found = checked(tmp_path, model if with_model else None, train_set, held_out)
    assert levels(found)["data-leakage"] == "error"
    truth = {n for n, row in enumerate(train_set, 1) if row not in rows[:400]}
    truth |= {n for n, row in enumerate(train_set, 1) if row in rows[400:]}
    assert set(found.data.found["leaked"].rows) == truth
    assert set(found.data.found["leaked"].partners) == {i + 1 for i in leaked}


def test_prompts_alone_that_are_held_out_are_a_warning(tmp_path: Path, model: Path) -> None:
    rows = tiny.rows(120)
    asked = [{"messages": [r["messages"][0], {"role": "assistant", "content": "?"}]} for r in rows]
    found = checked(tmp_path, model, [*rows[:100], *asked[100:105]], rows[100:])
    assert levels(found) == {"data-leakage": "warning"}


def test_repeated_rows_name_the_line_they_repeat(tmp_path: Path) -> None:
    rows = tiny.rows(60)
    found = checked(
        tmp_path, None, [*rows, *(varied(row, i) for i, row in enumerate(rows[:5]))], []
    )
    assert levels(found) == {"data-duplicates": "warning"}
    assert found.data.found["duplicate"].rows == [61, 62, 63, 64, 65]
    assert found.data.found["duplicate"].partners == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("prompt", "response", "level"),
    [
        ("[INST] Question {} [/INST]", "Answer", "error"),
        ("<|im_start|>user\nQuestion {}<|im_end|>", "Answer", "error"),
        ("Question {}", "<|start_header_id|>assistant<|end_header_id|>Answer", "error"),
        ("Question {}", "Answer", ""),
    ],
)
def test_rendered_marks_inside_of_messages_are_another_template(
    tmp_path: Path, model: Path, prompt: str, response: str, level: str
) -> None:
    rows = [{"prompt": prompt.format(i), "response": response} for i in range(40)]
    assert (
        levels(checked(tmp_path, model, rows, tiny.rows(5))).get("data-chat-template", "") == level
    )


LLAMA3 = (
    "{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] }}"
    "<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant"
    "<|end_header_id|>\n\n{% endif %}"
)
ALPACA = (
    "{% for m in messages %}### {{ m['role'] }}:\n{{ m['content'] }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}### assistant:\n{% endif %}"
)


@pytest.mark.parametrize(
    ("template", "level", "said"),
    [
        (LLAMA3, "error", "<|start_header_id|> in the chat template, no token of this tokenizer"),
        (ALPACA, "warning", "The tokenizer's marks of turns are missing in 40 of 40 rows"),
    ],
    ids=["llama 3", "alpaca"],
)
def test_a_template_that_is_not_the_tokenizers_is_found(
    tmp_path: Path, template: str, level: str, said: str
) -> None:
    tiny.model().save_pretrained(tmp_path / "m")
    tiny.tokenizer(template).save_pretrained(tmp_path / "m")
    found = checked(tmp_path, tmp_path / "m", tiny.rows(40), tiny.rows(60)[40:])
    assert levels(found)["data-chat-template"] == level
    assert any(said in each.message for each in found.findings)


def test_conversations_without_a_template_are_an_error_and_the_rest_is_still_looked_at(
    tmp_path: Path,
) -> None:
    tiny.model().save_pretrained(tmp_path / "m")
    tiny.tokenizer(None).save_pretrained(tmp_path / "m")
    system = {"role": "system", "content": "Be brief."}
    chats = [{"messages": [system, *row["messages"]]} for row in tiny.rows(40)]
    found = checked(tmp_path, tmp_path / "m", [*chats[:30], *tiny.rows(40)[30:]], tiny.rows(5))
    assert levels(found)["data-chat-template"] == "error"
    assert found.data.found["no_template"].rows == list(range(1, 31))
    assert found.data.looked_at == 10
    alone = checked(tmp_path, tmp_path / "m", chats, tiny.rows(5))
    assert levels(alone)["data-chat-template"] == "error"
    assert alone.data.looked_at == 0


def test_answers_behind_the_cut_and_cut_rows_are_told_apart(tmp_path: Path, model: Path) -> None:
    far = [{"prompt": "word " * 80 + str(i), "response": "answer"} for i in range(10)]
    cut = [{"prompt": f"Say {i}.", "response": "word " * 80} for i in range(10)]
    rows = [*tiny.rows(80), *far, *cut]
    found = checked(tmp_path, model, rows, tiny.rows(90)[80:], **{"train.max_length": 60})
    assert levels(found) == {"data-masked": "warning", "data-too-long": "warning"}
    assert found.data.found["cut_away"].rows == list(range(81, 91))
    assert found.data.found["cut"].rows == list(range(91, 101))
    assert found.data.longest > 60


@pytest.mark.parametrize("answer", ["", "   ", "<|im_end|>"])
def test_held_out_answers_of_nothing_are_told_with_their_lines(
    tmp_path: Path, model: Path, answer: str
) -> None:
    empty = {"prompt": "What is nothing?", "response": answer}
    found = checked(tmp_path, model, tiny.rows(40), [*tiny.rows(50)[40:], empty])
    assert levels(found) == {"data-unusable": "warning"}
    assert "eval.jsonl:11:" in found.findings[0].message
    alone = checked(tmp_path, model, tiny.rows(40), [empty])
    assert levels(alone) == {"data-unusable": "error"}


def test_training_lines_that_cannot_be_read_are_counted_by_line(tmp_path: Path) -> None:
    found = checked(tmp_path, None, [*tiny.rows(9), "broken", {"prompt": "only"}], [])
    assert found.data.found["unusable"].rows == [10, 11]
    assert levels(found) == {"data-unusable": "warning"}
    assert len(found.left_out) == 2


def test_without_a_model_what_needs_its_tokenizer_is_said_not_to_be_checked(tmp_path: Path) -> None:
    found = checked(tmp_path, None, tiny.rows(40), tiny.rows(60)[40:])
    assert found.findings == []
    assert {each.rule for each in found.not_checked} == {
        "data-chat-template",
        "data-double-bos",
        "data-label-share",
        "data-masked",
        "data-no-embedding",
        "data-no-end",
        "data-too-long",
    }
    assert all("--model" in each.message for each in found.not_checked)
    assert found.examples == []


def test_rules_are_left_out_and_limits_changed_as_the_config_says(tmp_path: Path) -> None:
    rows = [*tiny.rows(60), *tiny.rows(10)]
    off = {"alerts.off": ["data-duplicates"]}
    assert checked(tmp_path, None, rows, [], **off).findings == []
    loose = {"alerts.limits": {"data-duplicates": {"some": 0.5}}}
    assert checked(tmp_path, None, rows, [], **loose).findings == []


def test_many_rows_are_looked_at_evenly(tmp_path: Path, model: Path) -> None:
    found = checked(tmp_path, model, tiny.rows(100), tiny.rows(5), **{"check.rows": 10})
    assert found.data.looked_at == 10
    assert "10 of 100 rows" in found.data.remarks[0]


@pytest.mark.parametrize("extra", [{"packing": True}, {"assistant_only_loss": True}])
def test_rows_that_only_the_sft_trainer_can_make_are_left_to_the_start_of_training(
    tmp_path: Path, model: Path, extra: dict[str, Any]
) -> None:
    found = checked(tmp_path, model, tiny.rows(20), tiny.rows(5), **{"train.extra": extra})
    assert found.data.looked_at == 0
    assert next(iter(extra)) in found.data.remarks[0]


def test_evaluations_and_checkpoints_are_counted_as_the_run_makes_them() -> None:
    values = {setting.name: setting.default for setting in SETTINGS}
    values |= {"train.steps": 84, "eval.every": 20, "train.save_every": 20}
    assert evaluation_steps(values) == [0, 20, 40, 60, 80, 84]
    assert evaluation_steps(values | {"eval.at_start": False}) == [20, 40, 60, 80, 84]
    assert most_checkpoints(values) == 5
    assert most_checkpoints(values | {"train.keep": 2}) == 3


def test_a_full_disk_is_an_error(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heldout.train.preflight.free_bytes", lambda _: 1000)
    found = checked(tmp_path, model, tiny.rows(20), tiny.rows(30)[20:])
    assert levels(found) == {"disk-space": "error"}
    assert "train.keep" in found.findings[0].action


def test_an_evaluation_is_timed_by_a_few_examples(tmp_path: Path, model: Path) -> None:
    train_set = tiny.write_jsonl(tmp_path / "t.jsonl", tiny.rows(20))
    eval_set = tiny.write_jsonl(tmp_path / "e.jsonl", tiny.rows(40)[20:])
    found = check(settings(model, train_set, eval_set), time_it=True)
    assert found.estimate.timed == 16
    assert found.estimate.eval_seconds is not None
    assert found.estimate.eval_seconds > 0


@pytest.fixture
def config(tmp_path: Path, model: Path) -> Path:
    """A config whose training set is masked where the cut leaves no answer."""
    far = [{"prompt": "word " * 80 + str(i), "response": "answer"} for i in range(40)]
    sections = {
        "model": {"name": str(model)},
        "data": {"train": str(tiny.write_jsonl(tmp_path / "train.jsonl", far))},
        "eval": {
            "data": str(tiny.write_jsonl(tmp_path / "eval.jsonl", tiny.rows(10))),
            "every": 2,
        },
        "lora": {"r": 4},
        "train": {"steps": 2, "batch_size": 2, "max_length": 60},
        "output": {"runs": str(tmp_path / "runs"), "run": "r"},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(sections))
    return path


def test_training_on_data_at_fault_is_stopped_before_a_run_is_made(
    tmp_path: Path, config: Path
) -> None:
    with pytest.raises(DataError) as raised:
        train(load(config))
    said = str(raised.value)
    assert "data-masked: Nothing would be trained: no label in 40 of 40 rows" in said
    assert "lines 1, 2, 3" in said
    assert "Raise max_length" in said
    assert "check.data: false" in said
    assert not (tmp_path / "runs").exists()


def test_warnings_go_on_and_the_journal_holds_the_facts_by_line(
    tmp_path: Path, config: Path
) -> None:
    tiny.write_jsonl(tmp_path / "train.jsonl", [*tiny.rows(60)[10:], *tiny.rows(20)[10:]])
    folder = train(load(config))
    history = History.of(read(folder / "journal.jsonl")[0])
    assert history.data is not None
    assert history.data.path == str(tmp_path / "train.jsonl")
    assert history.data.found["duplicate"].rows == list(range(51, 61))
    assert history.alerts["data-duplicates", ""].state == "open"
    assert history.alerts["data-duplicates", ""].step == 0


def test_without_the_check_the_trainers_own_rows_are_not_looked_at_either(
    tmp_path: Path, config: Path
) -> None:
    tiny.write_jsonl(tmp_path / "train.jsonl", tiny.rows(60)[10:])
    folder = train(load(config, ["check.data=false"]))
    assert not any(isinstance(each, Data) for each in read(folder / "journal.jsonl")[0])


def test_a_check_that_fails_stops_nothing_and_the_rows_are_looked_at_as_training_starts(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("heldout.train.preflight.look", fail)
    tiny.write_jsonl(tmp_path / "train.jsonl", tiny.rows(60)[10:])
    history = History.of(read(train(load(config)) / "journal.jsonl")[0])
    assert history.data is not None
    assert (history.data.path, history.data.looked_at) == ("", 50)


def test_the_estimate_of_a_checkpoint_is_what_it_takes(tmp_path: Path, config: Path) -> None:
    tiny.write_jsonl(tmp_path / "train.jsonl", tiny.rows(60)[10:])
    wanted = load(config)
    estimated = check(wanted).estimate.checkpoint_bytes
    folder = train(wanted) / "checkpoints" / "checkpoint-2"
    real = sum(file.stat().st_size for file in folder.iterdir())
    assert estimated is not None
    assert 0.5 * real < estimated < 1.5 * real
    adapter = json.loads((folder / "adapter_config.json").read_text())
    assert adapter["r"] == 4


def test_places_are_those_of_the_file(tmp_path: Path, model: Path) -> None:
    found = checked(tmp_path, model, ["broken", *tiny.rows(30)], tiny.rows(40)[30:])
    assert found.examples[0].place == f"{tmp_path / 'train.jsonl'}:2"


def with_template(folder: Path, name: str) -> Path:
    """A tiny model whose tokenizer has one of the chat templates that TRL ships."""
    made = memory.tokenizer((memory.TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8"))
    tiny.model(vocab_size=len(made)).save_pretrained(folder)
    made.save_pretrained(folder)
    return folder


def test_a_row_that_the_template_refuses_is_named_and_the_others_are_checked_and_trained(
    tmp_path: Path,
) -> None:
    gemma = with_template(tmp_path / "gemma", "gemma")
    system = {"role": "system", "content": "Be brief."}
    rows = [{"messages": [system, *row["messages"]]} for row in tiny.rows(40)]
    train_set, held_out = [*tiny.rows(20), rows[20]], [*tiny.rows(30)[25:], rows[30]]
    found = checked(tmp_path, gemma, train_set, held_out)
    assert (found.data.rows, found.data.looked_at, found.data.found["unusable"].rows) == (
        20,
        20,
        [21],
    )
    assert found.left_out[0].endswith(
        "train.jsonl:21: the chat template refuses it: System role not supported. Change or remove this line."
    )
    assert found.held_out is not None
    assert (found.held_out.n, len(found.held_out.skipped)) == (5, 1)
    wanted = settings(gemma, tmp_path / "train.jsonl", tmp_path / "eval.jsonl")
    folder = train({**wanted, "train.steps": 1, "check.data": False, "output.runs": str(tmp_path)})
    assert (folder / "journal.jsonl").is_file()
    none = checked(tmp_path, gemma, rows[:20], rows[20:])
    assert levels(none)["data-unusable"] == "error"
    assert (none.data.rows, none.data.found["unusable"].n) == (0, 20)


def test_a_turn_that_the_template_leaves_out_is_named(tmp_path: Path) -> None:
    qwen = with_template(tmp_path / "qwen", "qwen3")
    turns = [
        {"role": "user", "content": "Weather?"},
        {"role": "developer", "content": "sun"},
        {"role": "assistant", "content": "Sunny"},
    ]
    found = checked(tmp_path, qwen, [*tiny.rows(20), {"messages": turns}], tiny.rows(30)[25:])
    assert "leaves out message 2, of the role 'developer'" in found.left_out[0]


def test_sets_with_different_arguments_of_the_template_are_an_error(tmp_path: Path) -> None:
    qwen = with_template(tmp_path / "qwen", "qwen3")
    off = {"data.template_kwargs": {"enable_thinking": False}}
    for more, expected in (
        ({}, None),
        (off, None),
        ({**off, "eval.template_kwargs": {"enable_thinking": True}}, "error"),
    ):
        found = checked(tmp_path, qwen, tiny.rows(20), tiny.rows(30)[25:], **more)
        assert levels(found).get("prompt-mismatch") == expected, more
    # An answer that the model is asked for with a closed block of thoughts is trained behind one.
    shown = [span.text for span in found.examples[0].spans if span.trained]
    assert shown == ["1<|im_end|>\n"]


def test_training_rows_with_a_token_beyond_the_embedding_are_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    tiny.model().save_pretrained(folder)
    larger = tiny.tokenizer()
    larger.add_tokens([f"<label-{i}>" for i in range(200)])
    larger.save_pretrained(folder)
    rows = [*tiny.rows(20), {"prompt": "Which?", "response": "<label-150>"}]
    found = checked(tmp_path, folder, rows, tiny.rows(30)[25:])
    assert levels(found)["data-no-embedding"] == "error"
    (finding,) = [each for each in found.findings if each.rule == "data-no-embedding"]
    assert "line 21" in finding.message
    assert "'<label-150>' has no embedding, the model has 400 (0 to 399)" in finding.message
    assert "model.resize_token_embeddings(len(tokenizer))" in finding.action
