"""What a decision does to a real Trainer: nothing by itself, and what is asked for when asked."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from peft import PeftModel
from transformers import Trainer, TrainerCallback, TrainingArguments
from watched import collate, encoded

import heldout
from heldout.derive.history import History
from heldout.records import Decision
from heldout.store.journal import read

STEPS = 12


def run(tmp_path: Path, tokenizer: Any, monitor: Any, model: Any, **more: Any) -> Trainer:
    trainer = prepared(tmp_path, tokenizer, monitor, model, **more)
    trainer.train()
    return trainer


def prepared(tmp_path: Path, tokenizer: Any, monitor: Any, model: Any, **more: Any) -> Trainer:
    settings = {
        "output_dir": str(tmp_path / "out"),
        "max_steps": STEPS,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-9,  # nothing is learned: every evaluation is tied with the first
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "save_steps": 2,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
    }
    return Trainer(
        model=model,
        args=TrainingArguments(**{**settings, **more}),
        train_dataset=encoded(tokenizer),
        eval_dataset=encoded(tokenizer, 4),
        data_collator=collate,
        callbacks=[monitor],
    )


def monitor(tmp_path: Path, tokenizer: Any, **more: Any) -> heldout.Monitor:
    # one thousand easy-to-tell-apart rows would be slow: a wide margin makes few rows enough
    eval_set = tiny.write_jsonl(tmp_path / "fixed_eval.jsonl", tiny.rows(30)[10:])
    settings = {"every": 2, "runs": tmp_path / "runs", "run": "r", "margin": 0.5, **more}
    return heldout.Monitor(eval_set, tokenizer=tokenizer, **settings)


def history(tmp_path: Path) -> History:
    return History.of(read(tmp_path / "runs" / "r" / "journal.jsonl")[0])


def decided(found: History) -> Decision:
    assert found.decision is not None
    return found.decision


def test_it_never_stops_by_itself(tmp_path: Path, tokenizer: Any) -> None:
    trainer = run(tmp_path, tokenizer, monitor(tmp_path, tokenizer), tiny.lora_model())
    assert trainer.state.global_step == STEPS
    assert trainer.state.best_model_checkpoint is None


def test_it_stops_when_it_may_and_the_journal_ends_well(tmp_path: Path, tokenizer: Any) -> None:
    watch = monitor(tmp_path, tokenizer, may_stop=True)
    trainer = run(tmp_path, tokenizer, watch, tiny.lora_model())
    found = history(tmp_path)
    assert trainer.state.global_step == found.step < STEPS
    assert found.ended == "finished"
    (said,) = [note.text for note in found.notes if note.topic == "stop"]
    assert "plateau" in said
    assert (tmp_path / "out" / str(decided(found).checkpoint)).is_dir()


def test_a_nan_stops_at_its_step(tmp_path: Path, tokenizer: Any) -> None:
    model = tiny.lora_model()
    forwards = []

    def poison(module: Any, args: Any, output: Any) -> Any:
        forwards.append(module.training)
        if module.training and sum(forwards) >= 3:
            output.loss = output.loss * math.nan
        return output

    model.get_base_model().register_forward_hook(poison)
    run(tmp_path, tokenizer, monitor(tmp_path, tokenizer, may_stop=True), model)
    assert history(tmp_path).step == 3


def test_the_recommended_checkpoint_outlives_save_total_limit(
    tmp_path: Path, tokenizer: Any
) -> None:
    run(tmp_path, tokenizer, monitor(tmp_path, tokenizer), tiny.lora_model(), save_total_limit=2)
    kept = sorted(path.name for path in (tmp_path / "out").glob("checkpoint-*"))
    assert kept == ["checkpoint-12", "checkpoint-2"]
    assert decided(history(tmp_path)).checkpoint == "checkpoint-2"


def test_the_last_checkpoint_stays_beside_the_only_one_kept(tmp_path: Path, tokenizer: Any) -> None:
    run(tmp_path, tokenizer, monitor(tmp_path, tokenizer), tiny.lora_model(), save_total_limit=1)
    kept = sorted(path.name for path in (tmp_path / "out").glob("checkpoint-*"))
    assert kept == ["checkpoint-12", "checkpoint-2"]


def test_without_keep_the_trainer_deletes_as_it_always_does(tmp_path: Path, tokenizer: Any) -> None:
    watch = monitor(tmp_path, tokenizer, keep=False)
    run(tmp_path, tokenizer, watch, tiny.lora_model(), save_total_limit=2)
    kept = sorted(path.name for path in (tmp_path / "out").glob("checkpoint-*"))
    assert kept == ["checkpoint-10", "checkpoint-12"]


@pytest.mark.parametrize("limit", [None, 1, 2])
def test_the_recommended_checkpoint_is_loaded_when_asked(
    tmp_path: Path, tokenizer: Any, limit: int | None
) -> None:
    watch = monitor(tmp_path, tokenizer, load_best=True)
    settings = {"learning_rate": 0.1, "save_total_limit": limit}  # it only gets worse
    trainer = run(tmp_path, tokenizer, watch, tiny.lora_model(), **settings)
    found = history(tmp_path)
    best = decided(found).checkpoint
    assert best is not None
    assert best != f"checkpoint-{STEPS}"
    saved = PeftModel.from_pretrained(tiny.model(), tmp_path / "out" / best)
    loaded = dict(trainer.model.named_parameters())
    assert all(torch.equal(loaded[name], p) for name, p in saved.named_parameters())
    assert [note.text for note in found.notes if note.topic == "load"] == [
        f"the weights of {best} are in the model, as decided"
    ]
    assert trainer.args.load_best_model_at_end is False, "the Trainer's settings are left as found"


def test_a_trainer_that_chooses_itself_is_left_alone_and_it_is_said(
    tmp_path: Path, tokenizer: Any
) -> None:
    watch = monitor(tmp_path, tokenizer, load_best=True)
    settings = {
        "eval_strategy": "steps",
        "eval_steps": 2,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_loss",
    }
    trainer = run(tmp_path, tokenizer, watch, tiny.lora_model(), **settings)
    assert trainer.state.best_global_step is not None
    assert str(trainer.state.best_model_checkpoint).endswith(str(trainer.state.best_global_step))
    (said,) = [note.text for note in history(tmp_path).notes if note.topic == "decision"]
    assert "the Trainer chooses the best model itself" in said


def test_a_training_that_broke_off_leaves_the_trainers_settings_to_the_next(
    tmp_path: Path, tokenizer: Any
) -> None:
    class Break(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 3 and not broken:
                broken.append(True)
                raise RuntimeError("broken off")

    broken: list[bool] = []
    watch = monitor(tmp_path, tokenizer, load_best=True)
    trainer = prepared(tmp_path, tokenizer, watch, tiny.lora_model(), learning_rate=1e-4)
    trainer.add_callback(Break())
    with pytest.raises(RuntimeError, match="broken off"):
        trainer.train()
    trainer.train()
    assert [note.topic for note in history(tmp_path).notes if note.topic == "load"] == ["load"]
