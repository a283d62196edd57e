"""The chat template that TRL's SFTTrainer trains with, where it is another one than the tokenizer's own."""

from __future__ import annotations

import re
from typing import Any

MARKED = re.compile(r"\{%-?\s*generation\s*-?%\}")
"""How a template marks the assistant's turns itself."""


def training_template(args: Any, tokenizer: Any) -> str | None:
    """The template for training with these arguments; None where it is the tokenizer's own.

    With `assistant_only_loss` TRL takes a template of its own that marks the assistant's turns, where the
    tokenizer's has no such marks. None too for a template that TRL has none for: then it refuses to train.
    """
    template = getattr(tokenizer, "chat_template", None)
    wanted = template and getattr(args, "assistant_only_loss", False)
    if not wanted or MARKED.search(str(template)):
        return None
    try:
        from trl.chat_template_utils import get_training_chat_template

        found: str | None = get_training_chat_template(tokenizer)
    except (
        ImportError,
        ValueError,
    ):  # an older TRL that takes no other; a template it does not know
        return None
    return found
