"""A model that has learned some streams of tokens by heart, and a tokenizer for every chat template."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tiny
import torch
import trl
from torch import Tensor, nn
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

TEMPLATES = Path(trl.__file__).parent / "chat_templates"
"""The chat templates that TRL ships, plain and for training."""
MARKS = re.compile(
    r"<[|｜][^<>\s]+?[|｜]>|<(?:start|end)_of_\w+>|<\|(?:turn|channel)>|<(?:turn|channel)\|>"
)
WRITTEN = ("<think>", "</think>", "<tool_call>", "</tool_call>")
"""Marks that tokenizers hold as one token each, which are not special."""


def tokenizer(template: str) -> Any:
    """The tiny tokenizer with the marks of this template, each one token."""
    made = copy.deepcopy(_base())
    made.chat_template = template
    marks = sorted(set(MARKS.findall(template)))
    made.add_special_tokens({"additional_special_tokens": marks})
    made.add_tokens(list(WRITTEN))
    return made


@functools.cache
def _base() -> Any:
    return tiny.tokenizer(None)


class Memory(PreTrainedModel, GenerationMixin):
    """Says after each beginning of a stream how it goes on, with a certainty that differs by place.

    After a stream, and after what begins none, it says the end token. A real module: its head is a
    linear layer, which the hidden rows reach as one-hot vectors times the certainty.
    """

    config_class = PretrainedConfig
    _supports_cache_class = False

    def __init__(self, streams: Sequence[Sequence[int]], vocabulary: int, end: int) -> None:
        super().__init__(PretrainedConfig(vocab_size=vocabulary, num_hidden_layers=1))
        self.embed = nn.Embedding(vocabulary, 1)
        self.head = nn.Linear(vocabulary, vocabulary, bias=False)
        nn.init.eye_(self.head.weight)
        self.end = end
        self.paths: list[dict[int, int]] = [{}]
        """By what has been seen so far: the state that each token leads to."""
        for stream in streams:
            state = 0
            for token in stream:
                if token not in self.paths[state]:
                    self.paths.append({})
                    self.paths[state][token] = len(self.paths) - 1
                state = self.paths[state][token]
        self.generation_config.eos_token_id = [end]
        self.generation_config.pad_token_id = end

    def get_input_embeddings(self) -> nn.Module:
        """Where the token ids would go."""
        return self.embed

    def get_output_embeddings(self) -> nn.Module:
        """What the one pass asks for logits."""
        return self.head

    @staticmethod
    def certainty(position: int) -> float:
        """The logit of the token that is said at a position; all others are 0."""
        return 5.0 + position % 4

    def prepare_inputs_for_generation(self, input_ids: Tensor, **kwargs: Any) -> dict[str, Any]:
        """Everything so far, at each step: there is no cache."""
        mask_BT = kwargs.get("attention_mask")
        return {"input_ids": input_ids, "attention_mask": mask_BT, "logits_to_keep": 1}

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        logits_to_keep: int = 0,
        **_: Any,
    ) -> CausalLMOutput:
        """The logits [B, T, V] at every real place, or at the last ones."""
        hidden_BTV = torch.zeros(*input_ids.shape, self.config.vocab_size)
        mask_BT = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        rows = zip(input_ids.tolist(), mask_BT.tolist(), strict=True)
        for row, (ids, mask) in enumerate(rows):
            state: int | None = 0
            seen = 0
            for place, (token, real) in enumerate(zip(ids, mask, strict=True)):
                if real:
                    seen += 1
                    state = None if state is None else self.paths[state].get(token)
                    said = self.end if state is None else next(iter(self.paths[state]), self.end)
                    hidden_BTV[row, place, said] = self.certainty(seen)
        return CausalLMOutput(logits=self.head(hidden_BTV[:, -logits_to_keep:]))
