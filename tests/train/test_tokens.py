"""The rows that are scored are the rows that TRL's SFTTrainer makes, token by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import memory
import tiny
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from heldout.adapters.training_template import training_template
from heldout.evals.rendering import Renderer, Style
from heldout.evals.rows import Row

TEMPLATES = ("qwen3", "llama3", "gemma", "deepseekv3")
ROWS = [
    (
        {"role": "user", "content": f"Calculate {i} + 1"},
        {"role": "assistant", "content": str(i + 1)},
    )
    for i in range(4)
]


def arguments(tmp_path: Path, **more: Any) -> SFTConfig:
    quiet = {"use_cpu": True, "report_to": "none", "activation_checkpointing": False}
    return SFTConfig(output_dir=str(tmp_path), **quiet, **more)


def trained(args: SFTConfig, tokenizer: Any, rows: list[dict[str, Any]]) -> Any:
    """The set as a real SFTTrainer prepares it."""
    trainer = SFTTrainer(
        model=tiny.model(num_hidden_layers=1, vocab_size=len(tokenizer)),
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    return trainer.train_dataset


def test_prompts_and_answers_are_the_trained_ones_with_every_form_of_rows(tmp_path: Path) -> None:
    whole = [{"messages": [*pair]} for pair in ROWS]
    pairs = [{"prompt": [asked], "completion": [said]} for asked, said in ROWS]
    forms: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
        "messages": (whole, {}),
        "pairs": (pairs, {}),
        "assistant only": (whole, {"assistant_only_loss": True}),
        "pairs, assistant only": (pairs, {"assistant_only_loss": True}),
    }
    wrong = []
    for name in TEMPLATES:
        text = (memory.TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")
        for form, (rows, more) in forms.items():
            tokenizer = memory.tokenizer(text)
            args = arguments(tmp_path, **more)
            template = training_template(args, tokenizer)
            renderer = Renderer(tokenizer, Style(training_template=template))
            made = trained(args, tokenizer, rows)
            for i, (ids, labels) in enumerate(zip(made["input_ids"], made["labels"], strict=True)):
                found = renderer.render(Row(line=i, messages=ROWS[i]))
                prompt, answer = list(found.prompt_ids), list(found.answer_ids)
                first = next(at for at, label in enumerate(labels) if label != -100)
                begin = 0 if form == "messages" else len(prompt)
                if (name, form) == ("deepseekv3", "assistant only"):
                    begin -= 1  # TRL's template for training marks the turn's header too
                if ids[: len(prompt) + len(answer)] != prompt + answer or first != begin:
                    wrong.append((name, form, i))
                if more and template is None:
                    wrong.append((name, form, "no training template"))
    assert wrong == []
