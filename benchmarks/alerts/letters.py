"""A task that a tiny model learns in a few seconds: five ways to rewrite a row of letters.

The base model (`warm_start`) knows the five ways. The fine-tuning keeps `copy` as it is and asks of the
other four that each letter be replaced by another one as well, which the base has only begun to learn:
exact match starts at a quarter and rises from the middle on. Letters are as unevenly frequent as words
are, and some training answers have a wrong one, so the loss does not go to zero.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import torch
from rows import Row, encode
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

LETTERS = tuple("abcdefghijklmnop")
LENGTH = 6
"""Letters in a prompt."""
FREQUENCIES = tuple((i + 1) ** -0.7 for i in range(len(LETTERS)))
OTHER = dict(zip(LETTERS, random.Random(5).sample(LETTERS, len(LETTERS)), strict=True))
"""What the fine-tuning wants in place of each letter."""
WAYS: dict[str, Callable[[list[str]], list[str]]] = {
    "copy": lambda x: x,
    "reverse": lambda x: x[::-1],
    "rotate": lambda x: x[1:] + x[:1],
    "swap": lambda x: [x[i ^ 1] for i in range(len(x))],
    "halves": lambda x: x[len(x) // 2 :] + x[: len(x) // 2],
}
KEPT = "copy"
"""The pattern that the base model answers right already."""
SPECIAL = ("<|im_end|>", "<|im_start|>")
VOCABULARY = 320
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 64,
}
WARM_BATCH = 64
FIRST_SEED = 10_000
"""Of the base's own rows, far from those of the fine-tunings."""
SMOOTHING = 0.05
"""Of the labels with which the base learns the five ways, so that it is not certain of them."""
WRONG = 0.05
"""Share of training answers with one wrong letter."""


def tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE in which each letter and word is a token; ChatML's markers."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = [f"{m['role']}\n{m['content']}" for row in rows(200, 0) for m in row["messages"]]
    bpe.train_from_iterator(texts, trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=SPECIAL[0], bos_token=SPECIAL[1], pad_token=SPECIAL[0]
    )
    made.chat_template = TEMPLATE
    return made


def rows(n: int, seed: int, *, tuned: bool = True, wrong: float = 0.0) -> list[Row]:
    """`n` rows in chat form, patterns in turn, no prompt twice; `tuned` as the fine-tuning wants them."""
    chance = random.Random(seed)
    found: dict[str, Row] = {}
    while len(found) < n:
        pattern = list(WAYS)[len(found) % len(WAYS)]
        letters = chance.choices(LETTERS, FREQUENCIES, k=LENGTH)
        moved = [OTHER[x] for x in letters] if tuned and pattern != KEPT else letters
        answer = WAYS[pattern](moved)
        if chance.random() < wrong:
            answer = [*answer[:-1], chance.choice(LETTERS)]
        prompt = " ".join([pattern, *letters])
        turns = [("user", prompt), ("assistant", " ".join(answer))]
        messages = [{"role": role, "content": content} for role, content in turns]
        found.setdefault(prompt, {"pattern": pattern, "messages": messages})
    return list(found.values())


def warm_start(folder: Path) -> Path:
    """Train the base model (a minute), once a folder; returns where it lies."""
    path = folder / "letters-base"
    if (path / "config.json").exists():
        return path
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, bos_token_id=1, eos_token_id=0, pad_token_id=0, **SHAPE
    )
    model = AutoModelForCausalLM.from_config(config)
    _learn(model, steps=800, rate=3e-3, smoothing=SMOOTHING, tuned=False)
    _learn(model, steps=22, rate=1e-3, smoothing=0.0, tuned=True)
    model.save_pretrained(path)
    return path


def _learn(model: nn.Module, *, steps: int, rate: float, smoothing: float, tuned: bool) -> None:
    tokens = tokenizer()
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for step in range(steps):
        found = rows(WARM_BATCH, FIRST_SEED + step, tuned=tuned)
        batch = [encode(tokens, row) for row in found]
        ids_BT, labels_BT = (
            torch.tensor([each[key] for each in batch]) for key in ("input_ids", "labels")
        )
        logits_BTV = model(input_ids=ids_BT).logits[:, :-1]
        loss = nn.functional.cross_entropy(
            logits_BTV.flatten(0, 1), labels_BT[:, 1:].flatten(), label_smoothing=smoothing
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
