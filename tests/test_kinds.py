"""What heldout says of each kind of model, and that it takes none for another."""

from __future__ import annotations

import pytest
import tiny
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    GPT2Config,
    T5Config,
    T5ForConditionalGeneration,
    T5ForSequenceClassification,
)

from heldout.kinds import LANGUAGE_MODEL, kind_of

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50}
BERT = BertConfig(**SMALL, intermediate_size=16)
T5 = T5Config(vocab_size=50, d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
GPT2 = GPT2Config(vocab_size=50, n_positions=64, n_embd=16, n_layer=1, n_head=2)


def lora(model: nn.Module, task: str) -> nn.Module:
    adapted: nn.Module = get_peft_model(
        model, LoraConfig(r=2, target_modules="all-linear", task_type=task)
    )
    return adapted


def test_each_kind_of_model_is_told_by_what_it_is() -> None:
    classes = AutoModelForSequenceClassification.from_config
    tags = AutoModelForTokenClassification.from_config(tiny.config(num_labels=3))
    said = {
        "LlamaForSequenceClassification classifies sequences": classes(tiny.config(num_labels=3)),
        "LlamaForSequenceClassification gives each sequence one number, as reward models do": lora(
            classes(tiny.config(num_labels=1)), "SEQ_CLS"
        ),
        "LlamaForTokenClassification classifies tokens": tags,
        "BertForQuestionAnswering marks answers in a text": BertForQuestionAnswering(BERT),
        "BertForMaskedLM fills in masked tokens": BertForMaskedLM(BERT),
        "T5ForConditionalGeneration is an encoder-decoder": lora(
            T5ForConditionalGeneration(T5), "SEQ_2_SEQ_LM"
        ),
        "T5ForSequenceClassification classifies sequences": T5ForSequenceClassification(T5),
    }
    kinds = {what: kind_of(model) for what, model in said.items()}
    assert [kind.what for kind in kinds.values()] == list(kinds)
    assert not any(kind.scored for kind in kinds.values())
    assert [kind.tokens for kind in kinds.values()] == [False] * 4 + [True] * 2 + [False]
    assert all(what in kind.scope and what in kind.unread for what, kind in kinds.items())


@pytest.mark.parametrize(
    "model",
    [tiny.model(), tiny.lora_model(), AutoModelForCausalLM.from_config(GPT2), nn.Linear(1, 1)],
)
def test_a_language_model_or_one_that_says_nothing_is_watched_whole(model: nn.Module) -> None:
    assert kind_of(model) is LANGUAGE_MODEL
    assert (LANGUAGE_MODEL.scope, LANGUAGE_MODEL.unread) == ("", "")
