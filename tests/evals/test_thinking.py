"""What stands in front of an answer: found, taken off, and never waited for in vain."""

from __future__ import annotations

import memory
import pytest

from heldout.evals.rendering import Renderer, Style
from heldout.evals.rows import Row
from heldout.evals.thinking import Thinking

ROW = Row(
    line=1, messages=({"role": "user", "content": "?"}, {"role": "assistant", "content": "7"})
)


@pytest.mark.parametrize(
    ("name", "kwargs", "openers", "closer"),
    [
        ("qwen3", {}, ("<think>", "<think>\n\n</think>"), "</think>"),
        ("qwen3", {"enable_thinking": False}, (), ""),  # the prompt has closed the block
        ("qwen3_5_think", {}, ("", "</think>"), "</think>"),  # the prompt has opened it
        ("qwen2_5", {}, ("",), ""),
        ("deepseekv3", {}, ("",), "</think>"),  # shown to a server, and taken off by the template
        (
            "gptoss",
            {},
            ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
            "<|channel|>final<|message|>",
        ),
        ("lfm2_2_5", {}, ("<think>",), "</think>"),
    ],
)
def test_the_block_is_read_off_the_template(
    name: str, kwargs: dict[str, bool], openers: tuple[str, ...], closer: str
) -> None:
    tokenizer = memory.tokenizer((memory.TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8"))
    found = Renderer(tokenizer, Style(template_kwargs=kwargs)).render(ROW).thinking
    assert found == Thinking(openers=openers, closer=closer)


def test_thoughts_are_taken_off_and_a_text_without_them_is_given_up_at_once() -> None:
    block = Thinking(openers=("<think>",), closer="</think>")
    assert block.off("<think>\nit is odd\n</think>\n\n7") == "\n\n7"
    assert block.off("7") == "7"
    assert [
        block.running(text) for text in ("", "<th", "<think>\nwell", "<think>a</think>", "8")
    ] == [
        *(True, True, True),
        *(False, False),
    ]
    assert not Thinking().running("")
