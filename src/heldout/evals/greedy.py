"""What greedy decoding of a model follows besides its logits: end tokens and generation settings.

`generate(do_sample=False)` still applies the model's generation config: a repetition penalty, banned
tokens, a least length. All that depend on the tokens so far only are applied at each position of the
golden answer, so that one pass still says what `generate` would. The others are refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from heldout.errors import ModelError

UNFOLLOWED = {
    "sequence_bias": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "exponential_decay_length_penalty": None,
    "encoder_repetition_penalty": 1.0,
    "encoder_no_repeat_ngram_size": 0,
    "guidance_scale": 1.0,
    "watermarking_config": None,
    "force_words_ids": None,
    "constraints": None,
    "penalty_alpha": None,
    "dola_layers": None,
    "stop_strings": None,
}
"""Settings that change greedy decoding and are not followed, each with the value that switches it off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Greedy:
    """The settings of one model's greedy decoding; the defaults change nothing."""

    eos: tuple[int, ...] = ()
    """Tokens that end an answer."""
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    bad_words: tuple[tuple[int, ...], ...] = ()
    suppress: tuple[int, ...] = ()
    begin_suppress: tuple[int, ...] = ()
    min_length: int = 0
    min_new_tokens: int = 0

    @classmethod
    def of(cls, model: nn.Module, tokenizer: Any = None) -> Greedy:
        """Read a model's generation config and the tokenizer's end token.

        Raises `ModelError` naming a setting that changes greedy decoding and cannot be followed.
        """
        config = getattr(model, "generation_config", None)
        for name, off in UNFOLLOWED.items():
            value = getattr(config, name, None)
            if value is not None and value != off:
                raise ModelError(
                    f"generation_config.{name} = {value!r} changes greedy decoding in a way that is "
                    f"not followed. Score without it: model.generation_config.{name} = {off}"
                )
        own = _ids(getattr(tokenizer, "eos_token_id", None))
        eos = tuple(sorted({*_ids(getattr(config, "eos_token_id", None)), *own}))
        words = getattr(config, "bad_words_ids", None) or ()
        return cls(
            eos=eos,
            repetition_penalty=getattr(config, "repetition_penalty", None) or 1.0,
            no_repeat_ngram_size=getattr(config, "no_repeat_ngram_size", None) or 0,
            bad_words=tuple(tuple(word) for word in words if list(word) not in [[e] for e in eos]),
            suppress=_ids(getattr(config, "suppress_tokens", None)),
            begin_suppress=_ids(getattr(config, "begin_suppress_tokens", None)),
            min_length=getattr(config, "min_length", None) or 0,
            min_new_tokens=getattr(config, "min_new_tokens", None) or 0,
        )

    @property
    def plain(self) -> bool:
        """Whether greedy decoding is the argmax of the model's own logits everywhere."""
        return self == Greedy(eos=self.eos)

    def apply(
        self, logits_CV: Tensor, prompts: Sequence[Sequence[int]], said: Sequence[Sequence[int]]
    ) -> Tensor:
        """Return the logits [C, V] as decoding would change them after these prompts and answers."""
        logits_CV = logits_CV.clone()
        logits_CV[:, list(self.suppress)] = -torch.inf
        prefixes = [[*prompt, *answer] for prompt, answer in zip(prompts, said, strict=True)]
        if self.repetition_penalty != 1.0:
            rows = np.repeat(np.arange(len(prefixes)), [len(prefix) for prefix in prefixes])
            ids = np.concatenate([np.array(prefix, dtype=np.int64) for prefix in prefixes])
            at = tuple(torch.from_numpy(each).to(logits_CV.device) for each in (rows, ids))
            seen = logits_CV[at]
            penalty = self.repetition_penalty
            logits_CV[at] = torch.where(seen < 0, seen * penalty, seen / penalty)
        for row, (prefix, answer) in enumerate(zip(prefixes, said, strict=True)):
            banned = list(self._banned(prefix, len(answer)))
            if banned:
                logits_CV[row, banned] = -torch.inf
        return logits_CV

    def _banned(self, prefix: list[int], position: int) -> Iterator[int]:
        """Tokens that may not follow this prefix, besides those that never may."""
        if position == 0:
            yield from self.begin_suppress
        if len(prefix) < self.min_length or position < self.min_new_tokens:
            yield from self.eos
        for word in self.bad_words:
            if len(word) == 1 or (len(word) <= len(prefix) + 1 and _ends(prefix, word[:-1])):
                yield word[-1]
        size = self.no_repeat_ngram_size
        if size and len(prefix) + 1 >= size:
            last = prefix[len(prefix) - size + 1 :]
            for start in range(len(prefix) - size + 1):
                if prefix[start : start + size - 1] == last:
                    yield prefix[start + size - 1]


def _ends(prefix: Sequence[int], tail: Sequence[int]) -> bool:
    return tuple(prefix[len(prefix) - len(tail) :]) == tuple(tail)


def _ids(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    return tuple(int(each) for each in value) if hasattr(value, "__iter__") else (int(value),)
