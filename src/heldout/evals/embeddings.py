"""Token ids that a model has no embedding for: a tokenizer with more tokens than the model has rows.

On a GPU one such token ends the training with an assertion in a kernel that names nothing, so it is looked
for before the first pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def embeddings_of(config: Any) -> int | None:
    """How many tokens a model of this `config` has an embedding for; None where nothing says."""
    text = getattr(config, "text_config", None) or config
    size = getattr(text, "vocab_size", None)
    return size if isinstance(size, int) and size > 0 else None


def embeddings_in(model: Any) -> int | None:
    """How many tokens this model has an embedding for; None where its table cannot be seen whole."""
    getter = getattr(model, "get_input_embeddings", None)
    try:
        table = getter() if callable(getter) else None
    except NotImplementedError:
        return None
    size = getattr(table, "num_embeddings", None)
    return size if isinstance(size, int) and size > 0 else None


def without_embedding(ids: Iterable[int], embeddings: int | None, tokenizer: Any) -> str:
    """The first token of `ids` without an embedding and the remedy, in words; "" where all have one."""
    if embeddings is None:
        return ""
    token = next((token for token in ids if token >= embeddings), None)
    if token is None:
        return ""
    text = tokenizer.convert_ids_to_tokens(int(token)) if tokenizer is not None else ""
    return (
        f"token {token} {text!r:.40} has no embedding, the model has {embeddings:,} "
        f"(0 to {embeddings - 1}). Call model.resize_token_embeddings(len(tokenizer)), or use the model's "
        "own tokenizer"
    )
