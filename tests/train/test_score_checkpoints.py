"""Checkpoints scored one after the other: the same numbers as each alone, and nothing twice."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from heldout.config import SETTINGS
from heldout.derive.comparison import compare
from heldout.errors import DataError, HeldoutError, JournalBusy, ModelError
from heldout.evals.evaluate import Evaluator
from heldout.evals.options import EvalOptions
from heldout.evals.ranks import Ranks
from heldout.records import EvalResult, Run
from heldout.store.journal import Journal, read
from heldout.train import resident
from heldout.train.asked import asked, merged
from heldout.train.evaluation_file import EvaluationFile
from heldout.train.resident import Models
from heldout.train.score_checkpoints import Scores, score_checkpoints

CPU = torch.device("cpu")
LORA = {"r": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}


@pytest.fixture
def base(tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A base model and a set of ten short examples, in the current folder."""
    monkeypatch.chdir(tmp_path)
    tiny.model().save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    tiny.write_jsonl(tmp_path / "eval.jsonl", tiny.rows(10))
    return tmp_path / "base"


def adapter(base: Path, path: Path, seed: int = 0, **changes: Any) -> Path:
    """Save an adapter for `base` that does something."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base)
    model = get_peft_model(model, LoraConfig(**{**LORA, **changes}))
    for name, parameter in model.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            parameter.data += 0.05 * torch.randn_like(parameter)
    model.save_pretrained(path)
    return path


def settings(base: Path | None, **changes: Any) -> dict[str, Any]:
    data = str((base.parent if base else Path()) / "eval.jsonl")
    given = {"model.name": base and str(base), "model.dtype": None, "eval.data": data}
    changed = {f"eval.{name}": value for name, value in changes.items()}
    return {setting.name: setting.default for setting in SETTINGS} | given | changed


def score(
    given: dict[str, Any],
    adapters: Sequence[Path] = (),
    checkpoints: Path | None = None,
    output: Path | None = None,
    **others: Any,
) -> Scores:
    wanted = asked(given, adapters, checkpoints, output=output, **others)
    return score_checkpoints(wanted.weights, wanted.settings, wanted.output, Ranks(), CPU)


def alone(model: Any, tokenizer: Any, data: Path) -> EvalResult:
    """The slow direct way: this one model on this set."""
    fixed = EvalOptions().load(data, tokenizer, model.config)
    return Evaluator(fixed, tokenizer).evaluate(model, 0)[1]


def test_adapters_on_one_base_score_as_each_loaded_alone(
    base: Path, tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []
    load = resident.load_weights
    monkeypatch.setattr(resident, "load_weights", lambda s: loads.append(1) or load(s))
    paths = [
        adapter(base, tmp_path / "checkpoint-1", seed=1),
        adapter(base, tmp_path / "checkpoint-2", seed=2, r=8, target_modules=["q_proj"]),
        adapter(base, tmp_path / "checkpoint-3", seed=3, modules_to_save=["lm_head"]),
        adapter(base, tmp_path / "checkpoint-4", seed=4, init_lora_weights="olora"),
        adapter(base, tmp_path / "checkpoint-5", seed=5, use_dora=True),
    ]
    scores = score(settings(base), paths, output=tmp_path / "o.jsonl", base=True)
    assert len(loads) == 1
    assert [each.result.step for each in scores.evaluations] == [0, 1, 2, 3, 4, 5]
    for path, each in zip([None, *paths], scores.evaluations, strict=True):
        model = AutoModelForCausalLM.from_pretrained(base)
        model = PeftModel.from_pretrained(model, path) if path else model
        direct = alone(model, tokenizer, tmp_path / "eval.jsonl")
        assert each.result.ce == pytest.approx(direct.ce, rel=1e-5), path
        assert (each.result.em, each.result.token_em) == (direct.em, direct.token_em)
    assert len({each.result.ce for each in scores.evaluations}) == 6


def test_an_adapter_leaves_the_base_model_as_it_was(base: Path, tmp_path: Path) -> None:
    models = Models(settings(base) | {"model.dtype": "float32"}, CPU)
    before = {name: value.clone() for name, value in models.base.state_dict().items()}
    modules = {name: id(module) for name, module in models.base.named_modules()}
    wide = tiny.model(hidden_size=32)
    wide.save_pretrained(tmp_path / "wide")
    paths = [
        adapter(base, tmp_path / "a", modules_to_save=["lm_head"]),
        adapter(base, tmp_path / "b", init_lora_weights="pissa"),
        adapter(tmp_path / "wide", tmp_path / "c"),
    ]
    for weights in asked(settings(base), paths).weights:
        message = "does not fit" if weights.name == "c" else "interrupted"
        with pytest.raises((RuntimeError, ModelError), match=message), models.loaded(weights):
            raise RuntimeError("interrupted")
    assert {name: id(module) for name, module in models.base.named_modules()} == modules
    after = models.base.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not hasattr(models.base, "peft_config")


def test_whole_checkpoints_are_loaded_in_turn_each_freeing_the_one_before(
    base: Path, tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[weakref.ref[Any]] = []
    load = resident.load_weights

    def counted(given: Any) -> Any:
        gc.collect()
        assert not [each for each in alive if each() is not None]
        model = load(given)
        alive.append(weakref.ref(model))
        return model

    monkeypatch.setattr(resident, "load_weights", counted)
    for step in (10, 20):
        tiny.model(seed=step).save_pretrained(tmp_path / "c" / f"checkpoint-{step}")
    tokenizer.save_pretrained(tmp_path / "c" / "checkpoint-10")
    scores = score(settings(None) | {"eval.data": str(tmp_path / "eval.jsonl")}, (), tmp_path / "c")
    for each in scores.evaluations:
        model = AutoModelForCausalLM.from_pretrained(tmp_path / "c" / each.name)
        direct = alone(model, tokenizer, tmp_path / "eval.jsonl")
        assert each.result.ce == pytest.approx(direct.ce, rel=1e-5)
    assert [each.name for each in scores.evaluations] == ["checkpoint-10", "checkpoint-20"]
    assert len(alive) == 2


def test_the_same_command_again_scores_only_what_is_new(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "o.jsonl"
    adapter(base, tmp_path / "c" / "checkpoint-1", seed=1)
    first = score(settings(base), (), tmp_path / "c", output)
    size = output.stat().st_size
    adapter(base, tmp_path / "c" / "checkpoint-2", seed=2)
    with output.open("ab") as file:
        file.write(b'{"type":"item","step":2,"id":"cut off')
    both = score(settings(base), (), tmp_path / "c", output)
    assert [each.reused for each in both.evaluations] == [True, False]
    assert both.evaluations[0].result == first.evaluations[0].result
    assert both.evaluations[0].result.rechecked == 10
    assert both.evaluations[1].result.rechecked == 0
    monkeypatch.setattr(Evaluator, "evaluate", None)
    again = score(settings(base), (), tmp_path / "c", output)
    assert [each.reused for each in again.evaluations] == [True, True]
    assert output.stat().st_size > size
    kinds = [type(record) for record in read(output)[0]]
    assert kinds.count(Run) == 1
    assert kinds.count(EvalResult) == 2


def test_changed_weights_of_the_same_name_are_scored_again(base: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.jsonl"
    first = score(settings(base), [adapter(base, tmp_path / "a", seed=1)], output=output)
    second = score(settings(base), [adapter(base, tmp_path / "a", seed=2)], output=output)
    assert not second.evaluations[0].reused
    assert first.evaluations[0].result.ce != second.evaluations[0].result.ce


def test_one_file_holds_one_set_under_one_kind_of_options(base: Path, tmp_path: Path) -> None:
    output = tmp_path / "o.jsonl"
    score(settings(base), output=output)
    before = output.read_bytes()
    with pytest.raises(DataError, match=r"extract was None, is 'last-number'\. .*--output FILE"):
        score(settings(base, extract="last-number"), output=output)
    with pytest.raises(DataError, match=r"another set: .* with 10 examples .* --output FILE|--out"):
        score(settings(base, max_samples=4), output=output)
    tiny.write_jsonl(tmp_path / "mine.jsonl", ["a text without a last line break"])
    for name in ("mine.jsonl", "eval.jsonl"):
        mine = (tmp_path / name).read_bytes()
        with pytest.raises(DataError, match="not a file of `heldout evaluate`"):
            score(settings(base), output=tmp_path / name)
        assert (tmp_path / name).read_bytes() == mine
    assert output.read_bytes() == before
    journal = Journal(output)
    with pytest.raises(JournalBusy, match="name another: --output"):
        score(settings(base), output=output)
    journal.close()


def test_bad_checkpoints_are_named_and_the_others_count(base: Path, tmp_path: Path) -> None:
    tiny.model(hidden_size=32).save_pretrained(tmp_path / "wide")
    tiny.model(num_hidden_layers=4).save_pretrained(tmp_path / "deep")
    folder = tmp_path / "c"
    adapter(tmp_path / "wide", folder / "checkpoint-1")
    adapter(tmp_path / "deep", folder / "checkpoint-2")
    adapter(base, folder / "checkpoint-3")
    (adapter(base, folder / "checkpoint-4") / "adapter_model.safetensors").write_text("torn")
    (folder / "checkpoint-5").mkdir()
    (adapter(base, folder / "checkpoint-6") / "adapter_config.json").write_text("{")
    scores = score(settings(base), (), folder, tmp_path / "o.jsonl", base=True)
    assert [each.name for each in scores.evaluations] == ["base model", "checkpoint-3"]
    failed = scores.failed
    assert f"does not fit the base model {str(base)!r}" in failed["checkpoint-1"]
    assert str(folder / "checkpoint-1") in failed["checkpoint-1"]
    assert "it has weights for" in failed["checkpoint-2"]
    assert "deserializing" in failed["checkpoint-4"]
    assert "Found: nothing" in failed["checkpoint-5"]
    assert set(failed) == {f"checkpoint-{i}" for i in (1, 2, 4, 5, 6)}
    assert scores.evaluations[1].result.ce == pytest.approx(
        score(settings(base), [folder / "checkpoint-3"]).evaluations[0].result.ce
    )
    with pytest.raises(ModelError, match=r"nothing could be scored\. .*does not fit"):
        score(settings(base), [folder / "checkpoint-1"], output=tmp_path / "p.jsonl")


def test_the_base_model_is_known_from_the_adapter(base: Path, tmp_path: Path) -> None:
    path = adapter(base, tmp_path / "a")
    wanted = asked(settings(None), [path])
    assert wanted.settings["model.name"] == str(base)
    assert wanted.settings["model.dtype"] == "float32"
    config = json.loads((path / "adapter_config.json").read_text())
    (path / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": ""}))
    with pytest.raises(HeldoutError, match="--model is missing: the adapters do not say"):
        asked(settings(None), [path])


def test_scores_without_a_step_are_compared_but_have_no_trend(base: Path, tmp_path: Path) -> None:
    paths = [adapter(base, tmp_path / name, seed=i) for i, name in enumerate("ab")]
    scores = score(settings(base), paths, output=tmp_path / "o.jsonl")
    assert not scores.stepped
    found = compare(scores.history)
    assert found is not None
    assert [row.name for row in found.rows] == ["a", "b"]


def test_scores_of_another_set_or_other_options_are_not_merged(base: Path, tmp_path: Path) -> None:
    scores = score(settings(base), output=tmp_path / "o.jsonl", base=True)
    assert scores.run.eval_set is not None
    own = {"normalize_case": True}
    for changes, message in (
        ({}, "it has no fixed set"),
        ({"eval_set": scores.run.eval_set}, ""),
        ({"eval_set": scores.run.eval_set, "config": {"eval": own}}, "normalize_case True there"),
    ):
        journal = Journal(tmp_path / message[:5] / "journal.jsonl")
        journal.append([Run(id="r", time=1.0, model="m", total_steps=5, **changes)])
        journal.close()
        before = journal.path.read_bytes()
        history, said = merged(journal.path, scores)
        if message:
            assert said[0].startswith("WARNING: not merged into")
            assert message in said[0]
            assert not history.evals
        else:
            assert said == ["added: step 0"]
            assert [result.step for result in history.evals] == [0]
        assert journal.path.read_bytes() == before


def test_an_empty_file_is_begun(base: Path, tmp_path: Path) -> None:
    (tmp_path / "o.jsonl").touch()
    run = Run(id="r", time=1.0, model="m", total_steps=0, config={"evaluate": {}})
    EvaluationFile(tmp_path / "o.jsonl", run).close()
    assert read(tmp_path / "o.jsonl")[0] == [run]
