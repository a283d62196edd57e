from __future__ import annotations

import copy
import dataclasses
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from transformers import AutoModelForCausalLM, GPT2Config

from heldout.config import default
from heldout.errors import ConfigError, ModelError
from heldout.evals.evaluate import Evaluator, FixedEvalSet
from heldout.evals.fixed_set import FixedSet, load
from heldout.evals.options import EvalOptions
from heldout.records import EvalResult, Item


@pytest.fixture
def fixed(tmp_path: Path, tokenizer: Any) -> FixedSet:
    return load(tiny.write_jsonl(tmp_path / "e.jsonl", tiny.rows(30)), tokenizer)


def evaluate(
    model: Any, fixed: FixedSet, tokenizer: Any, **options: Any
) -> tuple[list[Item], EvalResult]:
    return Evaluator(fixed, tokenizer, options=EvalOptions(**options)).evaluate(model, 0)


@pytest.fixture(scope="module")
def taught(tokenizer: Any) -> Any:
    """A tiny model that has learned some of the answers by heart, in its own wording."""
    torch.manual_seed(0)
    model = tiny.model()
    rows = [(r["messages"][0]["content"], r["messages"][1]["content"]) for r in tiny.rows(30)]
    texts = []
    for i, (question, answer) in enumerate(rows):
        said = [answer, answer.lower(), f"It is {answer}", "I do not know"][i % 4]
        turns = [{"role": "user", "content": question}]
        prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
        texts.append((prompt, [*tokenizer(said)["input_ids"], tokenizer.eos_token_id]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(80):
        for prompt, answer in random.Random(0).sample(texts, len(texts)):
            ids = torch.tensor([[*prompt, *answer]])
            labels = ids.clone()
            labels[:, : len(prompt)] = -100
            model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def test_string_exact_match_follows_the_options_and_token_exact_match_does_not(
    taught: Any, fixed: FixedSet, tokenizer: Any
) -> None:
    plain = evaluate(taught, fixed, tokenizer)[1]
    case = evaluate(taught, fixed, tokenizer, normalize_case=True)[1]
    inside = evaluate(taught, fixed, tokenizer, extract=r"(?:It is )?(.*)")[1]
    assert plain.em == plain.token_em > 0.2
    assert plain.correct < case.correct
    assert plain.correct < inside.correct
    assert plain.token_em == case.token_em == inside.token_em
    assert case.decoded >= plain.decoded


def test_the_summary_is_made_of_the_items(taught: Any, fixed: FixedSet, tokenizer: Any) -> None:
    items, result = evaluate(taught, fixed, tokenizer)
    tokens = sum(item.tokens for item in items)
    assert result.n == len(items) == 30
    assert result.correct == sum(item.correct for item in items)
    assert result.ce == pytest.approx(sum(item.ce * item.tokens for item in items) / tokens)
    assert result.ce_by_example == pytest.approx(np.mean([item.ce for item in items]))
    assert result.near_ties == sum(item.near_tie for item in items)
    assert result.token_em <= result.em
    assert result.em_low < result.em < result.em_high
    assert result.confidence_gap == pytest.approx(
        sum(b.n * (b.confidence - b.accuracy) for b in result.bins) / tokens
    )
    wrong = [item for item in items if not item.correct]
    assert all(item.text is not None and item.divergence is not None for item in wrong)
    assert all(item.text is None for item in items if item.token_correct)


def test_whole_texts_and_their_calibration_come_with_full_text(
    taught: Any, fixed: FixedSet, tokenizer: Any
) -> None:
    short, _ = evaluate(taught, fixed, tokenizer)
    items, result = evaluate(taught, fixed, tokenizer, full_text=True)
    assert result.sequence_ece is not None
    assert 0 <= result.sequence_ece <= 1
    said = [item.text for item in items if item.text and item.text.startswith("It is")]
    assert said
    assert [item.correct for item in items] == [item.correct for item in short]


def test_examples_of_one_group_make_intervals_wider(
    taught: Any, tmp_path: Path, tokenizer: Any
) -> None:
    rows = tiny.rows(30)
    alone = tiny.write_jsonl(tmp_path / "a.jsonl", rows)
    grouped = [{**row, "group": str(i // 10)} for i, row in enumerate(rows)]
    together = tiny.write_jsonl(tmp_path / "g.jsonl", grouped)
    a = evaluate(taught, load(alone, tokenizer), tokenizer)[1]
    g = evaluate(taught, load(together, tokenizer), tokenizer)[1]
    assert (a.em, a.ce, a.ece) == (g.em, g.ce, g.ece)
    assert g.em_high - g.em_low > a.em_high - a.em_low


def test_a_compiled_model_is_evaluated_as_the_model_it_was_made_of(
    taught: Any, fixed: FixedSet, tokenizer: Any
) -> None:
    compiled, shapes = [], []

    def backend(graph: Any, inputs: Any) -> Any:
        compiled.append(graph)
        return graph.forward

    taught.register_forward_pre_hook(lambda *_: shapes.append(1))
    found = evaluate(torch.compile(taught, backend=backend), fixed, tokenizer)[1]
    assert found.em == evaluate(taught, fixed, tokenizer)[1].em
    assert shapes
    assert not compiled


def test_options_have_the_defaults_and_the_names_of_the_settings() -> None:
    for field in dataclasses.fields(EvalOptions):
        assert getattr(EvalOptions(), field.name) == default(f"eval.{field.name}")


def test_an_impossible_expression_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="extract"):
        EvalOptions(extract="(")


def test_a_hand_written_loop_gets_the_contract_and_what_was_said(
    taught: Any, tmp_path: Path, tokenizer: Any
) -> None:
    path = tiny.write_jsonl(tmp_path / "e.jsonl", tiny.rows(30))
    fixed = FixedEvalSet(path, tokenizer, options=EvalOptions(normalize_case=True))
    first, second = fixed.evaluate(taught, 0), fixed.evaluate(taught, 10)
    assert first["rechecked"] == 30
    assert (second["rechecked"], second["mismatched"]) == (0, [])
    assert {"em", "ce", "ece", "best_ckpt", "em_trend", "ece_rise", "token_em"} <= set(second)
    assert second["em_learned"] == second["em_forgotten"] == 0
    assert any(item["text"] for item in second["items"])


def test_progress_is_told_and_ends_at_the_whole_set(fixed: FixedSet, tokenizer: Any) -> None:
    told: list[int] = []
    Evaluator(fixed, tokenizer).evaluate(tiny.model(), 0, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 30


def test_answers_that_end_where_generation_does_not_stop_are_remarked(
    taught: Any, fixed: FixedSet, tokenizer: Any
) -> None:
    evaluator = Evaluator(fixed, tokenizer)
    evaluator.evaluate(taught, 0)
    assert evaluator.remarks == []
    other = copy.deepcopy(tokenizer)
    other.eos_token = "<|im_start|>"
    model = copy.deepcopy(taught)
    model.generation_config.eos_token_id = [1]
    evaluator = Evaluator(fixed, other)
    result = evaluator.evaluate(model, 0)[1]
    assert (
        "answers end with '<|im_end|>', at which generation does not stop" in evaluator.remarks[0]
    )
    assert result.token_em > result.em == 0


def test_a_check_that_fails_is_remarked_and_the_scores_are_kept(
    taught: Any, fixed: FixedSet, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise NotImplementedError("no cache")

    monkeypatch.setattr("heldout.evals.evaluate.recheck", fail)
    evaluator = Evaluator(fixed, tokenizer)
    result = evaluator.evaluate(taught, 0, check=True)[1]
    assert (result.n, result.rechecked) == (30, 0)
    assert "the check against generate failed: NotImplementedError: no cache" in evaluator.remarks


def test_a_golden_answer_is_cut_where_generation_stops(
    taught: Any, fixed: FixedSet, tokenizer: Any
) -> None:
    model = copy.deepcopy(taught)
    example = fixed.examples[0]
    model.generation_config.eos_token_id = [0, example.response_ids[0]]
    evaluator = Evaluator(fixed, tokenizer)
    items, result = evaluator.evaluate(model, 0, check=True)
    assert items[0].tokens == 1
    assert (result.rechecked, result.mismatched) == (30, [])


def test_an_answer_is_not_decoded_beyond_the_models_positions(
    tmp_path: Path, tokenizer: Any
) -> None:
    def gpt2(positions: int) -> Any:
        torch.manual_seed(0)
        shape = {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 400, "eos_token_id": 0}
        return AutoModelForCausalLM.from_config(GPT2Config(**shape, n_positions=positions))

    path = tiny.write_jsonl(tmp_path / "e.jsonl", tiny.rows(12))
    options = EvalOptions(max_tokens=48, full_text=True)
    evaluator = Evaluator(options.load(path, tokenizer), tokenizer, options=options)
    assert evaluator.evaluate(gpt2(48), 0)[1].n > 3
    with pytest.raises(ModelError, match=r"e.jsonl:\d+: \d+ tokens, the model takes 8. Leave out"):
        FixedEvalSet(path, tokenizer).evaluate(gpt2(8), 0)


def test_a_model_in_a_data_parallel_wrapper_is_evaluated(
    taught: Any, fixed: FixedSet, tokenizer: Any
) -> None:
    wrapped = torch.nn.DataParallel(taught)
    assert evaluate(wrapped, fixed, tokenizer)[1].em == evaluate(taught, fixed, tokenizer)[1].em
