"""The marks of chat templates: which tokens end an answer, and which texts were meant to be tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MARK = "heldout-answer-0"
"""Stands in for an answer, to see what a chat template puts behind one."""
CONTROL = (
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<|turn>",
    "<|start_of_role|>",
    "<|end_of_role|>",
    "<|START_OF_TURN_TOKEN|>",
    "<|END_OF_TURN_TOKEN|>",
)
"""Marks of ChatML, Llama 3, Gemma, Granite and Command R that are one token each where they are right."""
WRITTEN = ("[INST]", "[/INST]", "<<SYS>>", "<|user|>", "<|assistant|>", "### Instruction:")
"""Marks of Llama 2, Mistral, Zephyr and Alpaca that some tokenizers spell as plain text by design."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What a tokenizer and its chat template mark turns with.

    `bos` and `ends` are token ids: the begin token where there is one, and those that end an answer
    (the tokenizer's, the model's, and the one the template puts behind an answer). `own` are the tokens
    that turns are to be marked with; `strange` are texts that have no business among the tokens of
    a training row, since here they are no tokens and not the template's own writing either.
    """

    bos: int | None
    ends: frozenset[int]
    own: frozenset[int] = frozenset()
    strange: tuple[str, ...] = ()
    misfit: str = ""
    """Why the chat template is not the one this tokenizer was made for; "" where nothing says so."""

    @classmethod
    def of(cls, tokenizer: Any, more_ends: Sequence[int] = ()) -> Marks:
        """Read them off a tokenizer; `more_ends` are the model's own end tokens."""
        template = str(getattr(tokenizer, "chat_template", None) or "")
        tokens = {mark: _as_one(tokenizer, mark) for mark in CONTROL + WRITTEN}
        eos = getattr(tokenizer, "eos_token_id", None)
        ends = {*more_ends, eos, _behind_an_answer(tokenizer) if template else None}
        strange = [mark for mark in CONTROL if tokens[mark] is None]
        if template:
            strange += [m for m in WRITTEN if tokens[m] is None and m not in template]
        return cls(
            bos=getattr(tokenizer, "bos_token_id", None),
            ends=frozenset(end for end in ends if end is not None),
            own=_own(tokenizer, template, tokens),
            strange=tuple(strange),
            misfit=_misfit(template, tokens),
        )

    def strange_in(self, text: str) -> str:
        """What is strange in a text without its special tokens, in words; "" where nothing is."""
        found = next((mark for mark in self.strange if mark in text), "")
        return f"{found} as plain text, which is no token of this tokenizer" if found else ""


def written_in(texts: Iterable[str]) -> str:
    """Which chat mark messages hold in their own text, where a template marks them again; "" for none."""
    for text in texts:
        for mark in CONTROL + WRITTEN:
            if mark in text:
                return f"{mark} in a message's own text, which the chat template marks once more"
    return ""


def _own(tokenizer: Any, template: str, tokens: Mapping[str, int | None]) -> frozenset[int]:
    """The tokens that turns are marked with: those the template writes.

    Where it writes no token that was added to the vocabulary, as Alpaca's does, those that there are
    for it; none where there is no template, or one that has marks of its own.
    """
    used = [token for mark, token in tokens.items() if mark in template]
    known = [token for mark, token in tokens.items() if mark in CONTROL]
    added: Iterable[str] = tokenizer.get_added_vocab()
    plain = bool(template) and not any(token in template for token in added)
    return frozenset(token for token in (known if plain else used) if token is not None)


def _misfit(template: str, tokens: Mapping[str, int | None]) -> str:
    """The first control mark that the template writes and the tokenizer does not know, in words."""
    lacking = [mark for mark in CONTROL if mark in template and tokens[mark] is None]
    return f"{lacking[0]} in the chat template, no token of this tokenizer" if lacking else ""


def _as_one(tokenizer: Any, text: str) -> int | None:
    """The token that is just this text; None where it takes several."""
    found = tokenizer.convert_tokens_to_ids(text)
    if found is None or tokenizer.convert_ids_to_tokens(found) != text:
        return None
    return int(found)


def _behind_an_answer(tokenizer: Any) -> int | None:
    """The first special token that the chat template puts behind an answer."""
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": MARK}]
    try:
        text = str(tokenizer.apply_chat_template(turns, tokenize=False))
    except Exception:  # a template is a program of its own and may refuse these turns
        return None
    ids = tokenizer(text.rpartition(MARK)[2], add_special_tokens=False)["input_ids"]
    special = set(getattr(tokenizer, "all_special_ids", ()))
    return next((token for token in ids if token in special), None)
