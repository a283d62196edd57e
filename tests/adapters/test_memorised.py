"""A tiny Qwen3 that TRL really trains until it knows its rows by heart, with Qwen3's own chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import memory
import tiny
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, Qwen3Config
from trl import SFTConfig, SFTTrainer

import heldout
from heldout.derive.history import History
from heldout.store.journal import read
from heldout.verdicts.life import ACTIVE

CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Peru": "Lima",
    "Cuba": "Havana",
    "Norway": "Oslo",
    "Japan": "Tokyo",
    "Egypt": "Cairo",
}
STEPS = 80


def trained(folder: Path, reasons: bool, **kwargs: Any) -> tuple[Any, Any, list[Any], History]:
    """The model, its tokenizer, the rows and what the Monitor recorded."""
    folder.mkdir()
    tokenizer = memory.tokenizer((memory.TEMPLATES / "qwen3.jinja").read_text(encoding="utf-8"))
    rows = []
    for country, capital in CAPITALS.items():
        answer = {"role": "assistant", "content": capital}
        if reasons:
            answer["reasoning_content"] = f"{country} begins with {country[0]}."
        rows.append({"messages": [{"role": "user", "content": country}, answer]})
    path = tiny.write_jsonl(folder / "eval.jsonl", rows)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    options = heldout.EvalOptions(template_kwargs=kwargs)
    monitor = heldout.Monitor(path, every=STEPS, runs=folder, run="r", options=options)
    asked = [{**row, "chat_template_kwargs": kwargs} for row in rows] if kwargs else rows
    SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=str(folder / "out"),
            use_cpu=True,
            report_to="none",
            activation_checkpointing=False,
            max_steps=STEPS,
            per_device_train_batch_size=8,
            learning_rate=1e-2,
            warmup_steps=5,
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(asked),
        processing_class=tokenizer,
        callbacks=[monitor],
    ).train()
    found = History()
    for record in read(folder / "r" / "journal.jsonl")[0]:
        found.add(record)
    return model, tokenizer, rows, found


def test_rows_that_are_learned_score_100_percent_with_and_without_thoughts(tmp_path: Path) -> None:
    forms: dict[str, tuple[bool, dict[str, Any]]] = {
        "plain": (False, {}),
        "off": (False, {"enable_thinking": False}),
        "reasons": (True, {}),
    }
    for name, (reasons, kwargs) in forms.items():
        model, tokenizer, rows, found = trained(tmp_path / name, reasons, **kwargs)
        last = found.evals[-1]
        assert (name, last.em, last.token_em) == (name, 1.0, 1.0)
        assert last.ce < 0.05
        assert found.evals[0].mismatched == []
        for row in rows:
            asked = tokenizer.apply_chat_template(
                row["messages"][:1], add_generation_prompt=True, return_dict=False, **kwargs
            )
            said = tokenizer.decode(tiny.generate(model.eval(), asked, 40))
            block = "" if kwargs else "<think>\n" + row["messages"][1].get("reasoning_content", "")
            end = "" if kwargs else "\n</think>\n\n"
            assert said == f"{block}{end}{row['messages'][1]['content']}<|im_end|>"
        alerts = {v.rule for v in found.alerts.values() if v.state in ACTIVE}
        assert alerts - {"throughput-drop"} == {"data-leakage"}  # the set is the training set
