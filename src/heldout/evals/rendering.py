"""Turn a conversation into the token ids that training, checks and scoring share: the one place.

Training shows the model one stream of tokens: the chat template over the whole conversation. Serving
shows it the beginning of one, the prompt with the template's generation prompt, and lets it go on. The
prompt that is scored is where the two agree; all that follows in the trained stream is the answer. So
what a template writes in front of an answer (an empty thinking block, the name of a channel) belongs to
the prompt where the generation prompt holds it, and to the answer where the model must say it itself.

Both streams are made as TRL's SFTTrainer makes them; a test compares every token with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from heldout.errors import DataError, ModelError
from heldout.evals.marks import MARK
from heldout.evals.rows import Message, Row
from heldout.evals.rows.fields import REASONS
from heldout.evals.thinking import CLOSE, OPEN, THOUGHT, Thinking, around

TRAINED, SERVED = "trained", "served"
PROMPTS = (TRAINED, SERVED)
"""Which prompt is scored where a template trains behind another one than it serves."""
OTHER_FORM = "It takes messages in another form than text, as those of vision models do."
SHOWN = 40
"""Characters of a prompt's end that a message shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How conversations are rendered besides by the tokenizer's own chat template.

    `template_kwargs` are arguments of the template, such as `enable_thinking`; those of a row come
    first. `training_template` is the template that training uses where it is another one, as with
    TRL's `assistant_only_loss`. `prompt` is one of `PROMPTS`.
    """

    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    training_template: str | None = None
    prompt: str = TRAINED


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """One conversation as token ids: the prompt that is scored, and the answer up to its end token."""

    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    end: int | None
    """The token that ends the answer, its last; None where the template writes none."""
    thinking: Thinking
    opening: tuple[int, ...] = ()
    """The marks that the prompt ends with, in front of the answer; () where the template writes none."""
    unwritten: bool = False
    """Whether the template leaves out the reasoning that the answer comes with."""
    unlike: str = ""
    """How the prompt that is served differs from the one that is trained; "" where it does not."""


class Renderer:
    """Renders rows with one tokenizer and in one style."""

    def __init__(self, tokenizer: Any, style: Style | None = None) -> None:
        self.tokenizer = tokenizer
        self.style = style or Style()
        self.templated = bool(getattr(tokenizer, "chat_template", None))
        self._thinking: dict[str, Thinking] = {}
        self._special = set(getattr(tokenizer, "all_special_ids", ()))
        self._marks = set(tokenizer.get_added_vocab().values()) if self.templated else set()

    def template_kwargs(self, row: Row) -> dict[str, Any]:
        """The template's arguments for a row: its own before those of the style."""
        return {**self.style.template_kwargs, **row.template_kwargs}

    def texts(self, row: Row) -> tuple[str, str]:
        """The prompt and the whole conversation as training writes them.

        Raises `DataError` where the template refuses the row, and `ModelError` where it is a
        conversation and there is no template.
        """
        if self.templated:
            template = self.style.training_template
            asked = self._apply(row, row.messages[:-1], template, generate=True)
            whole = self._apply(row, row.messages, template)
            self._refuse_left_out(row, whole)
            return asked, whole
        if [message["role"] for message in row.messages] != ["user", "assistant"]:
            raise ModelError(
                "it is a conversation, and the tokenizer has no chat template. Set "
                "tokenizer.chat_template, name an instruct model, or give prompt/response pairs."
            )
        prompt, response = row.messages[0]["content"], row.response
        eos = self.tokenizer.eos_token
        ended = response if not eos or response.endswith(eos) else response + eos
        return prompt, prompt + ended

    def ids(self, text: str) -> list[int]:
        """The tokens of a rendered text; a template writes its own special ones."""
        return list(self.tokenizer(text, add_special_tokens=not self.templated)["input_ids"])

    def served(self, row: Row) -> list[int]:
        """The prompt that the model is asked with: by the tokenizer's own template."""
        if not self.templated:
            return self.ids(row.messages[0]["content"])
        return self.ids(self._apply(row, row.messages[:-1], generate=True))

    def render(self, row: Row) -> Rendered:
        """Split the trained stream into the prompt that is scored and the answer.

        Raises what `texts` raises, and `DataError` where nothing of the answer is written.
        """
        asked, whole = self.texts(row)
        asked_ids, whole_ids = self.ids(asked), self.ids(whole)
        split = common(asked_ids, whole_ids)
        served_ids = self.served(row) if self.style.training_template else asked_ids
        prompt_ids, unlike = served_ids, ""
        if whole_ids[: len(served_ids)] == served_ids:
            split = len(served_ids)
        else:
            unlike = self._unlike(whole_ids[:split], served_ids)
            if self.style.prompt == TRAINED:
                prompt_ids = whole_ids[:split]
        answer_ids, end = self._ended(whole_ids[split:], row)
        return Rendered(
            prompt_ids=tuple(prompt_ids),
            answer_ids=tuple(answer_ids),
            end=end,
            thinking=self._thinking_of(row),
            opening=self._opening(row, prompt_ids),
            unwritten=any(reason not in whole for reason in _reasoning(row)),
            unlike=unlike,
        )

    def _apply(
        self,
        row: Row,
        messages: Sequence[Message],
        template: str | None = None,
        generate: bool = False,
    ) -> str:
        options = {
            "chat_template": template,
            "tools": list(row.tools) or None,
            **self.template_kwargs(row),
            "tokenize": False,
            "add_generation_prompt": generate,
        }
        given = [{k: v for k, v in each.items() if v is not None} for each in messages]
        try:
            return str(self.tokenizer.apply_chat_template(given, **options))
        except Exception as error:  # a template is a program of its own and may refuse a row
            said = str(error).rstrip(".")
            raise DataError(f"the chat template refuses it: {said}") from error

    def _refuse_left_out(self, row: Row, whole: str) -> None:
        """Raise `DataError` for a turn, a call or an offered tool that the template leaves out."""
        for tool in row.tools:
            name = str((tool.get("function") or tool).get("name"))
            if name not in whole:
                raise DataError(
                    f"the chat template leaves out the tool {name!r} that it offers: it cannot show "
                    "tools. Write them into the system message's text, or remove 'tools'."
                )
        for number, message in enumerate(row.messages, start=1):
            role, text = message["role"], str(message["content"] or "")
            for call in message.get("tool_calls") or ():
                name = str((call.get("function") or call).get("name"))
                if name not in whole:
                    raise DataError(
                        f"the chat template leaves out the call of {name!r} in message {number}: it "
                        "cannot show tools. Write the call into the message's text."
                    )
            said = text.rpartition(CLOSE)[2].strip()
            last = number == len(row.messages)  # the answer is looked for on its own
            if last or not said or said in whole or role == "system":
                continue
            marked = {**message, "content": MARK}  # it may be there in another writing
            turns = [*row.messages[: number - 1], marked, *row.messages[number:]]
            if MARK not in self._apply(row, turns, self.style.training_template):
                known = role in ("user", "assistant")
                raise DataError(
                    f"the chat template leaves out message {number}, of the role {role!r}. "
                    + (OTHER_FORM if known else "Give it a role that the template shows.")
                )

    def _ended(self, ids: list[int], row: Row) -> tuple[list[int], int | None]:
        """Cut after the first token that ends a turn, which the template has put behind the answer.

        That need not be the tokenizer's EOS (Gemma's is `<eos>`, its turns end with `<end_of_turn>`).
        What templates put behind it is never generated.
        """
        behind = self.ids(self._behind(row)) if self.templated else []
        ended = [token for token in behind if token in self._special][:1]
        ends = {self.tokenizer.eos_token_id, *ended}
        at = next((i for i, token in enumerate(ids) if token in ends), None)
        return (ids, None) if at is None else (ids[: at + 1], ids[at])

    def _behind(self, row: Row) -> str:
        """What the template puts behind this answer."""
        answer = row.response
        own = answer.rpartition(CLOSE)[0] + CLOSE if CLOSE in answer else ""
        last = {**row.messages[-1], "content": own + MARK, "tool_calls": None}
        marked = self._apply(row, [*row.messages[:-1], last], self.style.training_template)
        if MARK not in marked:
            raise DataError(f"the chat template leaves out the answer. {OTHER_FORM}")
        return marked.rpartition(MARK)[2].rstrip()

    def _opening(self, row: Row, prompt_ids: list[int]) -> tuple[int, ...]:
        """What the template adds to the prompt to ask for an answer, from its first mark on."""
        if not self.templated:
            return ()
        bare = self._apply(row, row.messages[:-1], self.style.training_template)
        added = prompt_ids[common(self.ids(bare), prompt_ids) :]
        first = next((i for i, token in enumerate(added) if token in self._marks), len(added))
        return tuple(added[first:])

    def _thinking_of(self, row: Row) -> Thinking:
        key = json.dumps(row.template_kwargs, sort_keys=True, default=str)
        if self.templated and key not in self._thinking:
            self._thinking[key] = self._around_thoughts(row)
        found = self._thinking.get(key, Thinking())
        if not found.closer and CLOSE in row.response:
            return Thinking(openers=(OPEN,), closer=CLOSE)
        return found

    def _around_thoughts(self, row: Row) -> Thinking:
        """What the template puts in front of an answer, without thoughts and around them."""
        question = {"role": "user", "content": "?"}
        plain = {"role": "assistant", "content": MARK}
        reasons = dict.fromkeys(REASONS, THOUGHT)
        template = self.style.training_template
        try:
            asked = self._apply(row, [question], template, generate=True)
            empty, full = (
                self._apply(row, [question, turn], template) for turn in (plain, plain | reasons)
            )
        except DataError:  # it wants more than these turns; then texts are compared whole
            return Thinking()
        return around(asked, empty, full, str(template or self.tokenizer.chat_template))

    def _unlike(self, trained: list[int], served: list[int]) -> str:
        def end(ids: list[int]) -> str:
            return repr("…" + self.tokenizer.decode(ids, skip_special_tokens=False)[-SHOWN:])

        return f"the answer is trained behind {end(trained)} and served behind {end(served)}"


def _reasoning(row: Row) -> list[str]:
    """The reasoning beside the answer, which most templates do not write."""
    found = [row.messages[-1].get(name) for name in REASONS]
    return [text.strip() for text in found if isinstance(text, str) and text.strip()]


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """The number of first tokens that both have."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
