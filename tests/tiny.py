"""Small real models and a small real tokenizer, built in a moment without a hub."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

torch.set_num_threads(1)  # models this small lose more to waiting threads than they win

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FACTS = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Peru": "Lima", "Cuba": "Havana"}


def tokenizer(template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with ChatML's markers and, unless None, a chat template."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<|im_end|>", "<|im_start|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([json.dumps(row) for row in rows(40)], trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=special[0], bos_token=special[1], pad_token=special[0]
    )
    made.chat_template = template
    return made


def config(**changes: Any) -> LlamaConfig:
    """Three layers of width 64."""
    shape = {
        "vocab_size": 400,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "bos_token_id": 1,
        "eos_token_id": 0,
        "pad_token_id": 0,
    }
    return LlamaConfig(**{**shape, **changes})


def model(seed: int = 0, **changes: Any) -> Any:
    """A Llama with random weights."""
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config(**changes))


def lora_model(seed: int = 0, layers: int = 3, **changes: Any) -> Any:
    """The same with LoRA on every linear layer."""
    settings = {"r": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
    return get_peft_model(
        model(seed, num_hidden_layers=layers), LoraConfig(**{**settings, **changes})
    )


def generate(model: Any, prompt: Sequence[int], length: int, **settings: Any) -> list[int]:
    """The model's own greedy answer to one prompt: at most `length` tokens."""
    with torch.no_grad():
        out = model.generate(
            input_ids=torch.tensor([list(prompt)]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            do_sample=False,
            max_new_tokens=length,
            pad_token_id=0,
            **settings,
        )
    return list(out[0, len(prompt) :].tolist())


def rows(n: int) -> list[dict[str, Any]]:
    """Rows in chat form: capitals and sums, each a different prompt."""
    found = []
    for i in range(n):
        if i % 2:
            country = list(FACTS)[i // 2 % len(FACTS)]
            question, answer = f"What is the capital of {country}? ({i})", FACTS[country]
        else:
            question, answer = f"Calculate {i} + 1", str(i + 1)
        turns = [("user", question), ("assistant", answer)]
        found.append({"messages": [{"role": r, "content": c} for r, c in turns]})
    return found


def write_jsonl(path: Path, lines: Iterable[object]) -> Path:
    """Write rows (or strings, as they are) as JSON Lines."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path
