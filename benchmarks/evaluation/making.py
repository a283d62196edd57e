"""Make the model and the examples that are measured.

Examples come from a JSONL file, or are made: prompts, and the model's own greedy answers of a given
length, every second one with one token changed. Then exact match is neither 0 nor 1, and generation
runs to the full length.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from decoding import generate
from engine import end_tokens, example
from subject import Missing
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from heldout.evals.fixed_set import Example
from heldout.train.model import load_model

VOCABULARY = 151_936
QWEN3 = {
    "qwen3-0.6b": {
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "tie_word_embeddings": True,
    },
    "qwen3-8b": {
        "hidden_size": 4096,
        "intermediate_size": 12_288,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "tie_word_embeddings": False,
    },
}
"""Shapes of the published checkpoints; the weights are random."""
SEED = 0
THINGS = (
    "river mountain castle engine garden island letter market mirror ocean painter pilot planet "
    "library lighthouse robot sailor school shadow soldier station storm teacher village violin"
)


def build_model(name: str, device: str, dtype: torch.dtype) -> tuple[PreTrainedModel, Any]:
    """Load `name`, or build a model of that shape with random weights, in eval mode on `device`."""
    if name in QWEN3:
        return qwen3(QWEN3[name], device, dtype), word_tokenizer(VOCABULARY)
    settings = {
        "model.name": name,
        "model.gguf_file": None,
        "model.dtype": str(dtype).removeprefix("torch."),
    }
    model, tokenizer = load_model(settings)
    return model.to(device).eval(), tokenizer


def qwen3(shape: dict[str, Any], device: str, dtype: torch.dtype) -> PreTrainedModel:
    """Build a Qwen3-shaped model with seeded random weights, directly on `device`."""
    torch.manual_seed(SEED)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=40_960,
        eos_token_id=VOCABULARY - 1,
        pad_token_id=VOCABULARY - 1,
        **shape,
    )
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def word_tokenizer(size: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer whose token i is the word `wi`, so that any ids survive a round trip."""
    words = {f"w{i}": i for i in range(size)}
    backend = Tokenizer(WordLevel(words, unk_token="w0"))
    backend.pre_tokenizer = WhitespaceSplit()
    last = f"w{size - 1}"
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=last, pad_token=last)


def make_examples(
    model: PreTrainedModel, tokenizer: Any, num: int, length: int, batch_size: int
) -> tuple[Example, ...]:
    """Make `num` examples whose answers are `length` tokens of the model's own, half of them changed.

    Prompts after which the model ends its answer early are left out. Raises `Missing` when more than
    three of four do.
    """
    rng, eos_ids = random.Random(SEED), end_tokens(model, tokenizer)
    found: list[Example] = []
    for _ in range(0, 4 * num, batch_size):
        prompts = [_prompt(tokenizer, rng) for _ in range(batch_size)]
        for prompt, answer in zip(prompts, generate(model, prompts, length, eos_ids), strict=True):
            if len(answer) == length and not set(answer) & set(eos_ids):
                changed = _changed(answer, eos_ids, tokenizer, rng) if len(found) % 2 else answer
                found.append(example(prompt, changed, tokenizer.decode(changed)))
        if len(found) >= num:
            return tuple(found[:num])
    raise Missing(f"the model answers with {length} tokens to too few prompts: {len(found)}")


def _prompt(tokenizer: Any, rng: random.Random) -> tuple[int, ...]:
    num_words = rng.randint(4, 40)
    if tokenizer.chat_template is None:
        return tuple(rng.randrange(len(tokenizer) - 1) for _ in range(num_words))
    words = ", ".join(rng.choice(THINGS.split()) for _ in range(num_words))
    ask = [{"role": "user", "content": f"Write a long story about {words}."}]
    text = tokenizer.apply_chat_template(ask, tokenize=False, add_generation_prompt=True)
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def _changed(
    answer: Sequence[int], eos_ids: Sequence[int], tokenizer: Any, rng: random.Random
) -> list[int]:
    """Return the answer with one token replaced by another that does not end it."""
    changed, place = list(answer), rng.randrange(len(answer))
    while changed[place] == answer[place] or changed[place] in eos_ids:
        changed[place] = rng.randrange(len(tokenizer))
    return changed
